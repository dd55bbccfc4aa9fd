//! A VMM's jail on the host: a root with nothing in it but what the VMM was given, at the paths that it has outside, and
//! namespaces of its own. Sources: man 2 mount, pivot_root, unshare; man 7 user_namespaces, capabilities.

use crate::boot::mounts::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT};
use crate::sys::{self, ffi};
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

const CLONE_NEWNS: i32 = 0x0002_0000;
const CLONE_NEWUTS: i32 = 0x0400_0000;
const CLONE_NEWIPC: i32 = 0x0800_0000;
const CLONE_NEWUSER: i32 = 0x1000_0000;
const CLONE_NEWNET: i32 = 0x4000_0000;
const PR_SET_NO_NEW_PRIVS: i32 = 38;
/// dac_override, setgid, setuid: root's VMM opens its files, and then becomes the user that it was told to be, who has none.
const KEPT_CAPABILITIES: u64 = 1 << 1 | 1 << 6 | 1 << 7;
const RLIMIT_CORE: i32 = 4;
/// Where the new root is put together: a folder that every Linux has and no VMM is given anything of.
const NEW_ROOT: &str = "/sys";
/// Flags that a mount of an outer user namespace may have and a bind of it must keep (man 7 mount_namespaces), by the bit of statvfs.
const LOCKED: [u64; 6] = [MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, 1024, 2048];
const RELATIME: (u64, u64) = (4096, 1 << 21);

/// What a jail has.
#[derive(Default)]
pub struct Jail {
    /// Files and folders to read, and to run.
    pub read_only: Vec<PathBuf>,
    /// Files, folders and devices to write, too.
    pub writable: Vec<PathBuf>,
}

/// Enters it for good. The process has one thread.
pub fn enter(jail: &Jail) -> io::Result<()> {
    let is_root = unsafe { ffi::geteuid() } == 0;
    if !is_root {
        own_user_namespace().map_err(named("a user namespace"))?;
    }
    sys::check(unsafe { ffi::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) }).map_err(named("namespaces"))?;
    mount("none", "/", "", MS_REC | MS_PRIVATE, "")?;
    let bare = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mount("tmpfs", NEW_ROOT, "tmpfs", bare, "mode=0755,size=1m")?;
    let mut given: Vec<(&Path, bool)> = jail.read_only.iter().map(|path| (path.as_path(), true)).collect();
    given.extend(jail.writable.iter().map(|path| (path.as_path(), false)));
    // The user that the VMM becomes goes through these folders, whatever the caller's mask.
    let mask = unsafe { ffi::umask(0o022) };
    // A folder before what is in it.
    given.sort_by_key(|(path, _)| path.as_os_str().len());
    for (path, is_read_only) in given {
        place(path, is_read_only).map_err(named(&path.to_string_lossy()))?;
    }
    unsafe { ffi::umask(mask) };
    mount("none", NEW_ROOT, "", MS_BIND | MS_REMOUNT | MS_RDONLY | bare, "")?;
    sys::pivot_into(NEW_ROOT).map_err(named("its root"))?;
    give_up_privileges(if is_root { KEPT_CAPABILITIES } else { 0 })
}

/// The same user, and nobody else: without root, the only way to namespaces of one's own.
fn own_user_namespace() -> io::Result<()> {
    let (uid, gid) = unsafe { (ffi::geteuid(), ffi::getegid()) };
    sys::check(unsafe { ffi::unshare(CLONE_NEWUSER) })?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", uid, uid))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", gid, gid))
}

/// Binds a path to its place in the new root.
fn place(path: &Path, is_read_only: bool) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    let target = Path::new(NEW_ROOT).join(path.strip_prefix("/").map_err(|_| io::Error::from_raw_os_error(22))?);
    if fs::symlink_metadata(&target).is_err() {
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            fs::create_dir_all(target.parent().unwrap_or(Path::new(NEW_ROOT)))?;
            fs::File::create(&target)?;
        }
    }
    let (source, target) = (path.to_string_lossy(), target.to_string_lossy());
    mount(&source, &target, "", MS_BIND, "")?;
    let mut flags = locked_flags(path)? | MS_NOSUID;
    flags |= if is_read_only { MS_RDONLY } else { MS_NOEXEC };
    if !kind.is_char_device() {
        flags |= MS_NODEV;
    }
    mount("none", &target, "", MS_BIND | MS_REMOUNT | flags, "")
}

fn locked_flags(path: &Path) -> io::Result<u64> {
    let mut found = ffi::FileSystem::default();
    sys::check(unsafe { ffi::statvfs(sys::c_path(path)?.as_ptr(), &mut found) })?;
    let relatime = if found.flags & RELATIME.0 != 0 { RELATIME.1 } else { 0 };
    Ok(LOCKED.iter().filter(|flag| found.flags & **flag != 0).fold(relatime, |all, flag| all | flag))
}

/// Nothing comes back by a program of root's or by one with capabilities; a core dump would be the guest's memory.
fn give_up_privileges(kept: u64) -> io::Result<()> {
    let none = ffi::ResourceLimit { soft: 0, hard: 0 };
    sys::check(unsafe { ffi::setrlimit(RLIMIT_CORE, &none) })?;
    sys::bound_capabilities(kept)?;
    sys::check(unsafe { ffi::prctl(PR_SET_NO_NEW_PRIVS, 1usize, 0usize, 0usize, 0usize) }).map(drop)
}

fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> io::Result<()> {
    use crate::boot::mounts::{mount, Mount};
    mount(&Mount { source, target, kind, flags, data }).map_err(|failure| io::Error::new(io::ErrorKind::Other, failure.message))
}

fn named(what: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("no jail: {}: {}", what, error))
}
