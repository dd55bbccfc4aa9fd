//! One stream: what it leads to in the guest, and its two directions, each with its own credit.

use crate::connection::Connection;
use crate::failure::{errno_name, Failure};
use crate::frame::{header_bytes, FrameType, HEADER_BYTES, PAYLOAD_LIMIT};
use crate::queue::ByteQueue;
use crate::sys;
use crate::terminal::Terminal;
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd, RawFd};

/// Credit that each direction starts with.
pub const INITIAL_CREDIT: u64 = 262_144;
/// Credit is given back in steps of at least this.
const CREDIT_STEP: u64 = 65_536;
/// An application whose backlog is full does not answer, and a shell may not get to run: given up after this time.
const OPEN_LIMIT_MS: u64 = 30_000;

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
    /// The application's port, or the shell's program; given up at that time.
    Pending { until_ms: u64 },
    /// The host, whose service the application wants.
    Asked,
    Done,
}

/// What a stream leads to.
pub enum Peer {
    Connection(Connection),
    Terminal(Terminal),
}

impl Peer {
    /// What the event loop has to look at.
    pub fn watched(&self) -> Vec<RawFd> {
        match self {
            Peer::Connection(connection) => vec![connection.socket.as_raw_fd()],
            Peer::Terminal(terminal) => terminal.watched().collect(),
        }
    }

    /// True once bytes may flow.
    fn finish_opening(&mut self, writable: bool) -> Result<bool, Failure> {
        match self {
            Peer::Connection(connection) if writable => connection.finish().map(|()| true),
            Peer::Connection(_) => Ok(false),
            Peer::Terminal(terminal) => terminal.finish(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Connection(connection) => sys::read(connection.socket.as_raw_fd(), buffer),
            Peer::Terminal(terminal) => terminal.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Peer::Connection(connection) => sys::write(connection.socket.as_raw_fd(), bytes),
            Peer::Terminal(terminal) => terminal.write(bytes),
        }
    }

    /// The host sends no more. A terminal has no such end: its shell goes on.
    fn shut(&self) {
        if let Peer::Connection(connection) = self {
            connection.shut();
        }
    }
}

pub struct Stream {
    id: u32,
    /// What the agent opened it to; none where the host opened it.
    service: Option<&'static str>,
    peer: Peer,
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
    /// Why the application takes nothing more. What it had written before is still read: it may be the answer.
    deaf: Option<Deafness>,
}

/// The application has closed its connection without reading to the end.
struct Deafness {
    failure: Failure,
    /// It had ended its direction before: the end of what is read is its own then, and not the reset's.
    has_ended: bool,
}

impl Stream {
    /// Waits for what was begun to be opened; [`Stream::advance`] tells how it went.
    pub fn open(id: u32, peer: Peer, now_ms: u64) -> Stream {
        Stream::new(id, peer, Opening::Pending { until_ms: now_ms + OPEN_LIMIT_MS })
    }

    /// Takes a connection that the application made to a service of the host; it stands still until [`Stream::opened`].
    pub fn accepted(id: u32, service: &'static str, socket: OwnedFd) -> io::Result<Stream> {
        let peer = Peer::Connection(Connection::accepted(socket)?);
        Ok(Stream { service: Some(service), ..Stream::new(id, peer, Opening::Asked) })
    }

    fn new(id: u32, peer: Peer, opening: Opening) -> Stream {
        Stream {
            id,
            service: None,
            peer,
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
            deaf: None,
        }
    }

    pub fn service(&self) -> Option<&'static str> {
        self.service
    }

    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When [`Stream::advance`] must be called at the latest.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.opening {
            Opening::Pending { until_ms } => Some(until_ms),
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
            Opening::Pending { until_ms } => self.readable || self.writable || now_ms >= until_ms,
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
        if self.deaf.is_some() {
            return Ok(Standing::Alive);
        }
        let mut written = 0;
        if self.queue.is_empty() {
            match self.peer.write(bytes) {
                Ok(count) => written = count,
                Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => self.writable = false,
                Err(error) => {
                    self.turn_deaf(&error);
                    return Ok(self.standing());
                }
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
        if let Opening::Pending { until_ms } = self.opening {
            let is_open = match self.peer.finish_opening(self.writable) {
                Ok(is_open) => is_open,
                Err(failure) => return Standing::Refused(failure),
            };
            // Nothing was read or written yet: once it is open both may be possible, before that the next event will tell.
            self.readable = is_open;
            self.writable = is_open;
            if !is_open {
                return if now_ms >= until_ms { Standing::Refused(Failure::new("ETIMEDOUT", "there is no answer")) } else { Standing::Alive };
            }
            self.opening = Opening::Done;
            outbox.extend(&header_bytes(FrameType::Opened, self.id, 0));
        }
        self.write_queue(outbox);
        match self.read_application(outbox) {
            Ok(()) => self.shut_when_written(),
            Err(error) => Standing::Broken(broken(&error)),
        }
    }

    /// Ends it so that the application gets an error, not an end of file; a terminal hangs up.
    pub fn reset(self) {
        if let Peer::Connection(connection) = self.peer {
            connection.reset();
        }
    }

    fn write_queue(&mut self, outbox: &mut ByteQueue) {
        while self.writable && !self.queue.is_empty() {
            match self.peer.write(self.queue.as_slice()) {
                Ok(count) => {
                    self.queue.consume(count);
                    self.taken(count, outbox);
                }
                Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => self.writable = false,
                Err(error) => self.turn_deaf(&error),
            }
        }
    }

    /// A write failed: what is unwritten is dropped, and what is unread has to be read.
    fn turn_deaf(&mut self, error: &io::Error) {
        // A connection that was reset before the application ended it says so to one call only, and pretends an end to the next.
        let has_ended = error.raw_os_error() == Some(sys::EPIPE);
        self.deaf = Some(Deafness { failure: broken(error), has_ended });
        self.queue.clear();
        self.readable = true;
    }

    /// Reads straight behind a header in the outbox; END at the end of file.
    fn read_application(&mut self, outbox: &mut ByteQueue) -> io::Result<()> {
        if !self.readable || self.application_ended || self.send_credit == 0 {
            return Ok(());
        }
        let room = (self.send_credit as usize).min(PAYLOAD_LIMIT);
        let before = outbox.len();
        outbox.extend(&[0; HEADER_BYTES]);
        let peer = &mut self.peer;
        let result = outbox.fill_with(room, |buffer| peer.read(buffer));
        match result {
            Ok(0) => {
                self.application_ended = true;
                // What is still typed behind a shell's end is dropped, and no event will say that it can be.
                self.writable = true;
                if matches!(self.deaf, Some(Deafness { has_ended: false, .. })) {
                    outbox.truncate(before);
                    return Ok(());
                }
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
            self.peer.shut();
        }
        self.standing()
    }

    fn standing(&self) -> Standing {
        match &self.deaf {
            Some(deafness) if self.application_ended => Standing::Broken(deafness.failure.clone()),
            None if self.shut && self.application_ended => Standing::Over,
            _ => Standing::Alive,
        }
    }
}

fn broken(error: &io::Error) -> Failure {
    match error.raw_os_error().map(errno_name) {
        // Writing to a connection that the application has closed: on TCP's wire that is a reset.
        Some("EPIPE") | Some("ECONNRESET") => Failure::new("ECONNRESET", "the application reset the connection"),
        _ => Failure::from_io("the connection to the application", error),
    }
}
