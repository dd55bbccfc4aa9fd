//! A shell by its terminal. Dropping one hangs the terminal up: the kernel sends SIGHUP to its session.

use crate::failure::{Failure, OrFailure};
use crate::pty::{self, Size};
use crate::sys;
use crate::system::Shell;
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

/// What a terminal that nobody reads holds at most (64 KiB on their way, 4 KiB to be read), and some: when the shell has ended
/// this much is still delivered, so that what it left in the background cannot hold the end back.
const LEFT_BYTES: usize = 128 * 1024;

/// See the file's head.
pub struct Terminal {
    /// None once the shell has ended.
    master: Option<OwnedFd>,
    process: OwnedFd,
    /// None once the shell's program runs.
    report: Option<OwnedFd>,
    /// What the child has said of its failure.
    told: Vec<u8>,
    left_bytes: usize,
}

impl Terminal {
    pub fn new(shell: Shell) -> io::Result<Terminal> {
        let Shell { master, process, report } = shell;
        let terminal = Terminal { master: Some(master), process, report: Some(report), told: Vec::new(), left_bytes: LEFT_BYTES };
        terminal.watched().try_for_each(sys::set_nonblocking)?;
        Ok(terminal)
    }

    /// What the event loop has to look at.
    pub fn watched(&self) -> impl Iterator<Item = RawFd> + '_ {
        let process = Some(self.process.as_raw_fd());
        let others = [&self.master, &self.report].into_iter().flatten().map(|end| end.as_raw_fd());
        process.into_iter().chain(others)
    }

    /// False once the shell has ended.
    pub fn is_live(&self) -> bool {
        self.master.is_some()
    }

    /// True once the shell's program runs. The end of the report without a word is the exec that closed it.
    pub fn finish(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 1024];
        while let Some(report) = &self.report {
            match sys::read(report.as_raw_fd(), &mut buffer) {
                Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => return Ok(false),
                Ok(count) if count > 0 => self.told.extend_from_slice(&buffer[..count]),
                _ => match Failure::told(&self.told) {
                    Some(failure) => return Err(failure),
                    None => self.report = None,
                },
            }
        }
        Ok(true)
    }

    /// The shell's output; 0 at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let master = match &self.master {
            Some(master) => master.as_raw_fd(),
            None => return Ok(0),
        };
        // Asked before the read: what it wrote last is there by then.
        let has_ended = self.has_ended();
        let room = if has_ended { buffer.len().min(self.left_bytes) } else { buffer.len() };
        match sys::read(master, &mut buffer[..room]) {
            Ok(count) if count > 0 => {
                self.left_bytes -= if has_ended { count } else { 0 };
                Ok(count)
            }
            Err(error) if error.raw_os_error() == Some(sys::EAGAIN) && !has_ended => Err(error),
            // Nothing is left, or (EIO) nobody has the terminal open.
            _ => {
                self.master = None;
                Ok(0)
            }
        }
    }

    /// What is typed; nobody hears what comes after the end.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.master.as_ref().map(|master| sys::write(master.as_raw_fd(), bytes)) {
            Some(Err(error)) if error.raw_os_error() == Some(sys::EAGAIN) => Err(error),
            Some(Ok(count)) => Ok(count),
            _ => Ok(bytes.len()),
        }
    }

    pub fn resize(&self, size: Size) -> Result<(), Failure> {
        match &self.master {
            Some(master) => pty::resize(master, size).or_failure("resize the terminal"),
            None => Err(Failure::new("ENXIO", "the shell has ended")),
        }
    }

    fn has_ended(&self) -> bool {
        matches!(sys::poll_one(self.process.as_raw_fd(), sys::POLLIN, 0), Ok(Some(_)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Until its program runs it may not have the terminal yet.
        if self.report.is_some() {
            let _ = sys::kill_process(&self.process);
        }
    }
}
