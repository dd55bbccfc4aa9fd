//! The part of the C library and the kernel's interface that `std` does not offer, declared here so that nothing has to be
//! fetched to build. Values are those of Linux on x86-64 and aarch64 (man 2 of each call).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// What the C library declares.
pub mod ffi {
    use std::os::raw::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

    #[repr(C)]
    #[cfg_attr(target_arch = "x86_64", repr(packed))]
    #[derive(Clone, Copy)]
    pub struct EpollEvent {
        pub events: u32,
        pub data: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct PollFd {
        pub fd: c_int,
        pub events: i16,
        pub revents: i16,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Timespec {
        pub seconds: i64,
        pub nanoseconds: c_long,
    }

    /// `sigset_t` of glibc: 1024 bits.
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct SignalSet(pub [u64; 16]);

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct SocketAddressV4 {
        pub family: u16,
        pub port_be: u16,
        pub address_be: u32,
        pub zero: [u8; 8],
    }

    #[repr(C)]
    pub struct ResourceLimit {
        pub soft: u64,
        pub hard: u64,
    }

    /// `struct statvfs` of glibc on 64 bits (man 3 statvfs).
    #[repr(C)]
    #[derive(Default)]
    pub struct FileSystem {
        pub sizes: [u64; 8],
        pub id: u64,
        pub flags: u64,
        pub name_max: u64,
        pub spare: [u32; 6],
    }

    extern "C" {
        pub fn epoll_create1(flags: c_int) -> c_int;
        pub fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
        pub fn epoll_wait(epoll: c_int, events: *mut EpollEvent, count: c_int, timeout_ms: c_int) -> c_int;
        pub fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
        pub fn signalfd(fd: c_int, set: *const SignalSet, flags: c_int) -> c_int;
        pub fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
        pub fn signal(number: c_int, handler: usize) -> usize;
        pub fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
        pub fn read(fd: c_int, buffer: *mut c_void, count: usize) -> isize;
        pub fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize;
        pub fn lseek(fd: c_int, offset: i64, whence: c_int) -> i64;
        pub fn dup2(old: c_int, new: c_int) -> c_int;
        pub fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
        pub fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
        pub fn fchown(fd: c_int, uid: c_uint, gid: c_uint) -> c_int;
        pub fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
        pub fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void) -> c_int;
        pub fn umount2(target: *const c_char, flags: c_int) -> c_int;
        pub fn chroot(path: *const c_char) -> c_int;
        pub fn unshare(flags: c_int) -> c_int;
        pub fn setns(namespace: c_int, kind: c_int) -> c_int;
        pub fn if_nametoindex(name: *const c_char) -> c_uint;
        pub fn sethostname(name: *const c_char, length: usize) -> c_int;
        pub fn setsid() -> c_int;
        pub fn geteuid() -> c_uint;
        pub fn getegid() -> c_uint;
        pub fn statvfs(path: *const c_char, found: *mut FileSystem) -> c_int;
        pub fn setgroups(count: usize, groups: *const c_uint) -> c_int;
        pub fn setgid(gid: c_uint) -> c_int;
        pub fn setuid(uid: c_uint) -> c_int;
        pub fn prctl(option: c_int, ...) -> c_int;
        pub fn setrlimit(resource: c_int, limit: *const ResourceLimit) -> c_int;
        pub fn umask(mask: c_uint) -> c_uint;
        pub fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
        pub fn _exit(status: c_int) -> !;
        pub fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
        pub fn kill(pid: c_int, signal: c_int) -> c_int;
        pub fn reboot(command: c_int) -> c_int;
        pub fn sync();
        pub fn syncfs(fd: c_int) -> c_int;
        pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
        pub fn connect(fd: c_int, address: *const SocketAddressV4, length: c_uint) -> c_int;
        pub fn getpeername(fd: c_int, address: *mut SocketAddressV4, length: *mut c_uint) -> c_int;
        pub fn getsockname(fd: c_int, address: *mut SocketAddressV4, length: *mut c_uint) -> c_int;
        pub fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut c_uint) -> c_int;
        pub fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: c_uint) -> c_int;
        pub fn shutdown(fd: c_int, how: c_int) -> c_int;
        pub fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
        pub fn clock_settime(clock: c_int, time: *const Timespec) -> c_int;
        pub fn syscall(number: c_long, ...) -> c_long;
    }
}

