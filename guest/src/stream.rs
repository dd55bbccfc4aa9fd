//! One stream: a TCP connection of the application's and its two directions, each with its own credit.

use crate::failure::{errno_name, Failure};
use crate::frame::{header_bytes, FrameType, HEADER_BYTES, PAYLOAD_LIMIT};
use crate::queue::ByteQueue;
use crate::sys::{self, ffi};
use std::io;
use std::mem::size_of;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Credit that each direction starts with.
pub const INITIAL_CREDIT: u64 = 262_144;
/// Credit is given back in steps of at least this.
const CREDIT_STEP: u64 = 65_536;
/// An application whose backlog is full does not answer: a connection is given up after this time.
const CONNECT_LIMIT_MS: u64 = 30_000;

const AF_INET: i32 = 2;
const SOCK_STREAM: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const SOL_SOCKET: i32 = 1;
const SO_ERROR: i32 = 4;
const SO_LINGER: i32 = 13;
const TCP_NODELAY: i32 = 1;
const SHUT_WR: i32 = 1;
const EINPROGRESS: i32 = 115;
const LOOPBACK_BE: u32 = u32::from_ne_bytes([127, 0, 0, 1]);

/// What is left of a stream after it was moved on.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    Alive,
    /// Both ENDs have passed.
    Over,
    /// It could not be opened: REFUSED.
    Refused(Failure),
    /// It broke: RESET.
    Broken(Failure),
}

/// A frame of the host that a stream may not get now.
pub type Violation = &'static str;

/// Who has still to answer before bytes may flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The application's port; given up at that time.
    Connecting { until_ms: u64 },
    /// The host, whose service the application wants.
    Asked,
    Done,
}

pub struct Stream {
    id: u32,
    /// What the agent opened it to; none where the host opened it.
    service: Option<&'static str>,
    socket: OwnedFd,
    opening: Opening,
    readable: bool,
    writable: bool,
    /// What may still be sent to the host.
    send_credit: u64,
    /// What the host may still send.
    window: u64,
    /// What the application took and the host has not been told of.
    unreturned: u64,
    queue: ByteQueue,
    host_ended: bool,
    shut: bool,
    application_ended: bool,
}

