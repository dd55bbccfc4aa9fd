//! PID 1 of every microVM.

use lull_guest::agent::Agent;
use lull_guest::boot::{boot, console};
use lull_guest::event_loop::EventLoop;
use lull_guest::failure::{Failure, OrFailure};
use lull_guest::guest::Microvm;
use std::rc::Rc;

fn main() {
    // By accident on a real machine it would take the root away.
    if std::process::id() != 1 {
        eprintln!("lull-agent runs as PID 1 of a microVM");
        std::process::exit(2);
    }
    console::report_panics();
    console::give_up(&match serve() {
        Err(failure) => failure,
        Ok(()) => Failure::new("EIO", "the agent ended"),
    })
}

fn serve() -> Result<(), Failure> {
    let (port, services) = boot()?;
    let events = Rc::new(EventLoop::new().or_failure("epoll")?);
    let mut agent = Agent::new(events, port, Microvm::new(services)?).or_failure("watch the serial port")?;
    agent.run().or_failure("epoll")
}
