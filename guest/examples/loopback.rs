//! The agent's protocol on a Unix socket, for the tests of its other end: real frames, real TCP streams, and an application
//! that is an ordinary child process, stopped instead of frozen; shells are ordinary, too. `loopback SOCKET`; it prints the port of its service `metadata`
//! at 127.0.0.1 once it listens, and ends when its stdin does.

#[path = "../tests/bench/shell.rs"]
mod shell;

use lull_guest::agent::{Agent, TRANSPORT_TOKEN};
use lull_guest::event_loop::EventLoop;
use lull_guest::failure::{Failure, OrFailure};
use lull_guest::services::Service;
use lull_guest::sys;
use lull_guest::system::{Application, ApplicationState, Memory, Restore, Shell, StartSpec, Started, System};
use lull_guest::transport::SocketTransport;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::io::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::rc::Rc;

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// Stands for a microVM: a clock that can be set without the machine's being set.
struct Bystander {
    application: Application,
    clock_offset_ns: i128,
    services: Vec<Service>,
}

impl Bystander {
    fn signal(&mut self, signal: i32, from: ApplicationState, to: ApplicationState) {
        if let (true, Some(pid)) = (self.application.state == from, self.application.pid) {
            unsafe { sys::ffi::kill(pid, signal) };
            self.application.state = to;
        }
    }
}

impl System for Bystander {
    fn restore(&mut self, restore: &Restore) -> Vec<String> {
        let set = self.set_realtime_ns(restore.realtime_ns);
        let mut warnings: Vec<String> = set.err().map(|failure| failure.message).into_iter().collect();
        if restore.reset_connections {
            warnings.push("connections: left alone".to_string());
        }
        warnings
    }

    fn realtime_ns(&self) -> u64 {
        (i128::from(sys::clock_ns(sys::CLOCK_REALTIME)) + self.clock_offset_ns) as u64
    }

    fn set_realtime_ns(&mut self, realtime_ns: u64) -> Result<(), Failure> {
        self.clock_offset_ns = i128::from(realtime_ns) - i128::from(sys::clock_ns(sys::CLOCK_REALTIME));
        Ok(())
    }

    fn start(&mut self, spec: &StartSpec) -> Result<Started, Failure> {
        let mut command = Command::new(&spec.argv[0]);
        command.args(&spec.argv[1..]).envs(spec.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().or_failure("start")?;
        let missing = || Failure::new("EIO", "no pipe");
        let stdout = OwnedFd::from(child.stdout.take().ok_or_else(missing)?);
        let stderr = OwnedFd::from(child.stderr.take().ok_or_else(missing)?);
        let pid = child.id() as i32;
        self.application = Application { state: ApplicationState::Running, pid: Some(pid), exit_code: None, signal: None };
        Ok(Started { pid, stdout, stderr })
    }

    fn application(&self) -> Application {
        self.application
    }

    fn open_shell(&mut self) -> Result<Shell, Failure> {
        shell::open_shell()
    }

    fn freeze(&mut self) -> Result<(), Failure> {
        self.signal(SIGSTOP, ApplicationState::Running, ApplicationState::Frozen);
        Ok(())
    }

    fn thaw(&mut self) -> Result<(), Failure> {
        self.signal(SIGCONT, ApplicationState::Frozen, ApplicationState::Running);
        Ok(())
    }

    fn quiesce(&mut self, _trim: bool) -> Result<u64, Failure> {
        Ok(0)
    }

    fn reap(&mut self) -> Option<Application> {
        let exit = sys::reap().filter(|exit| self.application.pid == Some(exit.pid))?;
        self.application.state = ApplicationState::Exited;
        self.application.exit_code = Some(exit.code);
        self.application.signal = exit.signal;
        Some(self.application)
    }

    fn services(&mut self) -> Vec<Service> {
        std::mem::take(&mut self.services)
    }

    fn memory(&self) -> Memory {
        Memory { total_kib: 2, available_kib: 1 }
    }

    fn boot_id(&self) -> String {
        "loopback".to_string()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: loopback SOCKET")?;
    // Blocked before there is a second thread, so that the signal goes to the agent's descriptor.
    let _signals = sys::signal_fd(&[sys::SIGCHLD])?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let events = Rc::new(EventLoop::new()?);
    let listener = UnixListener::bind(path)?;
    let transport = SocketTransport::new(listener, Rc::clone(&events), TRANSPORT_TOKEN)?;
    let metadata = TcpListener::bind("127.0.0.1:0")?;
    let port = metadata.local_addr()?.port();
    let services = vec![Service { name: "metadata", listener: metadata }];
    let mut agent = Agent::new(events, transport, Bystander { application: Application::NONE, clock_offset_ns: 0, services })?;
    println!("{}", port);
    agent.run()?;
    Ok(())
}
