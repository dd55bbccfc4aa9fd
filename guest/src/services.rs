//! What the host offers to the application inside the guest: each service has a listener, and every connection to it becomes a
//! stream that the agent opens toward the host.

use crate::event_loop::EventLoop;
use crate::sys;
use std::io;
use std::net::TcpListener;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// Event tokens of the listeners start here.
pub const FIRST_TOKEN: u64 = 32;

/// A service by the name that the host knows it by, and where the application finds it.
pub struct Service {
    pub name: &'static str,
    pub listener: TcpListener,
}

/// A connection of the application's. Without a host that offers the service it is to be reset.
pub struct Accepted {
    pub name: &'static str,
    pub is_offered: bool,
    pub socket: OwnedFd,
}

struct Door {
    service: Service,
    ready: bool,
    is_offered: bool,
}

pub struct Services {
    doors: Vec<Door>,
}

impl Services {
    /// Watches the listeners from now on.
    pub fn new(events: &EventLoop, services: Vec<Service>) -> io::Result<Services> {
        for (index, service) in services.iter().enumerate() {
            sys::set_nonblocking(service.listener.as_raw_fd())?;
            events.watch(service.listener.as_raw_fd(), FIRST_TOKEN + index as u64)?;
        }
        Ok(Services { doors: services.into_iter().map(|service| Door { service, ready: false, is_offered: false }).collect() })
    }

    /// Takes what the event loop saw.
    pub fn ready(&mut self, token: u64) {
        if let Some(door) = self.doors.get_mut(token.wrapping_sub(FIRST_TOKEN) as usize) {
            door.ready = true;
        }
    }

    /// The services that the host of this session has.
    pub fn offer(&mut self, names: &[String]) {
        for door in &mut self.doors {
            door.is_offered = names.iter().any(|name| name == door.service.name);
        }
    }

    /// The next connection that waits for one of the services `is_open` holds for. What nobody takes stays in the listener's backlog.
    pub fn accept(&mut self, is_open: impl Fn(&str) -> bool) -> Option<Accepted> {
        self.doors.iter_mut().filter(|door| door.ready && is_open(door.service.name)).find_map(|door| match door.service.listener.accept() {
            Ok((socket, _)) => Some(Accepted { name: door.service.name, is_offered: door.is_offered, socket: socket.into() }),
            Err(error) => {
                // Anything else (out of descriptors or memory, say) is tried again with the next event.
                door.ready = error.raw_os_error() != Some(sys::EAGAIN);
                None
            }
        })
    }
}