pub const O_CLOEXEC: i32 = 0o2000000;
pub const O_NONBLOCK: i32 = 0o4000;
pub const O_NOCTTY: i32 = 0o400;
pub const O_PATH: i32 = 0o10000000;
const F_SETFL: i32 = 4;
const F_GETFL: i32 = 3;
pub const POLLIN: i16 = 1;
pub const POLLPRI: i16 = 2;
pub const POLLHUP: i16 = 0x10;
pub const CLOCK_REALTIME: i32 = 0;
pub const CLOCK_MONOTONIC: i32 = 1;
pub const CLOCK_MONOTONIC_RAW: i32 = 4;
pub const EINTR: i32 = 4;
pub const EAGAIN: i32 = 11;
pub const EPIPE: i32 = 32;
pub const SIGHUP: i32 = 1;
pub const SIGINT: i32 = 2;
pub const SIGPIPE: i32 = 13;
pub const SIGTERM: i32 = 15;
pub const SIGCHLD: i32 = 17;
pub const WNOHANG: i32 = 1;

/// The error of a call that answers -1.
pub fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Likewise for those that answer a long.
pub fn check_long(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes a descriptor that a call has just made.
pub fn own(result: i32) -> io::Result<OwnedFd> {
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A text for C; a NUL inside is an error.
pub fn c_text(text: impl AsRef<[u8]>) -> io::Result<CString> {
    CString::new(text.as_ref()).map_err(|_| io::Error::from_raw_os_error(22))
}

/// A path for C.
pub fn c_path(path: &Path) -> io::Result<CString> {
    c_text(path.as_os_str().as_bytes())
}

/// One read; interrupted ones are tried again.
pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let count = unsafe { ffi::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        match check_long(count as i64) {
            Err(error) if error.raw_os_error() == Some(EINTR) => continue,
            result => return result.map(|count| count as usize),
        }
    }
}

/// One write; interrupted ones are tried again.
pub fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        let count = unsafe { ffi::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match check_long(count as i64) {
            Err(error) if error.raw_os_error() == Some(EINTR) => continue,
            result => return result.map(|count| count as usize),
        }
    }
}

/// Makes reads and writes answer EAGAIN instead of waiting.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    unsafe {
        let flags = check(ffi::fcntl(fd, F_GETFL))?;
        check(ffi::fcntl(fd, F_SETFL, flags | O_NONBLOCK)).map(drop)
    }
}

/// A pipe, closed on exec: its reading and its writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    check(unsafe { ffi::pipe2(fds.as_mut_ptr(), O_CLOEXEC) })?;
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Waits for events on one descriptor. Nothing where the time was over.
pub fn poll_one(fd: RawFd, events: i16, timeout_ms: i32) -> io::Result<Option<i16>> {
    let mut entry = ffi::PollFd { fd, events, revents: 0 };
    match check(unsafe { ffi::poll(&mut entry, 1, timeout_ms) }) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(entry.revents)),
        Err(error) if error.raw_os_error() == Some(EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nanoseconds of a clock.
pub fn clock_ns(clock: i32) -> u64 {
    let mut time = ffi::Timespec { seconds: 0, nanoseconds: 0 };
    unsafe { ffi::clock_gettime(clock, &mut time) };
    (time.seconds as u64).saturating_mul(1_000_000_000).saturating_add(time.nanoseconds as u64)
}

/// Milliseconds that only go forward.
pub fn monotonic_ms() -> u64 {
    clock_ns(CLOCK_MONOTONIC) / 1_000_000
}

fn signal_set(signals: &[i32]) -> ffi::SignalSet {
    let mut set = ffi::SignalSet([0; 16]);
    for signal in signals {
        set.0[0] |= 1 << (signal - 1);
    }
    set
}

/// Blocks these signals and gives a descriptor that becomes readable when one came.
pub fn signal_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    unsafe {
        check(ffi::sigprocmask(0, &set, std::ptr::null_mut()))?;
        own(ffi::signalfd(-1, &set, O_NONBLOCK | O_CLOEXEC))
    }
}

