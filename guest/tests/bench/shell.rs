//! What stands for a microVM's shell in tests: one of this machine's, on a terminal of its own.

use lull_guest::failure::{Failure, OrFailure};
use lull_guest::pty::{enter, Pty};
use lull_guest::sys;
use lull_guest::system::Shell;
use std::os::unix::io::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub fn open_shell() -> Result<Shell, Failure> {
    let Pty { master, slave } = Pty::open(Path::new("/dev/ptmx")).or_failure("make a terminal")?;
    let (report, _) = sys::pipe().or_failure("make a pipe")?;
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env("PS1", "λ $ ");
    let slave_fd = slave.as_raw_fd();
    unsafe { command.pre_exec(move || Ok(sys::reset_signals())).pre_exec(move || enter(slave_fd)) };
    let child = command.spawn().or_failure("run a shell")?;
    let process = sys::open_process(child.id() as i32).or_failure("find the shell")?;
    Ok(Shell { master, process, report })
}
