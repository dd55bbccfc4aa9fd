//! The protocol: bytes of the host in, bytes for the host out, and the streams between. One session at a time.

use crate::encoding::{is_equal_constant_time, parse_hex};
use crate::event_loop::EventLoop;
use crate::failure::Failure;
use crate::frame::{parse_header, FrameType, Header, AGENT_PREAMBLE, HEADER_BYTES, HOST_PREAMBLE};
use crate::json::{object, Json};
use crate::message::{application_json, common_protocol, failure_json, nonce_of, parse_hello, parse_port, parse_resize, push_json, Hello, FEATURES, PROTOCOLS};
use crate::output::Output;
use crate::port_waits::PortWaits;
use crate::queue::ByteQueue;
use crate::services::{Service, Services};
use crate::stream::Violation;
use crate::streams::{credit_of, has_room, Streams, FIRST_TOKEN};
use crate::sys::monotonic_ms;
use crate::system::{Application, System};
use std::io;
use std::rc::Rc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Looking for a preamble.
    Seeking,
    /// The preamble was there: HELLO must follow.
    Greeting,
    Open,
}

/// A frame that was read, or why there is none.
enum Next {
    Frame(Header),
    Incomplete,
    Broken(Violation),
}

pub struct Session {
    events: Rc<EventLoop>,
    phase: Phase,
    pub inbox: ByteQueue,
    pub outbox: ByteQueue,
    pub(crate) output: Output,
    secret: Option<[u8; 32]>,
    services: Services,
    streams: Streams,
    waits: PortWaits,
    output_credit: u64,
    /// A FAULT was sent: hang up once it is out.
    pub is_closing: bool,
}

impl Session {
    pub fn new(events: Rc<EventLoop>, services: Vec<Service>) -> io::Result<Session> {
        Ok(Session {
            services: Services::new(&events, services)?,
            streams: Streams::new(Rc::clone(&events)),
            events,
            phase: Phase::Seeking,
            inbox: ByteQueue::new(),
            outbox: ByteQueue::new(),
            output: Output::default(),
            secret: None,
            waits: PortWaits::default(),
            output_credit: 0,
            is_closing: false,
        })
    }

    /// True where more bytes of the host may be put into the inbox.
    pub fn has_room(&self) -> bool {
        has_room(&self.outbox)
    }

    /// The host's end was closed.
    pub fn hang_up(&mut self) {
        self.drop_session();
        self.inbox.clear();
        self.outbox.clear();
        self.is_closing = false;
    }

    /// Takes what the event loop saw.
    pub fn ready(&mut self, token: u64, readable: bool, writable: bool) {
        if token < FIRST_TOKEN {
            self.output.ready(token);
            self.services.ready(token);
        } else {
            self.streams.ready(token, readable, writable);
        }
    }

