//! The loop that everything runs in: one thread, one epoll.

use crate::event_loop::EventLoop;
use crate::session::Session;
use crate::sys;
use crate::system::System;
use crate::transport::{Moved, Transport};
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::rc::Rc;

/// Event token of the transport.
pub const TRANSPORT_TOKEN: u64 = 0;
const SIGNALS_TOKEN: u64 = 1;
/// Read from the host at once.
const READ_BYTES: usize = 64 * 1024;
/// Turns before signals get a look in again.
const TURNS_AT_ONCE: usize = 32;

pub struct Agent<T: Transport, S: System> {
    events: Rc<EventLoop>,
    transport: T,
    system: S,
    session: Session,
    signals: OwnedFd,
}

impl<T: Transport, S: System> Agent<T, S> {
    pub fn new(events: Rc<EventLoop>, mut transport: T, mut system: S) -> io::Result<Agent<T, S>> {
        let signals = sys::signal_fd(&[sys::SIGCHLD])?;
        events.watch(signals.as_raw_fd(), SIGNALS_TOKEN)?;
        transport.watch(&events, TRANSPORT_TOKEN)?;
        let session = Session::new(Rc::clone(&events), system.services())?;
        Ok(Agent { events, transport, system, session, signals })
    }

    /// Serves for ever.
    pub fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut is_busy = true;
        loop {
            let timeout_ms = match self.session.deadline_ms() {
                _ if is_busy => Some(0),
                Some(deadline_ms) => Some(deadline_ms.saturating_sub(sys::monotonic_ms())),
                None => None,
            };
            self.events.wait(timeout_ms, &mut ready)?;
            for event in &ready {
                match event.token {
                    SIGNALS_TOKEN => self.reap(),
                    token => self.session.ready(token, event.readable, event.writable),
                }
            }
            is_busy = (0..TURNS_AT_ONCE).all(|_| self.turn());
        }
    }

    /// Moves everything on by one step. False where nothing moved.
    fn turn(&mut self) -> bool {
        let received = self.receive();
        let acted = self.session.receive(&mut self.system);
        let advanced = self.session.advance();
        // Last, so that nothing of this turn waits for an event that may not come.
        self.send() || received || acted || advanced
    }

    fn send(&mut self) -> bool {
        let mut moved = false;
        while !self.session.outbox.is_empty() {
            match self.transport.write(self.session.outbox.as_slice()) {
                Moved::Bytes(count) => {
                    self.session.outbox.consume(count);
                    moved = true;
                }
                Moved::Blocked => return moved,
                Moved::Away => {
                    self.session.hang_up();
                    return true;
                }
            }
        }
        if self.session.is_closing {
            self.session.is_closing = false;
            self.transport.hang_up();
        }
        moved
    }

    fn receive(&mut self) -> bool {
        if !self.session.has_room() {
            return false;
        }
        let transport = &mut self.transport;
        let mut outcome = Moved::Blocked;
        let _ = self.session.inbox.fill_with(READ_BYTES, |buffer| {
            outcome = transport.read(buffer);
            match outcome {
                Moved::Bytes(count) => Ok(count),
                Moved::Blocked | Moved::Away => Err(()),
            }
        });
        if outcome == Moved::Away {
            self.session.hang_up();
        }
        matches!(outcome, Moved::Bytes(_))
    }

    fn reap(&mut self) {
        // What was signalled is asked of waitpid: a signal can stand for several children.
        let mut drain = [0; 1024];
        while sys::read(self.signals.as_raw_fd(), &mut drain).is_ok() {}
        if let Some(application) = self.system.reap() {
            self.session.application_ended(&application);
        }
    }
}
