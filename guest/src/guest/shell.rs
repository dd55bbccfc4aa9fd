//! A shell beside the application: root in its namespaces, cgroup and tree, on a terminal of the application's devpts
//! (contract reference, section 6.2).

use super::cgroup::Cgroup;
use super::container::{become_user, environment, user_of};
use crate::failure::{Failure, OrFailure};
use crate::pty::{self, Pty};
use crate::sys::{self, ffi};
use crate::system::{Shell, StartSpec};
use std::env::set_current_dir;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_NEWNS: i32 = 0x0002_0000;
const CLONE_NEWCGROUP: i32 = 0x0200_0000;
const CLONE_NEWUTS: i32 = 0x0400_0000;
const CLONE_NEWIPC: i32 = 0x0800_0000;
const CLONE_NEWPID: i32 = 0x2000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE3: std::os::raw::c_long = 435;
const PR_SET_DUMPABLE: i32 = 4;
/// The agent's devpts, which the application's tree shows as its own.
const PTMX: &str = "/dev/pts/ptmx";
/// The prompt is what AWS's is, whatever the image's start-up files say.
const SHELLS: [(&str, &[&str]); 2] = [("/bin/bash", &["bash", "--norc"]), ("/bin/sh", &["sh"])];
const VARIABLES: [(&str, &str); 2] = [("TERM", "xterm"), ("PS1", "λ $ ")];

/// Makes its process, which says later whether its program runs: an application may hold it up, and must not hold up the agent.
pub fn open(spec: &StartSpec, application_pid: i32) -> Result<Shell, Failure> {
    let Pty { master, slave } = Pty::open(Path::new(PTMX)).or_failure("make a terminal")?;
    let (report, child_report) = sys::pipe().or_failure("make a pipe")?;
    let application = sys::open_process(application_pid).or_failure("find the application")?;
    let cgroup = Cgroup::of(application_pid)?;
    match clone_beside(&application, &cgroup).or_failure("make the shell's process")? {
        Some(process) => Ok(Shell { master, process, report }),
        None => become_shell(spec, &application, &slave, &child_report),
    }
}

/// A child in the PID namespace of the application and in that cgroup. Nothing is returned in the child.
fn clone_beside(application: &OwnedFd, cgroup: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    /// `struct clone_args` (man 2 clone).
    #[repr(C)]
    #[derive(Default)]
    struct CloneArguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    let own = sys::open_process(std::process::id() as i32)?;
    let mut process = -1i32;
    let arguments = CloneArguments {
        flags: CLONE_PIDFD | CLONE_INTO_CGROUP,
        pidfd: &mut process as *mut i32 as u64,
        exit_signal: sys::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArguments::default()
    };
    join(application, CLONE_NEWPID)?;
    let result = sys::check_long(unsafe { ffi::syscall(CLONE3, &arguments, std::mem::size_of::<CloneArguments>()) });
    if matches!(result, Ok(0)) {
        return Ok(None);
    }
    // It is for children alone: the agent itself never left its own.
    join(&own, CLONE_NEWPID)?;
    result.map(|_| Some(unsafe { OwnedFd::from_raw_fd(process) }))
}

fn join(process: &OwnedFd, namespaces: i32) -> io::Result<()> {
    sys::check(unsafe { ffi::setns(process.as_raw_fd(), namespaces) }).map(drop)
}

/// In the child: never returns.
fn become_shell(spec: &StartSpec, application: &OwnedFd, slave: &OwnedFd, report: &OwnedFd) -> ! {
    let failure = prepare(spec, application, slave).map_or_else(|failure| failure, |env| exec(&env));
    failure.tell(report.as_raw_fd());
    unsafe { ffi::_exit(127) }
}

/// Everything but the program. Returns its environment.
fn prepare(spec: &StartSpec, application: &OwnedFd, slave: &OwnedFd) -> Result<Vec<CString>, Failure> {
    // The application sees this process, which is a copy of the agent until it becomes the program: it must not look inside.
    sys::check(unsafe { ffi::prctl(PR_SET_DUMPABLE, 0usize, 0usize, 0usize, 0usize) }).or_failure("close the process")?;
    fs::write("/proc/self/oom_score_adj", "0").or_failure("reset the OOM score")?;
    join(application, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP).or_failure("join the application")?;
    pty::enter(slave.as_raw_fd()).or_failure("take the terminal")?;
    set_current_dir(&spec.cwd).or_else(|_| set_current_dir("/")).or_failure("enter the working folder")?;
    let root = user_of("")?;
    become_user(&root, spec.capabilities)?;
    let mut env = environment(&spec.env, &root);
    env.retain(|(name, _)| VARIABLES.iter().all(|(ours, _)| ours != name));
    env.extend(VARIABLES.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    env.iter().map(|(name, value)| sys::c_text(format!("{}={}", name, value))).collect::<io::Result<_>>().or_failure("env")
}

/// Comes back only with what went wrong.
fn exec(env: &[CString]) -> Failure {
    let texts = |argv: &[&str]| argv.iter().map(sys::c_text).collect::<io::Result<Vec<CString>>>();
    let mut failure = Failure::new("no-shell", "the image has neither /bin/bash nor /bin/sh");
    for (program, argv) in SHELLS {
        let error = match (sys::c_text(program), texts(argv)) {
            (Ok(path), Ok(argv)) => sys::exec(&path, &argv, env),
            (Err(error), _) | (_, Err(error)) => error,
        };
        // Not here (ENOENT, ENOTDIR): the next one. Anything else is worth telling.
        if !matches!(error.raw_os_error(), Some(2) | Some(20)) {
            failure = Failure::from_io(&format!("run {}", program), &error);
        }
    }
    failure
}
