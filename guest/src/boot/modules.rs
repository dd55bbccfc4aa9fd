//! Kernel modules out of the initramfs: `/lull/modules.order` names them in the order in which they load.

use crate::boot::console;
use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use std::fs;
use std::os::unix::io::AsRawFd;
use std::path::{Component, Path};

const ORDER: &str = "/lull/modules.order";
const FOLDER: &str = "/lull/modules";
/// What a machine can do without: the way to the host's services, and `/dev/fuse`.
const OPTIONAL: [&str; 2] = ["veth", "fuse"];
const EEXIST: i32 = 17;
#[cfg(target_arch = "x86_64")]
const FINIT_MODULE: std::os::raw::c_long = 313;
#[cfg(target_arch = "aarch64")]
const FINIT_MODULE: std::os::raw::c_long = 273;

/// Loads all of them, with a line on the console for one that is optional and fails. No list: the kernel has everything built in.
pub fn load_all() -> Result<(), Failure> {
    let order = match fs::read_to_string(ORDER) {
        Ok(order) => order,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::from_io(ORDER, &error)),
    };
    load_each(&names(&order)?, |name| load(&Path::new(FOLDER).join(name)))
}

fn load_each(names: &[&str], load: impl Fn(&str) -> std::io::Result<()>) -> Result<(), Failure> {
    for name in names {
        match load(name).or_failure(&format!("load the kernel module {}", name)) {
            Err(failure) if is_optional(name) => console::say(&format!("{} ({})", failure.message, failure.code)),
            result => result?,
        }
    }
    Ok(())
}

fn is_optional(name: &str) -> bool {
    let file = Path::new(name).file_name().and_then(|file| file.to_str()).unwrap_or_default();
    OPTIONAL.contains(&file.split('.').next().unwrap_or_default())
}

/// One path a line, relative and without `..`; empty lines and those that begin with `#` say nothing.
fn names(order: &str) -> Result<Vec<&str>, Failure> {
    let lines = order.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names: Vec<&str> = lines.collect();
    match names.iter().find(|name| !Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))) {
        Some(name) => Err(Failure::new("EINVAL", format!("{} in {} is no relative path", name, ORDER))),
        None => Ok(names),
    }
}

fn load(path: &Path) -> std::io::Result<()> {
    let file = fs::File::open(path)?;
    let result = unsafe { ffi::syscall(FINIT_MODULE, file.as_raw_fd() as usize, b"\0".as_ptr(), 0usize) };
    match sys::check_long(result) {
        Err(error) if error.raw_os_error() == Some(EEXIST) => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::{load_each, names};
    use std::cell::RefCell;
    use std::io;

    #[test]
    fn what_is_optional_may_fail_and_nothing_else() {
        let tried = RefCell::new(Vec::new());
        let fail = |name: &str| {
            tried.borrow_mut().push(name.to_string());
            Err(io::Error::from_raw_os_error(2))
        };
        assert!(load_each(&["kernel/net/veth.ko.xz", "fuse.ko"], fail).is_ok());
        assert_eq!(load_each(&["net/overlay.ko", "virtio.ko"], fail).unwrap_err().code, "ENOENT");
        assert_eq!(*tried.borrow(), ["kernel/net/veth.ko.xz", "fuse.ko", "net/overlay.ko"]);
    }

    #[test]
    fn an_order() {
        assert_eq!(names("# first\nvirtio.ko\n\n kernel/net/x.ko \n").unwrap(), ["virtio.ko", "kernel/net/x.ko"]);
        assert!(names("../x.ko").is_err());
        assert!(names("/x.ko").is_err());
    }
}