/// No signal blocked, and SIGPIPE as the C library's programs expect it: for a child before exec.
pub fn reset_signals() {
    unsafe {
        ffi::sigprocmask(2, &signal_set(&[]), std::ptr::null_mut());
        ffi::signal(SIGPIPE, 0);
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub pid: i32,
    /// As a shell tells it: 128 + signal where one did it.
    pub code: i32,
    pub signal: Option<i32>,
}

/// A child that has ended, if there is one.
pub fn reap() -> Option<Exit> {
    let mut status = 0;
    let pid = unsafe { ffi::waitpid(-1, &mut status, WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let signal = status & 0x7f;
    Some(if signal == 0 {
        Exit { pid, code: status >> 8 & 0xff, signal: None }
    } else {
        Exit { pid, code: 128 + signal, signal: Some(signal) }
    })
}

/// A descriptor of a process, which becomes readable when it ends (man 2 pidfd_open).
pub fn open_process(pid: i32) -> io::Result<OwnedFd> {
    const PIDFD_OPEN: std::os::raw::c_long = 434;
    own(check_long(unsafe { ffi::syscall(PIDFD_OPEN, pid, 0usize) })? as i32)
}

/// Kills a process, and never another one that got its number.
pub fn kill_process(process: &OwnedFd) -> io::Result<()> {
    const PIDFD_SEND_SIGNAL: std::os::raw::c_long = 424;
    const SIGKILL: i32 = 9;
    check_long(unsafe { ffi::syscall(PIDFD_SEND_SIGNAL, process.as_raw_fd(), SIGKILL, 0usize, 0usize) }).map(drop)
}

/// Takes everything but `kept` out of the bounding set of capabilities, for ever (man 7 capabilities).
pub fn bound_capabilities(kept: u64) -> io::Result<()> {
    const PR_CAPBSET_READ: i32 = 23;
    const PR_CAPBSET_DROP: i32 = 24;
    for capability in 0..64usize {
        let exists = unsafe { ffi::prctl(PR_CAPBSET_READ, capability, 0usize, 0usize, 0usize) } >= 0;
        if exists && kept >> capability & 1 == 0 {
            check(unsafe { ffi::prctl(PR_CAPBSET_DROP, capability, 0usize, 0usize, 0usize) })?;
        }
    }
    Ok(())
}

/// Makes a mounted folder the root. pivot_root(2), last example of its page: the old root ends up over the new one and is unmounted there.
pub fn pivot_into(folder: &str) -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    const PIVOT_ROOT: std::os::raw::c_long = 155;
    #[cfg(target_arch = "aarch64")]
    const PIVOT_ROOT: std::os::raw::c_long = 41;
    const MNT_DETACH: i32 = 2;
    let here = c_text(".")?;
    std::env::set_current_dir(folder)?;
    check_long(unsafe { ffi::syscall(PIVOT_ROOT, here.as_ptr(), here.as_ptr()) })?;
    check(unsafe { ffi::umount2(here.as_ptr(), MNT_DETACH) })?;
    std::env::set_current_dir("/")
}

/// Sets a soft and hard limit on open files.
pub fn limit_open_files(count: u64) -> io::Result<()> {
    let limit = ffi::ResourceLimit { soft: count, hard: count };
    check(unsafe { ffi::setrlimit(7, &limit) }).map(drop)
}

/// Closes every descriptor from `first` upwards.
pub fn close_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE: std::os::raw::c_long = 436;
    check_long(unsafe { ffi::syscall(CLOSE_RANGE, first as usize, u32::MAX as usize, 0usize) }).map(drop)
}

/// Replaces the process; comes back only with the error.
pub fn exec(path: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    unsafe { ffi::execve(path.as_ptr(), pointers(argv).as_ptr(), pointers(env).as_ptr()) };
    io::Error::last_os_error()
}

/// Opens a path with flags of open(2) that `std` has no word for.
pub fn open(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags | O_CLOEXEC).open(path)?;
    Ok(file.into())
}

/// An ioctl whose argument is a pointer to `T`.
///
/// # Safety
/// `T` must be the type that the request expects.
pub unsafe fn ioctl_with<T>(fd: &impl AsRawFd, request: u64, argument: *mut T) -> io::Result<i32> {
    check(ffi::ioctl(fd.as_raw_fd(), request as _, argument))
}
