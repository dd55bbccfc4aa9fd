//! The application's cgroup: `application`, which the agent freezes, and under it `container`, which is all that the
//! application could ever see of the tree.

use crate::boot::place;
use crate::failure::{Failure, OrFailure};
use crate::sys::{self, monotonic_ms};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Freezing waits for every task to come out of what it does in the kernel.
const FREEZE_LIMIT_MS: u64 = 20_000;

pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    pub fn create() -> Result<Cgroup, Failure> {
        let folder = PathBuf::from(place::CGROUP).join("application");
        fs::create_dir_all(folder.join("container")).or_failure("create the application's cgroup")?;
        Ok(Cgroup { folder })
    }

    /// The one that a process of the application's is in: with the controllers delegated there may be others below `container`,
    /// and that one then holds no process itself.
    pub fn of(pid: i32) -> Result<OwnedFd, Failure> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", pid)).or_failure("read the application's cgroup")?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        sys::open(&Path::new(place::CGROUP).join(path), sys::O_PATH).or_failure("open the application's cgroup")
    }

    /// Lets the application use the controllers in cgroups of its own.
    pub fn delegate(&self) -> Result<(), Failure> {
        for folder in [PathBuf::from(place::CGROUP), self.folder.clone()] {
            let controllers = fs::read_to_string(folder.join("cgroup.controllers")).or_failure("read the cgroup controllers")?;
            let all: Vec<String> = controllers.split_whitespace().map(|name| format!("+{}", name)).collect();
            fs::write(folder.join("cgroup.subtree_control"), all.join(" ")).or_failure("delegate the cgroup controllers")?;
        }
        Ok(())
    }

    /// Puts the calling process in.
    pub fn enter(&self) -> Result<(), Failure> {
        fs::write(self.folder.join("container/cgroup.procs"), "0").or_failure("enter the application's cgroup")
    }

    /// Returns when the kernel says that everything in it is frozen; thaws again where that takes too long.
    pub fn freeze(&self) -> Result<(), Failure> {
        let mut events = File::open(self.folder.join("cgroup.events")).or_failure("open cgroup.events")?;
        self.set_frozen(true)?;
        let limit_ms = monotonic_ms() + FREEZE_LIMIT_MS;
        loop {
            if is_frozen(&mut events)? {
                return Ok(());
            }
            let left_ms = limit_ms.saturating_sub(monotonic_ms());
            if left_ms == 0 {
                self.set_frozen(false)?;
                return Err(Failure::new("ETIMEDOUT", "the application did not freeze in time"));
            }
            sys::poll_one(events.as_raw_fd(), sys::POLLPRI, left_ms as i32).or_failure("wait for cgroup.events")?;
        }
    }

    pub fn thaw(&self) -> Result<(), Failure> {
        self.set_frozen(false)
    }

    /// Kills everything that is left in it.
    pub fn kill(&self) {
        // The PID namespace has killed it already when its first process ended; this is for what may have left it.
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
        let _ = self.set_frozen(false);
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), Failure> {
        fs::write(self.folder.join("cgroup.freeze"), if frozen { "1" } else { "0" }).or_failure("write cgroup.freeze")
    }
}

fn is_frozen(events: &mut File) -> Result<bool, Failure> {
    use std::io::Seek;
    let mut text = String::new();
    events.rewind().or_failure("read cgroup.events")?;
    events.read_to_string(&mut text).or_failure("read cgroup.events")?;
    Ok(text.lines().any(|line| line == "frozen 1"))
}