    /// When [`Session::advance`] must be called at the latest.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.streams.deadline_ms().into_iter().chain(self.waits.deadline_ms()).min()
    }

    /// Acts on whole frames in the inbox. True where there was one.
    pub fn receive(&mut self, system: &mut dyn System) -> bool {
        let mut moved = false;
        while self.has_room() && self.receive_one(system) {
            moved = true;
        }
        moved
    }

    /// Moves streams, output and waits on. True where something came of it.
    pub fn advance(&mut self) -> bool {
        let now_ms = monotonic_ms();
        if self.phase != Phase::Open {
            return self.output.keep();
        }
        let before = self.outbox.len();
        for (id, result) in self.waits.look(now_ms) {
            self.answer(id, Ok(result));
        }
        // First, since streams may take all the room there is, again and again.
        let mut moved = self.streams.accept_one(&mut self.services, &mut self.outbox);
        moved |= self.streams.advance(now_ms, &mut self.outbox);
        let sent = self.has_room() && self.output.send(&mut self.output_credit, &mut self.outbox);
        sent || moved || self.outbox.len() > before
    }

    /// The application's first process has ended.
    pub fn application_ended(&mut self, application: &Application) {
        if self.phase != Phase::Open {
            return;
        }
        // What it wrote last comes before the news, as far as the credit goes.
        while self.has_room() && self.output.send(&mut self.output_credit, &mut self.outbox) {}
        let number = |value: Option<i32>| value.map_or(Json::Null, |value| Json::Number(f64::from(value)));
        let event = vec![("event", "exit".into()), ("exitCode", number(application.exit_code)), ("signal", number(application.signal))];
        self.push_json(FrameType::Event, 0, &object(event));
    }

    fn receive_one(&mut self, system: &mut dyn System) -> bool {
        match self.phase {
            Phase::Seeking => self.seek(),
            Phase::Greeting | Phase::Open => {
                if self.phase == Phase::Open && self.is_missed_hang_up() {
                    self.drop_session();
                    self.outbox.clear();
                    return true;
                }
                match self.next() {
                    Next::Incomplete => return false,
                    Next::Broken(violation) => self.fault("protocol", violation, None),
                    Next::Frame(header) => self.frame(header, system),
                }
                true
            }
        }
    }

    /// Drops everything up to and with a preamble. False where there is none yet.
    fn seek(&mut self) -> bool {
        let bytes = self.inbox.as_slice();
        match bytes.windows(HOST_PREAMBLE.len()).position(|window| window == HOST_PREAMBLE) {
            Some(at) => {
                self.inbox.consume(at + HOST_PREAMBLE.len());
                self.phase = Phase::Greeting;
                self.is_closing = false;
                true
            }
            None => {
                let keep = HOST_PREAMBLE.len() - 1;
                let excess = bytes.len().saturating_sub(keep);
                self.inbox.consume(excess);
                false
            }
        }
    }

    /// A preamble where a header should be: the host closed and came back before this end looked.
    fn is_missed_hang_up(&self) -> bool {
        self.inbox.as_slice().starts_with(HOST_PREAMBLE)
    }

    fn next(&self) -> Next {
        let bytes = self.inbox.as_slice();
        if self.phase == Phase::Open && bytes.len() < HOST_PREAMBLE.len() && !bytes.is_empty() && HOST_PREAMBLE.starts_with(bytes) {
            return Next::Incomplete;
        }
        if bytes.len() < HEADER_BYTES {
            return Next::Incomplete;
        }
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes[..HEADER_BYTES]);
        match parse_header(&header) {
            Err(violation) => Next::Broken(violation),
            Ok(header) if self.phase == Phase::Greeting && header.frame_type != FrameType::Hello => Next::Broken("HELLO was expected"),
            Ok(header) if bytes.len() < HEADER_BYTES + header.length => Next::Incomplete,
            Ok(header) => Next::Frame(header),
        }
    }

    fn frame(&mut self, header: Header, system: &mut dyn System) {
        // Out of the way, so that a frame's payload can be looked at while the rest of the session changes.
        let inbox = std::mem::take(&mut self.inbox);
        let payload = &inbox.as_slice()[HEADER_BYTES..HEADER_BYTES + header.length];
        let result = match header.frame_type {
            FrameType::Hello if self.phase == Phase::Greeting => {
                self.hello(payload, system);
                Ok(())
            }
            FrameType::Fault => {
                self.drop_session();
                Ok(())
            }
            FrameType::Call => self.call(header.stream, payload, system),
            FrameType::Open => self.open(header.stream, payload, system),
            FrameType::Opened | FrameType::Refused => self.streams.answer(header),
            FrameType::Data | FrameType::Credit | FrameType::End | FrameType::Reset => self.stream_frame(header, payload),
            _ => Err("HELLO within a session"),
        };
        self.inbox = inbox;
        self.inbox.consume(HEADER_BYTES + header.length);
        if let Err(violation) = result {
            self.fault("protocol", violation, None);
        }
    }

    fn hello(&mut self, payload: &[u8], system: &mut dyn System) {
        let json = match Json::parse(payload) {
            Ok(json) => json,
            Err(message) => return self.fault("protocol", message, Some(String::new())),
        };
        let hello = match parse_hello(&json) {
            Ok(hello) => hello,
            Err(message) => return self.fault("protocol", message, Some(nonce_of(&json))),
        };
        if !self.is_secret(&hello.secret) {
            return self.fault("secret", "the secret is not this agent's", Some(hello.nonce));
        }
        match common_protocol(PROTOCOLS, hello.protocols) {
            Some(protocol) => self.welcome(protocol, hello, system),
            None => self.fault("protocol", "no common version of the protocol", Some(hello.nonce)),
        }
    }

    fn welcome(&mut self, protocol: u64, hello: Hello, system: &mut dyn System) {
        let mut warnings = hello.restore.as_ref().map_or_else(Vec::new, |restore| system.restore(restore));
        if let Some(secret) = hello.next_secret {
            self.secret = Some(secret);
        }
        if hello.thaw {
            if let Err(failure) = system.thaw() {
                warnings.push(format!("thaw: {}", failure.message));
            }
        }
        self.phase = Phase::Open;
        self.output_credit = hello.output_credit;
        self.services.offer(&hello.services);
        let welcome = object(vec![
            ("protocol", protocol.into()),
            ("protocols", object(vec![("min", PROTOCOLS.0.into()), ("max", PROTOCOLS.1.into())])),
            ("nonce", hello.nonce.into()),
            ("agent", env!("CARGO_PKG_VERSION").into()),
            ("realtimeNs", system.realtime_ns().to_string().into()),
            ("bootId", system.boot_id().into()),
            ("application", application_json(&system.application())),
            ("features", Json::Array(FEATURES.iter().map(|feature| (*feature).into()).collect())),
            ("warnings", Json::Array(warnings.into_iter().map(Json::Text).collect())),
        ]);
        self.outbox.extend(AGENT_PREAMBLE);
        self.push_json(FrameType::Welcome, 0, &welcome);
    }

    fn is_secret(&self, text: &str) -> bool {
        match &self.secret {
            None => text.is_empty(),
            Some(secret) => parse_hex::<32>(text).map_or(false, |given| is_equal_constant_time(&given, secret)),
        }
    }

    fn call(&mut self, id: u32, payload: &[u8], system: &mut dyn System) -> Result<(), Violation> {
        self.streams.take_id(id)?;
        let call = Json::parse(payload)?;
        let op = call.get("op").and_then(Json::as_str).ok_or("a call without op")?;
        let result = match op {
            "awaitListening" => match self.waits.add(id, &call, monotonic_ms()) {
                Ok(()) => return Ok(()),
                Err(failure) => Err(failure),
            },
            "resize" => match parse_resize(&call) {
                Ok((stream, size)) => self.streams.resize(stream, size).map(|()| object(vec![])),
                Err(message) => Err(Failure::new("EINVAL", message)),
            },
            "start" => crate::calls::start(&call, system, &mut self.output, &self.events),
            _ => crate::calls::perform(op, &call, system),
        };
        self.answer(id, result);
        Ok(())
    }

    fn answer(&mut self, id: u32, result: Result<Json, Failure>) {
        let json = match result {
            Ok(value) => object(vec![("ok", value)]),
            Err(failure) => object(vec![("error", failure_json(&failure))]),
        };
        self.push_json(FrameType::Result, id, &json);
    }

    fn open(&mut self, id: u32, payload: &[u8], system: &mut dyn System) -> Result<(), Violation> {
        self.streams.take_id(id)?;
        let json = Json::parse(payload)?;
        let opened = match json.get("to").and_then(Json::as_str) {
            Some("tcp") => self.streams.open(id, json.get("port").and_then(parse_port).ok_or("OPEN without a port")?),
            Some("shell") => self.streams.open_shell(id, system),
            _ => return Err("OPEN to something that there is not"),
        };
        if let Err(failure) = opened {
            self.push_json(FrameType::Refused, id, &failure_json(&failure));
        }
        Ok(())
    }

    fn stream_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        if header.stream == 0 && header.frame_type == FrameType::Credit {
            self.output_credit += u64::from(credit_of(payload)?);
            return if self.output_credit > u64::from(u32::MAX) { Err("too much CREDIT") } else { Ok(()) };
        }
        self.streams.frame(header, payload, &mut self.outbox)
    }

    /// Tells the host which rule was broken and goes back to looking for a preamble. In answer to a HELLO it comes after the
    /// preamble and repeats the nonce, so that the host can tell it from what an earlier session left behind.
    fn fault(&mut self, code: &str, message: &str, nonce: Option<String>) {
        let is_answer = self.phase == Phase::Greeting;
        self.drop_session();
        let mut json = vec![("code", code.into()), ("message", message.into())];
        if is_answer {
            self.outbox.extend(AGENT_PREAMBLE);
            json.push(("nonce", nonce.unwrap_or_default().into()));
        }
        self.push_json(FrameType::Fault, 0, &object(json));
        self.is_closing = true;
    }

    fn drop_session(&mut self) {
        self.streams.clear();
        self.waits.clear();
        self.phase = Phase::Seeking;
        self.output_credit = 0;
    }

    fn push_json(&mut self, frame_type: FrameType, id: u32, json: &Json) {
        push_json(&mut self.outbox, (frame_type, id), json);
    }
}
