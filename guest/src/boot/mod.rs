//! From the first instruction in the initramfs to a machine on which the agent can serve.

pub mod console;
mod disks;
mod modules;
pub mod mounts;
mod service_network;

use crate::failure::{Failure, OrFailure};
use crate::rtnetlink::{index_of, RouteNetlink};
use crate::serial::SerialPort;
use crate::services::Service;
use crate::sys::{self, ffi, monotonic_ms};
use mounts::{mount, Mount, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long devices may take to show up: under emulation, on a busy machine.
const DEVICES_LIMIT_MS: u64 = 20_000;
/// Between two looks for a device.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The agent's own limit on open files: its streams, and some.
const OPEN_FILES: u64 = 4096;

/// Where things are in the agent's own tree, which no application ever sees.
pub mod place {
    /// The read-only disk of the image.
    pub const IMAGE: &str = "/image";
    /// The scratch disk.
    pub const SCRATCH: &str = "/scratch";
    /// Where an application's tree is put together, in its own mount namespace.
    pub const CONTAINER: &str = "/container";
    pub const CGROUP: &str = "/cgroup";
}

/// Makes the machine ready: the port to the host, and where the application finds the host's services.
pub fn boot() -> Result<(SerialPort, Vec<Service>), Failure> {
    modules::load_all()?;
    leave_initramfs()?;
    mount_kernel_trees()?;
    console::attach();
    fs::write("/proc/self/oom_score_adj", "-1000").or_failure("protect the agent from the OOM killer")?;
    sys::limit_open_files(OPEN_FILES).or_failure("raise the limit of open files")?;
    // Freed pages that a processor keeps to itself look used, so a suspend would save them: let it keep as few as can be.
    fs::write("/proc/sys/vm/percpu_pagelist_high_fraction", "1000000").or_failure("shorten the lists of free pages")?;
    bring_up_loopback()?;
    let services = service_network::make()?;
    disks::mount_all()?;
    Ok((wait_for("the serial port lull.agent", SerialPort::find)?, services))
}

/// Looks for something until it is there.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let limit_ms = monotonic_ms() + DEVICES_LIMIT_MS;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if monotonic_ms() >= limit_ms {
            return Err(Failure::new("ETIMEDOUT", format!("{} did not show up", what)));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Puts an empty tmpfs over the initramfs, whose files are gone by then: pivot_root(2), which gives an application its tree,
/// does not work on the kernel's first root.
fn leave_initramfs() -> Result<(), Failure> {
    let _ = fs::remove_file("/init");
    let _ = fs::remove_dir_all("/lull");
    fs::create_dir_all("/tree").or_failure("create /tree")?;
    mount(&Mount { source: "tmpfs", target: "/tree", kind: "tmpfs", flags: MS_NOSUID | MS_NODEV | MS_NOEXEC, data: "mode=0700,size=1m" })?;
    for folder in ["proc", "sys", "dev", "image", "scratch", "container", "cgroup"] {
        fs::create_dir(Path::new("/tree").join(folder)).or_failure("create a folder of the agent")?;
    }
    std::env::set_current_dir("/tree").or_failure("enter /tree")?;
    mount(&Mount { source: ".", target: "/", kind: "", flags: MS_MOVE, data: "" })?;
    let here = sys::c_text(".").or_failure("chroot")?;
    sys::check(unsafe { ffi::chroot(here.as_ptr()) }).or_failure("chroot")?;
    std::env::set_current_dir("/").or_failure("enter /")
}

fn mount_kernel_trees() -> Result<(), Failure> {
    let plain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mount(&Mount { source: "proc", target: "/proc", kind: "proc", flags: plain, data: "" })?;
    mount(&Mount { source: "sysfs", target: "/sys", kind: "sysfs", flags: plain, data: "" })?;
    mount(&Mount { source: "devtmpfs", target: "/dev", kind: "devtmpfs", flags: MS_NOSUID | MS_NOEXEC, data: "mode=0755" })?;
    fs::create_dir("/dev/pts").or_failure("create /dev/pts")?;
    let terminals = "ptmxmode=0666,mode=0620,gid=5";
    mount(&Mount { source: "devpts", target: "/dev/pts", kind: "devpts", flags: MS_NOSUID | MS_NOEXEC, data: terminals })?;
    mount(&Mount { source: "cgroup2", target: place::CGROUP, kind: "cgroup2", flags: plain, data: "" })
}

fn bring_up_loopback() -> Result<(), Failure> {
    let index = index_of("lo").or_failure("bring up lo")?.ok_or_else(|| Failure::new("ENODEV", "there is no lo"))?;
    RouteNetlink::open()?.set_up(index).or_failure("bring up lo")
}
