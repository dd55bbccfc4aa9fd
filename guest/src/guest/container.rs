//! Starting the application: a child with namespaces, cgroup, tree, identity and limits of its own, as the OCI image says.

use super::cgroup::Cgroup;
use super::oci_user::{self, Identity};
use super::{capabilities, rootfs};
use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use crate::system::{Capabilities, StartSpec, Started};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::io::{AsRawFd, OwnedFd};

const CLONE_NEWNS: u64 = 0x0002_0000;
const CLONE_NEWCGROUP: i32 = 0x0200_0000;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
#[cfg(target_arch = "x86_64")]
const CLONE: std::os::raw::c_long = 56;
#[cfg(target_arch = "aarch64")]
const CLONE: std::os::raw::c_long = 220;
/// How long the child may take from birth to exec.
const START_LIMIT_MS: u64 = 60_000;
/// AWS's limit, soft and hard.
const OPEN_FILES: u64 = 1024;
/// The most of a passwd or group file that is read.
const DATABASE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// The most that the child says about its failure.
const REPORT_LIMIT_BYTES: usize = 4096;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_HOSTNAME: &str = "localhost";

/// The child's ends of what connects it to the agent.
struct ChildEnds {
    stdout: OwnedFd,
    stderr: OwnedFd,
    report: OwnedFd,
}

/// Starts the application and returns once its program runs.
pub fn start(spec: &StartSpec, cgroup: &Cgroup) -> Result<Started, Failure> {
    if spec.capabilities == Capabilities::All {
        cgroup.delegate()?;
    }
    let (stdout, child_stdout) = sys::pipe().or_failure("make a pipe")?;
    let (stderr, child_stderr) = sys::pipe().or_failure("make a pipe")?;
    let (report, child_report) = sys::pipe().or_failure("make a pipe")?;
    let ends = ChildEnds { stdout: child_stdout, stderr: child_stderr, report: child_report };
    let flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | sys::SIGCHLD as u64;
    let result = unsafe { ffi::syscall(CLONE, flags as usize, 0usize, 0usize, 0usize, 0usize) };
    let pid = sys::check_long(result).or_failure("make the application's process")? as i32;
    if pid == 0 {
        become_application(spec, cgroup, ends);
    }
    drop(ends);
    match read_report(report) {
        None => Ok(Started { pid, stdout, stderr }),
        Some(failure) => {
            unsafe { ffi::kill(pid, 9) };
            Err(failure)
        }
    }
}

/// The end of the pipe without a word is the exec that closed it.
fn read_report(report: OwnedFd) -> Option<Failure> {
    let limit_ms = sys::monotonic_ms() + START_LIMIT_MS;
    let mut text = vec![0; REPORT_LIMIT_BYTES];
    let mut length = 0;
    loop {
        let left_ms = limit_ms.saturating_sub(sys::monotonic_ms());
        if left_ms == 0 {
            return Some(Failure::new("ETIMEDOUT", "the application's process did not get ready in time"));
        }
        if !matches!(sys::poll_one(report.as_raw_fd(), sys::POLLIN, left_ms as i32), Ok(Some(_))) {
            continue;
        }
        match sys::read(report.as_raw_fd(), &mut text[length..]) {
            Ok(count) if count > 0 => length += count,
            _ => break,
        }
    }
    Failure::told(&text[..length])
}

/// In the child: never returns.
fn become_application(spec: &StartSpec, cgroup: &Cgroup, ends: ChildEnds) -> ! {
    let report = ends.report.as_raw_fd();
    let failure = match prepare(spec, cgroup, &ends) {
        Err(failure) => failure,
        Ok(never) => match never {},
    };
    failure.tell(report);
    unsafe { ffi::_exit(127) }
}

enum Never {}

fn prepare(spec: &StartSpec, cgroup: &Cgroup, ends: &ChildEnds) -> Result<Never, Failure> {
    fs::write("/proc/self/oom_score_adj", "0").or_failure("reset the OOM score")?;
    cgroup.enter()?;
    sys::check(unsafe { ffi::unshare(CLONE_NEWCGROUP) }).or_failure("make a cgroup namespace")?;
    sys::check(unsafe { ffi::setsid() }).or_failure("setsid")?;
    let hostname = if spec.hostname.is_empty() { DEFAULT_HOSTNAME } else { &spec.hostname };
    let name = sys::c_text(hostname).or_failure("set the host name")?;
    sys::check(unsafe { ffi::sethostname(name.as_ptr(), hostname.len()) }).or_failure("set the host name")?;
    rootfs::enter(spec.capabilities, hostname)?;
    let identity = user_of(&spec.user)?;
    connect_output(ends, &identity).or_failure("connect the application's output")?;
    enter_working_folder(&spec.cwd)?;
    become_user(&identity, spec.capabilities)?;
    // Every descriptor but the three standard ones is closed by exec, the report's among them.
    Err(exec(spec, &identity)?)
}