impl Stream {
    /// Begins to connect to 127.0.0.1:`port`; [`Stream::advance`] tells how it went.
    pub fn connect(id: u32, port: u16, now_ms: u64) -> Result<Stream, Failure> {
        let failed = |error: io::Error| refusal(port, &error);
        let socket = sys::own(unsafe { ffi::socket(AF_INET, SOCK_STREAM | sys::O_NONBLOCK | sys::O_CLOEXEC, 0) }).map_err(failed)?;
        set_option(&socket, IPPROTO_TCP, TCP_NODELAY, &1i32).map_err(failed)?;
        let address = address_of(port);
        let result = unsafe { ffi::connect(socket.as_raw_fd(), &address, size_of::<ffi::SocketAddressV4>() as u32) };
        match sys::check(result) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(failed(error)),
            _ => {}
        }
        Ok(Stream::new(id, socket, Opening::Connecting { until_ms: now_ms + CONNECT_LIMIT_MS }))
    }

    /// Takes a connection that the application made to a service of the host; it stands still until [`Stream::opened`].
    pub fn accepted(id: u32, service: &'static str, socket: OwnedFd) -> io::Result<Stream> {
        sys::set_nonblocking(socket.as_raw_fd())?;
        set_option(&socket, IPPROTO_TCP, TCP_NODELAY, &1i32)?;
        Ok(Stream { service: Some(service), ..Stream::new(id, socket, Opening::Asked) })
    }

    fn new(id: u32, socket: OwnedFd, opening: Opening) -> Stream {
        Stream {
            id,
            service: None,
            socket,
            opening,
            readable: false,
            writable: false,
            send_credit: INITIAL_CREDIT,
            window: INITIAL_CREDIT,
            unreturned: 0,
            queue: ByteQueue::new(),
            host_ended: false,
            shut: false,
            application_ended: false,
        }
    }

    pub fn service(&self) -> Option<&'static str> {
        self.service
    }

    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// When [`Stream::advance`] must be called at the latest.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.opening {
            Opening::Connecting { until_ms } => Some(until_ms),
            Opening::Asked | Opening::Done => None,
        }
    }

    /// Takes what the event loop saw.
    pub fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// True where [`Stream::advance`] may come to something.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        match self.opening {
            Opening::Connecting { until_ms } => self.writable || now_ms >= until_ms,
            Opening::Asked => false,
            Opening::Done => (self.readable && self.send_credit > 0 && !self.application_ended) || (self.writable && !self.queue.is_empty()),
        }
    }

    /// OPENED from the host.
    pub fn opened(&mut self) -> Result<(), Violation> {
        self.must_be_asked()?;
        self.opening = Opening::Done;
        Ok(())
    }

    /// REFUSED from the host may come only while it is asked.
    pub fn must_be_asked(&self) -> Result<(), Violation> {
        if self.opening == Opening::Asked { Ok(()) } else { Err("an answer to nothing that was asked") }
    }

    /// DATA from the host.
    pub fn data(&mut self, bytes: &[u8], outbox: &mut ByteQueue) -> Result<Standing, Violation> {
        if self.opening != Opening::Done {
            return Err("DATA before OPENED");
        }
        if bytes.is_empty() {
            return Err("empty DATA");
        }
        if self.host_ended {
            return Err("DATA after END");
        }
        if bytes.len() as u64 > self.window {
            return Err("DATA beyond the credit");
        }
        self.window -= bytes.len() as u64;
        let mut written = 0;
        if self.queue.is_empty() {
            match sys::write(self.socket.as_raw_fd(), bytes) {
                Ok(count) => written = count,
                Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => self.writable = false,
                Err(error) => return Ok(Standing::Broken(broken(&error))),
            }
        }
        self.queue.extend(&bytes[written..]);
        self.taken(written, outbox);
        Ok(Standing::Alive)
    }

    /// CREDIT from the host.
    pub fn credit(&mut self, count: u32) -> Result<(), Violation> {
        self.send_credit += u64::from(count);
        if self.opening != Opening::Done {
            return Err("CREDIT before OPENED");
        }
        if self.send_credit > u64::from(u32::MAX) {
            return Err("too much CREDIT");
        }
        Ok(())
    }

    /// END from the host.
    pub fn end(&mut self) -> Result<Standing, Violation> {
        if self.opening != Opening::Done {
            return Err("END before OPENED");
        }
        if std::mem::replace(&mut self.host_ended, true) {
            return Err("END twice");
        }
        Ok(self.shut_when_written())
    }

    /// Moves what can be moved: the queue to the application, one frame's worth from it.
    pub fn advance(&mut self, now_ms: u64, outbox: &mut ByteQueue) -> Standing {
        if let Opening::Connecting { until_ms } = self.opening {
            match self.finish_connect(now_ms >= until_ms) {
                Ok(false) => return Standing::Alive,
                Ok(true) => {
                    self.opening = Opening::Done;
                    outbox.extend(&header_bytes(FrameType::Opened, self.id, 0));
                }
                Err(failure) => return Standing::Refused(failure),
            }
        }
        match self.write_queue(outbox) {
            Ok(()) => {}
            Err(error) => return Standing::Broken(broken(&error)),
        }
        match self.read_application(outbox) {
            Ok(()) => self.shut_when_written(),
            Err(error) => Standing::Broken(broken(&error)),
        }
    }

    /// Ends the connection so that the application gets an error, not an end of file.
    pub fn reset(self) {
        let _ = set_option(&self.socket, SOL_SOCKET, SO_LINGER, &[1i32, 0]);
    }

    fn finish_connect(&mut self, is_late: bool) -> Result<bool, Failure> {
        let fd = self.socket.as_raw_fd();
        if !self.writable {
            return if is_late { Err(Failure::new("ETIMEDOUT", "the port does not answer")) } else { Ok(false) };
        }
        let (mut error, mut length) = (0i32, 4u32);
        let result = unsafe { ffi::getsockopt(fd, SOL_SOCKET, SO_ERROR, (&mut error as *mut i32).cast(), &mut length) };
        sys::check(result).map_err(|error| Failure::from_io("connect", &error))?;
        if error != 0 {
            return Err(Failure::from_io("connect", &io::Error::from_raw_os_error(error)));
        }
        // With nobody listening on an ephemeral port the kernel may connect a socket to itself.
        let mut local = address_of(0);
        let mut length = size_of::<ffi::SocketAddressV4>() as u32;
        sys::check(unsafe { ffi::getsockname(fd, &mut local, &mut length) }).map_err(|error| Failure::from_io("connect", &error))?;
        if self.is_peer(&local) {
            return Err(Failure::new("ECONNREFUSED", "connect: Connection refused"));
        }
        Ok(true)
    }

    fn is_peer(&self, local: &ffi::SocketAddressV4) -> bool {
        let mut own = address_of(0);
        let mut length = size_of::<ffi::SocketAddressV4>() as u32;
        let result = unsafe { ffi::getpeername(self.socket.as_raw_fd(), &mut own, &mut length) };
        result == 0 && own.port_be == local.port_be && own.address_be == local.address_be
    }

    fn write_queue(&mut self, outbox: &mut ByteQueue) -> io::Result<()> {
        while self.writable && !self.queue.is_empty() {
            match sys::write(self.socket.as_raw_fd(), self.queue.as_slice()) {
                Ok(count) => {
                    self.queue.consume(count);
                    self.taken(count, outbox);
                }
                Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads straight behind a header in the outbox; END at the end of file.
    fn read_application(&mut self, outbox: &mut ByteQueue) -> io::Result<()> {
        if !self.readable || self.application_ended || self.send_credit == 0 {
            return Ok(());
        }
        let room = (self.send_credit as usize).min(PAYLOAD_LIMIT);
        let before = outbox.len();
        outbox.extend(&[0; HEADER_BYTES]);
        let fd = self.socket.as_raw_fd();
        let result = outbox.fill_with(room, |buffer| sys::read(fd, buffer));
        match result {
            Ok(0) => {
                self.application_ended = true;
                outbox.patch(before, &header_bytes(FrameType::End, self.id, 0));
                Ok(())
            }
            Ok(count) => {
                self.send_credit -= count as u64;
                outbox.patch(before, &header_bytes(FrameType::Data, self.id, count));
                Ok(())
            }
            Err(error) => {
                outbox.truncate(before);
                if error.raw_os_error() == Some(sys::EAGAIN) {
                    self.readable = false;
                    return Ok(());
                }
                Err(error)
            }
        }
    }

    /// Gives credit back for what the application took.
    fn taken(&mut self, count: usize, outbox: &mut ByteQueue) {
        self.unreturned += count as u64;
        if self.unreturned < CREDIT_STEP || self.host_ended {
            return;
        }
        outbox.extend(&header_bytes(FrameType::Credit, self.id, 4));
        outbox.extend(&(self.unreturned as u32).to_le_bytes());
        self.window += self.unreturned;
        self.unreturned = 0;
    }

    fn shut_when_written(&mut self) -> Standing {
        if self.host_ended && !self.shut && self.queue.is_empty() {
            self.shut = true;
            unsafe { ffi::shutdown(self.socket.as_raw_fd(), SHUT_WR) };
        }
        if self.shut && self.application_ended {
            Standing::Over
        } else {
            Standing::Alive
        }
    }
}

fn address_of(port: u16) -> ffi::SocketAddressV4 {
    ffi::SocketAddressV4 { family: AF_INET as u16, port_be: port.to_be(), address_be: LOOPBACK_BE, zero: [0; 8] }
}

fn set_option<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let result = unsafe { ffi::setsockopt(socket.as_raw_fd(), level, name, (value as *const T).cast(), size_of::<T>() as u32) };
    sys::check(result).map(drop)
}

fn refusal(port: u16, error: &io::Error) -> Failure {
    Failure::from_io(&format!("connect to port {}", port), error)
}

fn broken(error: &io::Error) -> Failure {
    match error.raw_os_error().map(errno_name) {
        // Writing to a connection that the application has closed: on TCP's wire that is a reset.
        Some("EPIPE") | Some("ECONNRESET") => Failure::new("ECONNRESET", "the application reset the connection"),
        _ => Failure::from_io("the connection to the application", error),
    }
}
