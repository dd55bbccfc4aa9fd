//! The streams of a session: those that the host opened to ports of the application and to shells, and those that the agent opened to services
//! of the host. Ids rise, so that one that was used can be told from one that was not without a list of them.

use crate::connection::Connection;
use crate::event_loop::EventLoop;
use crate::failure::{Failure, OrFailure};
use crate::frame::{FrameType, Header};
use crate::json::object;
use crate::message::{failure_json, push_json};
use crate::queue::ByteQueue;
use crate::services::{Accepted, Services};
use crate::pty::Size;
use crate::stream::{Peer, Standing, Stream, Violation};
use crate::sys::monotonic_ms;
use crate::system::System;
use crate::terminal::Terminal;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

/// Streams that the host opened, at once.
pub const STREAMS_LIMIT: usize = 1024;
/// Shells at once.
pub const SHELLS_LIMIT: usize = 16;
/// Streams that the agent opened to one service, at once, answered or not.
pub const SERVICE_STREAMS_LIMIT: usize = 64;
/// Ids of streams that the agent opens are above this one.
pub const FIRST_OWN_ID: u32 = 1 << 31;
/// Event tokens of streams start here; the id is added.
pub const FIRST_TOKEN: u64 = 1 << 32;
/// Beyond this much unsent, nothing is read: neither from the host nor from the application.
pub const OUTBOX_LIMIT: usize = 256 * 1024;

/// True where what is unsent leaves room for more.
pub fn has_room(outbox: &ByteQueue) -> bool {
    outbox.len() <= OUTBOX_LIMIT
}

pub struct Streams {
    events: Rc<EventLoop>,
    streams: BTreeMap<u32, Stream>,
    last_id: u32,
    last_own_id: u32,
    /// The stream that was moved on last: the others come before it next time.
    last_moved: u32,
}

impl Streams {
    pub fn new(events: Rc<EventLoop>) -> Streams {
        Streams { events, streams: BTreeMap::new(), last_id: 0, last_own_id: FIRST_OWN_ID, last_moved: 0 }
    }

    /// Takes what the event loop saw.
    pub fn ready(&mut self, token: u64, readable: bool, writable: bool) {
        if let Some(stream) = self.streams.get_mut(&(token.wrapping_sub(FIRST_TOKEN) as u32)) {
            stream.ready(readable, writable);
        }
    }

