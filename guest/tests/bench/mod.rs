//! A session without a transport: bytes in, frames out.

mod shell;

use lull_guest::event_loop::EventLoop;
use lull_guest::failure::Failure;
use lull_guest::frame::{header_bytes, FrameType, AGENT_PREAMBLE, HOST_PREAMBLE};
use lull_guest::json::Json;
use lull_guest::services::Service;
use lull_guest::session::Session;
use lull_guest::system::{Application, Memory, Restore, Shell, StartSpec, Started, System};
use std::rc::Rc;

/// Remembers what it was asked.
#[derive(Default)]
pub struct Recorder {
    pub asked: Vec<String>,
}

impl System for Recorder {
    fn restore(&mut self, restore: &Restore) -> Vec<String> {
        self.asked.push(format!("restore {}", restore.realtime_ns));
        vec!["entropy: none".to_string()]
    }
    fn realtime_ns(&self) -> u64 {
        5
    }
    fn set_realtime_ns(&mut self, _: u64) -> Result<(), Failure> {
        Ok(())
    }
    fn start(&mut self, _: &StartSpec) -> Result<Started, Failure> {
        Err(Failure::new("ENOENT", "no such program"))
    }
    fn application(&self) -> Application {
        Application::NONE
    }
    fn open_shell(&mut self) -> Result<Shell, Failure> {
        shell::open_shell()
    }
    fn freeze(&mut self) -> Result<(), Failure> {
        self.asked.push("freeze".to_string());
        Ok(())
    }
    fn thaw(&mut self) -> Result<(), Failure> {
        self.asked.push("thaw".to_string());
        Ok(())
    }
    fn quiesce(&mut self, trim: bool) -> Result<u64, Failure> {
        Ok(if trim { 17 } else { 0 })
    }
    fn reap(&mut self) -> Option<Application> {
        None
    }
    fn memory(&self) -> Memory {
        Memory::default()
    }
    fn boot_id(&self) -> String {
        "boot".to_string()
    }
}

pub struct Bench {
    pub events: Rc<EventLoop>,
    pub session: Session,
    pub system: Recorder,
}

pub const NONCE: &str = "00112233445566778899aabbccddeeff";

impl Bench {
    /// Of an agent with these services.
    pub fn serving(services: Vec<Service>) -> Bench {
        let events = Rc::new(EventLoop::new().unwrap());
        let session = Session::new(Rc::clone(&events), services).unwrap();
        Bench { session, events, system: Recorder::default() }
    }

    /// Feeds bytes and takes what comes back.
    pub fn say(&mut self, bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        self.session.inbox.extend(bytes);
        while self.session.receive(&mut self.system) | self.session.advance() {}
        self.take()
    }

    pub fn take(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
        let bytes = self.session.outbox.as_slice().to_vec();
        self.session.outbox.clear();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            rest = rest.strip_prefix(&AGENT_PREAMBLE[..]).unwrap_or(rest);
            let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
            let length = word(8) as usize;
            frames.push((rest[0], word(4), rest[12..12 + length].to_vec()));
            rest = &rest[12 + length..];
        }
        frames
    }

    /// Lets the event loop turn until `done`.
    pub fn turn_until(&mut self, mut done: impl FnMut(&mut Bench) -> bool) {
        let mut ready = Vec::new();
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.events.wait(Some(10), &mut ready).unwrap();
            for event in &ready {
                self.session.ready(event.token, event.readable, event.writable);
            }
            while self.session.advance() && self.session.has_room() {}
        }
        panic!("it never came");
    }
}

pub fn frame(kind: FrameType, id: u32, payload: &[u8]) -> Vec<u8> {
    [&header_bytes(kind, id, payload.len())[..], payload].concat()
}

pub fn hello(members: &str) -> Vec<u8> {
    let json = format!(r#"{{"protocol":{{"min":1,"max":1}},"nonce":"{}","outputCredit":1000,{}}}"#, NONCE, members);
    [&HOST_PREAMBLE[..], &frame(FrameType::Hello, 0, json.as_bytes())].concat()
}

pub fn code_of(frames: &[(u8, u32, Vec<u8>)], kind: FrameType) -> String {
    let found = frames.iter().find(|(frame, _, _)| *frame == kind as u8).unwrap_or_else(|| panic!("no {:?} in {:?}", kind, frames));
    Json::parse(&found.2).unwrap().get("code").unwrap().as_str().unwrap().to_string()
}
