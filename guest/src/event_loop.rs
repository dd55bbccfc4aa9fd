//! epoll, edge-triggered throughout: a descriptor is named once and then tells of every change, also the serial port, whose
//! level would be "hung up" for as long as the host is away.

use crate::sys::{self, ffi};
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

const EPOLLIN: u32 = 1;
const EPOLLOUT: u32 = 4;
const EPOLLERR: u32 = 8;
const EPOLLHUP: u32 = 0x10;
const EPOLLRDHUP: u32 = 0x2000;
const EPOLLET: u32 = 1 << 31;
const EPOLL_CLOEXEC: i32 = sys::O_CLOEXEC;
const EPOLL_CTL_ADD: i32 = 1;
const EPOLL_CTL_MOD: i32 = 3;
/// Events taken at once.
const BATCH: usize = 64;

/// What became possible on the descriptor with this token.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

pub struct EventLoop {
    epoll: OwnedFd,
}

impl EventLoop {
    pub fn new() -> io::Result<EventLoop> {
        Ok(EventLoop { epoll: sys::own(unsafe { ffi::epoll_create1(EPOLL_CLOEXEC) })? })
    }

    /// Watches a descriptor until it is closed.
    pub fn watch(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = ffi::EpollEvent { events: EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, data: token };
        sys::check(unsafe { ffi::epoll_ctl(self.epoll.as_raw_fd(), EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
    }

    /// Makes a watched descriptor tell once more what is possible on it.
    pub fn watch_again(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = ffi::EpollEvent { events: EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, data: token };
        sys::check(unsafe { ffi::epoll_ctl(self.epoll.as_raw_fd(), EPOLL_CTL_MOD, fd, &mut event) }).map(drop)
    }

    /// Waits, for ever without a limit, and puts what happened into `ready`.
    pub fn wait(&self, timeout_ms: Option<u64>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout_ms.map_or(-1, |ms| ms.min(i32::MAX as u64) as i32);
        let mut events = [ffi::EpollEvent { events: 0, data: 0 }; BATCH];
        let count = unsafe { ffi::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, timeout) };
        let count = match sys::check(count) {
            Ok(count) => count as usize,
            Err(error) if error.raw_os_error() == Some(sys::EINTR) => 0,
            Err(error) => return Err(error),
        };
        for event in &events[..count] {
            let bits = event.events;
            ready.push(Readiness {
                token: event.data,
                readable: bits & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0,
                writable: bits & (EPOLLOUT | EPOLLHUP | EPOLLERR) != 0,
            });
        }
        Ok(())
    }
}