    /// When [`Streams::advance`] must be called at the latest.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.streams.values().filter_map(Stream::deadline_ms).min()
    }

    /// Takes an id of the host's, for a stream or a call.
    pub fn take_id(&mut self, id: u32) -> Result<(), Violation> {
        if id <= self.last_id || id >= FIRST_OWN_ID {
            return Err("an id that is not above all before, or not the host's");
        }
        self.last_id = id;
        Ok(())
    }

    /// Begins to connect to a port of the application's.
    pub fn open(&mut self, id: u32, port: u16) -> Result<(), Failure> {
        self.must_have_place()?;
        self.open_to(id, Peer::Connection(Connection::begin(port)?))
    }

    /// Begins to run a shell.
    pub fn open_shell(&mut self, id: u32, system: &mut dyn System) -> Result<(), Failure> {
        self.must_have_place()?;
        let is_shell = |stream: &&Stream| matches!(stream.peer(), Peer::Terminal(terminal) if terminal.is_live());
        if self.streams.values().filter(is_shell).count() >= SHELLS_LIMIT {
            return Err(Failure::new("EMFILE", "too many shells at once"));
        }
        let terminal = Terminal::new(system.open_shell()?).or_failure("watch a shell")?;
        self.open_to(id, Peer::Terminal(terminal))
    }

    /// Tells a shell's terminal its size.
    pub fn resize(&self, id: u32, size: Size) -> Result<(), Failure> {
        match self.streams.get(&id).map(Stream::peer) {
            Some(Peer::Terminal(terminal)) => terminal.resize(size),
            _ => Err(Failure::new("ENXIO", "the stream leads to no shell")),
        }
    }

    /// Moves every stream on by one step, in turn, as far as there is room. True where something came of it.
    pub fn advance(&mut self, now_ms: u64, outbox: &mut ByteQueue) -> bool {
        let mut ready: Vec<u32> = self.streams.iter().filter(|(_, stream)| stream.is_ready(now_ms)).map(|(id, _)| *id).collect();
        let after_last = ready.partition_point(|id| *id <= self.last_moved);
        ready.rotate_left(after_last);
        let mut moved = false;
        for id in ready {
            // What waits is moved once the transport has made room.
            if !has_room(outbox) {
                break;
            }
            moved = true;
            self.last_moved = id;
            let standing = self.streams.get_mut(&id).map(|stream| stream.advance(now_ms, outbox));
            self.settle(id, standing.unwrap_or(Standing::Alive), outbox);
        }
        moved
    }

    /// Takes one connection to a service and asks the host for a stream. True where there was one.
    pub fn accept_one(&mut self, services: &mut Services, outbox: &mut ByteQueue) -> bool {
        // What is not taken waits in the backlog of its listener.
        if !has_room(outbox) {
            return false;
        }
        let own = self.streams.range(FIRST_OWN_ID..);
        let is_open = |name: &str| own.clone().filter(|(_, stream)| stream.service() == Some(name)).count() < SERVICE_STREAMS_LIMIT;
        match (services.accept(is_open), self.last_own_id.checked_add(1)) {
            (Some(accepted), Some(id)) => self.open_own(id, accepted, outbox),
            (accepted, _) => return accepted.is_some(),
        }
        true
    }

    fn open_own(&mut self, id: u32, Accepted { name, is_offered, socket }: Accepted, outbox: &mut ByteQueue) {
        let stream = match Stream::accepted(id, name, socket) {
            Ok(stream) => stream,
            Err(_) => return,
        };
        if !is_offered {
            return stream.reset();
        }
        if self.hold(id, stream).is_ok() {
            self.last_own_id = id;
            push_json(outbox, (FrameType::Open, id), &object(vec![("to", name.into())]));
        }
    }

    /// OPENED and REFUSED from the host.
    pub fn answer(&mut self, header: Header) -> Result<(), Violation> {
        let stream = self.streams.get_mut(&header.stream).ok_or("an answer to nothing that was asked")?;
        if header.frame_type == FrameType::Opened {
            return stream.opened();
        }
        stream.must_be_asked()?;
        self.remove_and_reset(header.stream);
        Ok(())
    }

    /// DATA, CREDIT, END and RESET for a stream.
    pub fn frame(&mut self, header: Header, payload: &[u8], outbox: &mut ByteQueue) -> Result<(), Violation> {
        let id = header.stream;
        let credit = if header.frame_type == FrameType::Credit { credit_of(payload)? } else { 0 };
        if id == 0 || id > (if id < FIRST_OWN_ID { self.last_id } else { self.last_own_id }) {
            return Err("a frame for a stream that was never opened");
        }
        let stream = match self.streams.get_mut(&id) {
            // It may have crossed a RESET.
            None => return Ok(()),
            Some(stream) => stream,
        };
        let standing = match header.frame_type {
            FrameType::Data => stream.data(payload, outbox)?,
            FrameType::Credit => stream.credit(credit).map(|()| Standing::Alive)?,
            FrameType::End => stream.end()?,
            _ => {
                self.remove_and_reset(id);
                return Ok(());
            }
        };
        self.settle(id, standing, outbox);
        Ok(())
    }

    /// The session is over: the application gets errors, and every id is new again.
    pub fn clear(&mut self) {
        for (_, stream) in std::mem::take(&mut self.streams) {
            stream.reset();
        }
        self.last_id = 0;
        self.last_own_id = FIRST_OWN_ID;
    }

    fn must_have_place(&self) -> Result<(), Failure> {
        if self.streams.range(..FIRST_OWN_ID).count() >= STREAMS_LIMIT {
            return Err(Failure::new("EMFILE", "too many streams at once"));
        }
        Ok(())
    }

    fn open_to(&mut self, id: u32, peer: Peer) -> Result<(), Failure> {
        self.hold(id, Stream::open(id, peer, monotonic_ms())).or_failure("watch a stream")
    }

    fn hold(&mut self, id: u32, stream: Stream) -> io::Result<()> {
        for fd in stream.peer().watched() {
            self.events.watch(fd, FIRST_TOKEN + u64::from(id))?;
        }
        self.streams.insert(id, stream);
        Ok(())
    }

    fn remove_and_reset(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(&id) {
            stream.reset();
        }
    }

    fn settle(&mut self, id: u32, standing: Standing, outbox: &mut ByteQueue) {
        let (frame_type, failure) = match standing {
            Standing::Alive => return,
            Standing::Over => return drop(self.streams.remove(&id)),
            Standing::Refused(failure) => (FrameType::Refused, failure),
            Standing::Broken(failure) => (FrameType::Reset, failure),
        };
        self.streams.remove(&id);
        push_json(outbox, (frame_type, id), &failure_json(&failure));
    }
}

/// The number in CREDIT.
pub fn credit_of(payload: &[u8]) -> Result<u32, Violation> {
    match payload {
        [a, b, c, d] => Ok(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => Err("CREDIT without a number"),
    }
}
