//! What the protocol can ask of the machine that it runs on.

use crate::failure::Failure;
use crate::services::Service;
use std::net::Ipv4Addr;
use std::os::unix::io::OwnedFd;

/// `restore` of a HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    pub realtime_ns: u64,
    pub entropy: Vec<u8>,
    pub reset_connections: bool,
    /// What the network card gets, or loses; left as it is where nothing is said.
    pub network: Option<Option<NetworkAddress>>,
}

/// What the network card gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkAddress {
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capabilities {
    /// AWS's set for an ordinary image.
    Default,
    /// `additionalOsCapabilities: ["ALL"]`.
    All,
}

/// The arguments of `start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartSpec {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: String,
    pub user: String,
    pub hostname: String,
    pub capabilities: Capabilities,
}

/// An application that runs: its first process, and the ends of its output.
pub struct Started {
    pub pid: i32,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A shell that is about to run in the application's environment.
pub struct Shell {
    /// The agent's end of its terminal.
    pub master: OwnedFd,
    /// Its process (man 2 pidfd_open).
    pub process: OwnedFd,
    /// Ends when its program runs; before that, why it does not ([`Failure::told`]).
    pub report: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationState {
    None,
    Running,
    Frozen,
    Exited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    pub state: ApplicationState,
    pub pid: Option<i32>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

impl Application {
    pub const NONE: Application = Application { state: ApplicationState::None, pid: None, exit_code: None, signal: None };
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub total_kib: u64,
    pub available_kib: u64,
}

/// The machine: a microVM, or what stands for one in a test.
pub trait System {
    /// Clock, entropy, connections, network, in this order. What fails is said in one line each; the rest is done all the same.
    fn restore(&mut self, restore: &Restore) -> Vec<String>;
    fn realtime_ns(&self) -> u64;
    fn set_realtime_ns(&mut self, realtime_ns: u64) -> Result<(), Failure>;
    fn start(&mut self, spec: &StartSpec) -> Result<Started, Failure>;
    fn application(&self) -> Application;
    /// Begins to run a shell beside the application.
    fn open_shell(&mut self) -> Result<Shell, Failure>;
    /// Returns when no process of the application runs any more.
    fn freeze(&mut self) -> Result<(), Failure>;
    fn thaw(&mut self) -> Result<(), Failure>;
    /// Everything written, caches dropped, free blocks given back. Returns the bytes trimmed.
    fn quiesce(&mut self, trim: bool) -> Result<u64, Failure>;
    /// Takes the exits of children. Returns the application's state when that is what ended.
    fn reap(&mut self) -> Option<Application>;
    /// Where the application finds the host's services; asked once.
    fn services(&mut self) -> Vec<Service> {
        Vec::new()
    }
    fn memory(&self) -> Memory;
    fn boot_id(&self) -> String;
    /// Where in physical memory the kernel describes itself: address and length as it writes them, empty where it does not.
    fn vmcoreinfo(&self) -> String {
        String::new()
    }
}
