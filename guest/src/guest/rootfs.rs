//! The tree that an application sees, made in its own mount namespace. Nothing is mounted before the old root is gone, so that
//! a symbolic link in the image cannot lead out of it.

use crate::boot::mounts::{mount, Mount, MS_BIND, MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT};
use crate::boot::place;
use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use crate::system::Capabilities;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::Path;

/// The devices of an ordinary container. Each is a mount of its own over a plain file: the folder is mounted `nodev`, so a
/// node that the application makes there is as useless as anywhere.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// The folder of terminals: the agent's devpts, so that it can make terminals there without asking the application's tree.
const TERMINALS: &str = "pts";
/// With all capabilities, in addition (contract reference, section 8.1).
const PRIVILEGED_DEVICES: [&str; 1] = ["fuse"];
/// What Docker hides: memory, keys, timers and knobs that namespaces do not separate; and the page maps.
const MASKED: [&str; 17] = [
    "/proc/acpi", "/proc/asound", "/proc/dynamic_debug", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kpagecgroup", "/proc/kpagecount",
    "/proc/kpageflags", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/timer_stats",
    "/sys/firmware", "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];
const HARMLESS: u64 = MS_NOSUID | MS_NODEV | MS_NOEXEC;
const OPEN_TREE: std::os::raw::c_long = 428;
const MOVE_MOUNT: std::os::raw::c_long = 429;
const OPEN_TREE_CLONE: i32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: i32 = 4;
const AT_FDCWD: i32 = -100;

/// Leaves the agent's tree for the application's; the caller has a mount namespace of its own.
pub fn enter(capabilities: Capabilities, hostname: &str) -> Result<(), Failure> {
    mount(&Mount { source: "none", target: "/", kind: "", flags: MS_REC | MS_PRIVATE, data: "" })?;
    let is_limited = capabilities == Capabilities::Default;
    let privileged = if is_limited { &[][..] } else { &PRIVILEGED_DEVICES };
    let names = DEVICES.iter().chain([&TERMINALS]).chain(privileged);
    let take = |name: &&'static str| clone_device(name).map(|device| (*name, device)).or_failure("take a device along");
    let devices = names.map(take).collect::<Result<Vec<_>, _>>()?;
    mount_overlay(capabilities)?;
    sys::pivot_into(place::CONTAINER).or_failure("enter the application's tree")?;
    for folder in ["/proc", "/sys", "/dev"] {
        make_mount_point(folder)?;
    }
    mount(&Mount { source: "proc", target: "/proc", kind: "proc", flags: HARMLESS, data: "" })?;
    let sys_flags = if is_limited { HARMLESS | MS_RDONLY } else { HARMLESS };
    mount(&Mount { source: "sysfs", target: "/sys", kind: "sysfs", flags: sys_flags, data: "" })?;
    fill_dev(&devices, is_limited)?;
    if is_limited {
        hide()?;
    } else {
        mount(&Mount { source: "cgroup2", target: "/sys/fs/cgroup", kind: "cgroup2", flags: HARMLESS, data: "" })?;
    }
    write_hosts(hostname);
    write_resolver();
    Ok(())
}

/// Nothing but the overlay itself is `nodev`-exempt, and that only with all capabilities.
fn mount_overlay(capabilities: Capabilities) -> Result<(), Failure> {
    let nodev = if capabilities == Capabilities::Default { MS_NODEV } else { 0 };
    let data = format!("lowerdir={},upperdir={}/upper,workdir={}/work", place::IMAGE, place::SCRATCH, place::SCRATCH);
    mount(&Mount { source: "overlay", target: place::CONTAINER, kind: "overlay", flags: MS_NOATIME | nodev, data: &data })
}

/// A mount of the device (or folder of devices) alone, not in any tree yet.
fn clone_device(name: &str) -> std::io::Result<OwnedFd> {
    let path = sys::c_text(format!("/dev/{}", name))?;
    let result = unsafe { ffi::syscall(OPEN_TREE, AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | sys::O_CLOEXEC) };
    sys::own(sys::check_long(result)? as i32)
}

fn make_mount_point(folder: &str) -> Result<(), Failure> {
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new("ENOTDIR", format!("the image's {} is not a folder", folder))),
        Err(_) => fs::create_dir(folder).or_failure(folder),
    }
}