/// In a child that is in the application's tree: who `user` of an OCI image is.
pub fn user_of(user: &str) -> Result<Identity, Failure> {
    oci_user::resolve(user, &database("/etc/passwd"), &database("/etc/group"))
}

/// Last before the program: the limits, rights and signals that it runs with.
pub fn become_user(identity: &Identity, capabilities: Capabilities) -> Result<(), Failure> {
    sys::limit_open_files(OPEN_FILES).or_failure("limit open files")?;
    unsafe { ffi::umask(0o022) };
    capabilities::bound(capabilities)?;
    take_identity(identity)?;
    if identity.uid == 0 {
        capabilities::hold(capabilities)?;
    }
    sys::reset_signals();
    Ok(())
}

/// The image's variables, and those that every program has.
pub fn environment(env: &[(String, String)], identity: &Identity) -> Vec<(String, String)> {
    let mut env = env.to_vec();
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOME", identity.home.as_deref().unwrap_or("/"))] {
        if !env.iter().any(|(found, _)| found == name) {
            env.push((name.to_string(), value.to_string()));
        }
    }
    env
}

/// A passwd or group file of the image; empty where it is none.
fn database(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if fs::metadata(path).map_or(false, |found| found.is_file()) {
        if let Ok(file) = File::open(path) {
            let _ = file.take(DATABASE_LIMIT_BYTES).read_to_end(&mut bytes);
        }
    }
    bytes
}

/// The pipes become the user's own, so that /dev/stdout can be opened again by name.
fn connect_output(ends: &ChildEnds, identity: &Identity) -> std::io::Result<()> {
    let null = File::open("/dev/null")?;
    for (from, to) in [(null.as_raw_fd(), 0), (ends.stdout.as_raw_fd(), 1), (ends.stderr.as_raw_fd(), 2)] {
        sys::check(unsafe { ffi::dup2(from, to) })?;
        if to > 0 {
            sys::check(unsafe { ffi::fchown(to, identity.uid, identity.gid) })?;
        }
    }
    Ok(())
}

/// WORKDIR is made where the image lacks it, as runc does.
fn enter_working_folder(cwd: &str) -> Result<(), Failure> {
    let cwd = if cwd.is_empty() { "/" } else { cwd };
    if !cwd.starts_with('/') {
        return Err(Failure::new("EINVAL", "cwd is not absolute"));
    }
    fs::create_dir_all(cwd).or_failure("make the working folder")?;
    std::env::set_current_dir(cwd).or_failure("enter the working folder")
}

fn take_identity(identity: &Identity) -> Result<(), Failure> {
    unsafe {
        sys::check(ffi::setgroups(identity.groups.len(), identity.groups.as_ptr())).or_failure("set the groups")?;
        sys::check(ffi::setgid(identity.gid)).or_failure("set the group")?;
        sys::check(ffi::setuid(identity.uid)).or_failure("set the user").map(drop)
    }
}

/// Comes back only with what went wrong.
fn exec(spec: &StartSpec, identity: &Identity) -> Result<Failure, Failure> {
    let env = environment(&spec.env, identity);
    let texts = env.iter().map(|(name, value)| sys::c_text(format!("{}={}", name, value)));
    let texts = texts.collect::<std::io::Result<Vec<CString>>>().or_failure("env")?;
    let argv = spec.argv.iter().map(sys::c_text).collect::<std::io::Result<Vec<CString>>>().or_failure("argv")?;
    let program = &spec.argv[0];
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let folders: Vec<&str> = if program.contains('/') { vec![""] } else { path.split(':').collect() };
    let mut worst = std::io::Error::from_raw_os_error(2);
    for folder in folders {
        let candidate = match folder {
            "" if program.contains('/') => program.clone(),
            "" => format!("./{}", program),
            _ => format!("{}/{}", folder, program),
        };
        let error = sys::exec(&sys::c_text(candidate).or_failure("argv")?, &argv, &texts);
        // Not here (ENOENT, ENOTDIR): the next folder. Anything else is worth telling.
        if !matches!(error.raw_os_error(), Some(2) | Some(20)) {
            worst = error;
        }
    }
    Ok(Failure::from_io(&format!("run {}", program), &worst))
}
