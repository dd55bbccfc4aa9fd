//! The system of a real microVM.

mod capabilities;
mod cgroup;
mod clock;
mod container;
mod disk;
mod entropy;
mod network;
pub mod oci_user;
mod rootfs;
mod shell;
mod sockets;

use crate::failure::Failure;
use crate::services::Service;
use crate::sys::{self, CLOCK_REALTIME};
use crate::system::{Application, ApplicationState, Memory, Restore, Shell, StartSpec, Started, System};
use cgroup::Cgroup;
use network::Network;
use std::fs;

pub struct Microvm {
    application: Application,
    /// What the application was started with.
    spec: Option<StartSpec>,
    cgroup: Cgroup,
    network: Network,
    services: Vec<Service>,
}

impl Microvm {
    pub fn new(services: Vec<Service>) -> Result<Microvm, Failure> {
        Ok(Microvm { application: Application::NONE, spec: None, cgroup: Cgroup::create()?, network: Network::default(), services })
    }
}

impl System for Microvm {
    fn restore(&mut self, restore: &Restore) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut step = |name: &str, result: Result<(), Failure>| {
            if let Err(failure) = result {
                warnings.push(format!("{}: {}", name, failure.message));
            }
        };
        step("clock", clock::set_realtime_ns(restore.realtime_ns));
        step("entropy", entropy::add(&restore.entropy));
        if restore.reset_connections {
            step("connections", sockets::destroy_remote());
        }
        if let Some(wanted) = &restore.network {
            step("network", self.network.set(wanted.as_ref()));
        }
        warnings
    }

    fn realtime_ns(&self) -> u64 {
        sys::clock_ns(CLOCK_REALTIME)
    }

    fn set_realtime_ns(&mut self, realtime_ns: u64) -> Result<(), Failure> {
        clock::set_realtime_ns(realtime_ns)
    }

    fn start(&mut self, spec: &StartSpec) -> Result<Started, Failure> {
        let started = container::start(spec, &self.cgroup)?;
        self.application = Application { state: ApplicationState::Running, pid: Some(started.pid), exit_code: None, signal: None };
        self.spec = Some(spec.clone());
        Ok(started)
    }

    fn application(&self) -> Application {
        self.application
    }

    fn open_shell(&mut self) -> Result<Shell, Failure> {
        match (&self.spec, self.application) {
            (Some(spec), Application { state: ApplicationState::Running, pid: Some(pid), .. }) => shell::open(spec, pid),
            _ => Err(Failure::new("not-running", "the application does not run")),
        }
    }

    fn freeze(&mut self) -> Result<(), Failure> {
        if self.application.state == ApplicationState::Running {
            self.cgroup.freeze()?;
            self.application.state = ApplicationState::Frozen;
        }
        Ok(())
    }

    fn thaw(&mut self) -> Result<(), Failure> {
        if self.application.state == ApplicationState::Frozen {
            self.cgroup.thaw()?;
            self.application.state = ApplicationState::Running;
        }
        Ok(())
    }

    fn quiesce(&mut self, trim: bool) -> Result<u64, Failure> {
        disk::quiesce(trim)
    }

    fn reap(&mut self) -> Option<Application> {
        let mut ended = None;
        while let Some(exit) = sys::reap() {
            if self.application.pid != Some(exit.pid) || self.application.state == ApplicationState::Exited {
                continue;
            }
            self.application.state = ApplicationState::Exited;
            self.application.exit_code = Some(exit.code);
            self.application.signal = exit.signal;
            self.cgroup.kill();
            ended = Some(self.application);
        }
        ended
    }

    fn services(&mut self) -> Vec<Service> {
        std::mem::take(&mut self.services)
    }

    fn memory(&self) -> Memory {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Memory { total_kib: kib("MemTotal:"), available_kib: kib("MemAvailable:") }
    }

    fn boot_id(&self) -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim_end().to_string()
    }

    fn vmcoreinfo(&self) -> String {
        fs::read_to_string("/sys/kernel/vmcoreinfo").unwrap_or_default().trim_end().to_string()
    }
}