fn fill_dev(devices: &[(&str, OwnedFd)], is_limited: bool) -> Result<(), Failure> {
    let nodev = if is_limited { MS_NODEV } else { 0 };
    mount(&Mount { source: "tmpfs", target: "/dev", kind: "tmpfs", flags: MS_NOSUID | MS_NOEXEC | nodev, data: "mode=0755,size=64k" })?;
    for folder in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        fs::create_dir(folder).or_failure(folder)?;
    }
    for (name, device) in devices {
        place_device(name, device).or_failure(&format!("make /dev/{}", name))?;
    }
    mount(&Mount { source: "shm", target: "/dev/shm", kind: "tmpfs", flags: HARMLESS, data: "mode=1777,size=64m" })?;
    mount(&Mount { source: "mqueue", target: "/dev/mqueue", kind: "mqueue", flags: HARMLESS, data: "" })?;
    let links = [("pts/ptmx", "ptmx"), ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"), ("/proc/self/fd/2", "stderr")];
    for (target, name) in links {
        symlink(target, Path::new("/dev").join(name)).or_failure("make a link in /dev")?;
    }
    Ok(())
}

fn place_device(name: &str, device: &OwnedFd) -> std::io::Result<()> {
    let path = format!("/dev/{}", name);
    if name != TERMINALS {
        File::create(&path)?;
    }
    let (empty, path) = (sys::c_text("")?, sys::c_text(path)?);
    let result = unsafe { ffi::syscall(MOVE_MOUNT, device.as_raw_fd(), empty.as_ptr(), AT_FDCWD, path.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH) };
    sys::check_long(result).map(drop)
}

fn hide() -> Result<(), Failure> {
    for path in MASKED {
        match fs::symlink_metadata(path) {
            Err(_) => {}
            Ok(found) if found.is_dir() => {
                mount(&Mount { source: "tmpfs", target: path, kind: "tmpfs", flags: HARMLESS | MS_RDONLY, data: "size=0k" })?;
            }
            Ok(_) => mount(&Mount { source: "/dev/null", target: path, kind: "", flags: MS_BIND, data: "" })?,
        }
    }
    for path in READ_ONLY {
        if Path::new(path).exists() {
            mount(&Mount { source: path, target: path, kind: "", flags: MS_BIND | MS_REC, data: "" })?;
            mount(&Mount { source: path, target: path, kind: "", flags: MS_BIND | MS_REMOUNT | MS_RDONLY | HARMLESS, data: "" })?;
        }
    }
    Ok(())
}

/// Where names are asked for: the gateway's own address, which passes questions on (the address of AWS's local resolver, section 5.8).
const RESOLVER: &str = "nameserver 169.254.53.53\n";

/// What an image has is of the machine that built it.
fn write_resolver() {
    let path = "/etc/resolv.conf";
    let _ = fs::remove_file(path);
    // A read-only or odd /etc is the image's business.
    let _ = fs::write(path, RESOLVER);
}

/// An image has no hosts file of its own (container tools mount one), and nobody else would know `localhost`.
fn write_hosts(hostname: &str) {
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{}\n", hostname);
    for (path, text) in [("/etc/hosts", hosts), ("/etc/hostname", format!("{}\n", hostname))] {
        let is_missing = fs::symlink_metadata(path).map_or(true, |found| found.is_file() && found.len() == 0);
        if is_missing && Path::new("/etc").is_dir() {
            // A read-only or odd /etc is the image's business.
            let _ = fs::write(path, text);
        }
    }
}
