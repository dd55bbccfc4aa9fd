//! The byte stream to the host, whatever carries it.

use crate::event_loop::EventLoop;
use crate::sys;
use std::io;
use std::os::unix::io::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

/// What a read or write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    /// Nothing for now: an event will tell.
    Blocked,
    /// The host's end is closed.
    Away,
}

pub trait Transport {
    /// Makes the event loop wake, with `token`, whenever a read or write may come to something else than last time.
    fn watch(&mut self, events: &EventLoop, token: u64) -> io::Result<()>;
    fn read(&mut self, buffer: &mut [u8]) -> Moved;
    fn write(&mut self, bytes: &[u8]) -> Moved;
    /// The session is over: where the transport can hang up, it does.
    fn hang_up(&mut self);
}

/// A Unix socket that takes one host after the other: for tests, on any machine.
pub struct SocketTransport {
    listener: UnixListener,
    connection: Option<UnixStream>,
    events: Rc<EventLoop>,
    token: u64,
}

impl SocketTransport {
    pub fn new(listener: UnixListener, events: Rc<EventLoop>, token: u64) -> io::Result<SocketTransport> {
        listener.set_nonblocking(true)?;
        Ok(SocketTransport { listener, connection: None, events, token })
    }

    fn connection(&mut self) -> Option<&UnixStream> {
        if self.connection.is_none() {
            let (connection, _) = self.listener.accept().ok()?;
            connection.set_nonblocking(true).ok()?;
            self.events.watch(connection.as_raw_fd(), self.token).ok()?;
            self.connection = Some(connection);
        }
        self.connection.as_ref()
    }

    fn moved(&mut self, result: io::Result<usize>) -> Moved {
        match result {
            Ok(count) if count > 0 => Moved::Bytes(count),
            Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => Moved::Blocked,
            _ => {
                self.hang_up();
                Moved::Away
            }
        }
    }
}

impl Transport for SocketTransport {
    fn watch(&mut self, events: &EventLoop, token: u64) -> io::Result<()> {
        events.watch(self.listener.as_raw_fd(), token)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Moved {
        match self.connection().map(|connection| connection.as_raw_fd()) {
            Some(fd) => {
                let result = sys::read(fd, buffer);
                self.moved(result)
            }
            None => Moved::Blocked,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Moved {
        match self.connection.as_ref().map(|connection| connection.as_raw_fd()) {
            Some(fd) => {
                let result = sys::write(fd, bytes);
                self.moved(result)
            }
            None => Moved::Away,
        }
    }

    fn hang_up(&mut self) {
        self.connection = None;
        // The next host may be waiting already, and its event be gone.
        let _ = self.events.watch_again(self.listener.as_raw_fd(), self.token);
    }
}
