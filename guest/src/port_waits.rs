//! `awaitListening`: the only calls that stay open.

use crate::failure::Failure;
use crate::json::{object, Json};
use crate::listening::listening_ports;
use crate::message::parse_port;

/// Calls open at once.
pub const CALLS_LIMIT: usize = 64;
/// The first look for a listening port comes at once, the second after this time; each next one waits half as long again, up
/// to the limit: the kernel tells nobody when a socket begins to listen.
const FIRST_LOOK_MS: u64 = 4;
const LOOK_LIMIT_MS: u64 = 100;

struct Wait {
    id: u32,
    ports: Vec<u16>,
    until_ms: u64,
    next_look_ms: u64,
    interval_ms: u64,
}

#[derive(Default)]
pub struct PortWaits {
    waits: Vec<Wait>,
}

impl PortWaits {
    /// Takes a call on.
    pub fn add(&mut self, id: u32, call: &Json, now_ms: u64) -> Result<(), Failure> {
        if self.waits.len() >= CALLS_LIMIT {
            return Err(Failure::new("busy", "too many calls at once"));
        }
        let invalid = |message: &str| Failure::new("EINVAL", message);
        let ports = call.get("ports").map_or(Some(&[][..]), Json::as_array).ok_or_else(|| invalid("ports is not a list"))?;
        let ports = ports.iter().map(parse_port).collect::<Option<Vec<u16>>>().ok_or_else(|| invalid("ports holds something that is no port"))?;
        let timeout_ms = call.get("timeoutMs").and_then(Json::as_integer).ok_or_else(|| invalid("timeoutMs is not a number"))?;
        let until_ms = now_ms.saturating_add(timeout_ms);
        self.waits.push(Wait { id, ports, until_ms, next_look_ms: now_ms, interval_ms: FIRST_LOOK_MS });
        Ok(())
    }

    /// When [`PortWaits::look`] must be called at the latest.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.waits.iter().map(|wait| wait.next_look_ms).min()
    }

    /// Looks, where it is time to. Returns the answers, by call.
    pub fn look(&mut self, now_ms: u64) -> Vec<(u32, Json)> {
        let mut answers = Vec::new();
        if !self.waits.iter().any(|wait| now_ms >= wait.next_look_ms) {
            return answers;
        }
        let listening = listening_ports();
        self.waits.retain_mut(|wait| {
            let found = if wait.ports.is_empty() { listening.iter().next() } else { wait.ports.iter().find(|port| listening.contains(port)) };
            if found.is_none() && now_ms < wait.until_ms {
                wait.next_look_ms = (now_ms + wait.interval_ms).min(wait.until_ms);
                wait.interval_ms = (wait.interval_ms * 3 / 2).min(LOOK_LIMIT_MS);
                return true;
            }
            answers.push((wait.id, object(vec![("port", found.map_or(Json::Null, |port| u64::from(*port).into()))])));
            false
        });
        answers
    }

    pub fn clear(&mut self) {
        self.waits.clear();
    }
}
