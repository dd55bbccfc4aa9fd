//! The agent of a Lull microVM. `docs/agent-protocol.md` is the authority for what it says and does.
//!
//! [`session`] is the protocol and knows neither PID 1 nor the serial port: it sees a [`system::System`] that acts and a
//! [`transport::Transport`] that carries bytes. [`agent`] turns them in one epoll loop. [`guest`] is the system of a real
//! microVM, [`boot`] makes the machine ready for it. [`jail`] and [`tap`] are for the host's side.

pub mod agent;
pub mod boot;
pub mod calls;
pub mod connection;
pub mod encoding;
pub mod event_loop;
pub mod failure;
pub mod frame;
pub mod guest;
pub mod jail;
pub mod json;
pub mod listening;
pub mod message;
pub mod netlink;
pub mod output;
pub mod port_waits;
pub mod pty;
pub mod queue;
pub mod rtnetlink;
pub mod serial;
pub mod services;
pub mod session;
pub mod stream;
pub mod streams;
pub mod sys;
pub mod system;
pub mod tap;
pub mod terminal;
pub mod transport;
