//! A pseudoterminal (man 7 pty, man 2 ioctl_tty).

use crate::sys::{self, ffi};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

const O_RDWR: i32 = 2;
const TIOCSCTTY: u64 = 0x540e;
const TIOCSWINSZ: u64 = 0x5414;
const TIOCSPTLCK: u64 = 0x4004_5431;
const TIOCGPTPEER: u64 = 0x5441;

/// Columns and rows of a terminal; both are 0 until somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub cols: u16,
    pub rows: u16,
}

/// Both ends. The terminal hangs up when the last descriptor of the master is closed.
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

impl Pty {
    /// Makes one in the devpts that `ptmx` belongs to. The slave is opened without a path, so nobody can put something in its place.
    pub fn open(ptmx: &Path) -> io::Result<Pty> {
        let options = OpenOptions::new().read(true).write(true).custom_flags(sys::O_NOCTTY | sys::O_NONBLOCK).open(ptmx)?;
        let master = OwnedFd::from(options);
        unsafe { sys::ioctl_with(&master, TIOCSPTLCK, &mut 0i32)? };
        let flags = O_RDWR | sys::O_NOCTTY | sys::O_CLOEXEC;
        let slave = sys::own(unsafe { ffi::ioctl(master.as_raw_fd(), TIOCGPTPEER as _, flags) })?;
        Ok(Pty { master, slave })
    }
}

/// Tells the terminal its size; what runs in its foreground gets SIGWINCH.
pub fn resize(master: &OwnedFd, size: Size) -> io::Result<()> {
    // struct winsize: rows and columns, then both in pixels.
    let mut winsize = [size.rows, size.cols, 0, 0];
    unsafe { sys::ioctl_with(master, TIOCSWINSZ, &mut winsize) }.map(drop)
}

/// In a child: a session of its own, whose controlling terminal and standard streams are the slave.
pub fn enter(slave: RawFd) -> io::Result<()> {
    unsafe {
        sys::check(ffi::setsid())?;
        sys::check(ffi::ioctl(slave, TIOCSCTTY as _, 0))?;
        (0..3).try_for_each(|stream| sys::check(ffi::dup2(slave, stream)).map(drop))
    }
}
