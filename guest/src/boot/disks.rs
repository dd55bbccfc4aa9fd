//! The image's disk and the scratch disk, found by the serials that the VMM gives them.

use super::mounts::{mount, Mount, MS_NOATIME, MS_NODEV, MS_NOSUID, MS_RDONLY};
use super::{place, wait_for};
use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::io::AsRawFd;
use std::path::Path;

const ROOT_SERIAL: &str = "lull-root";
const SCRATCH_SERIAL: &str = "lull-scratch";

/// Mounts both and makes the folders of the overlay.
pub fn mount_all() -> Result<(), Failure> {
    let root = wait_for("the disk lull-root", || Ok(find(ROOT_SERIAL)))?;
    mount(&Mount { source: &root, target: place::IMAGE, kind: "erofs", flags: MS_RDONLY | MS_NODEV, data: "" })?;
    let scratch = wait_for("the disk lull-scratch", || Ok(find(SCRATCH_SERIAL)))?;
    let flags = MS_NOATIME | MS_NODEV | MS_NOSUID;
    mount(&Mount { source: &scratch, target: place::SCRATCH, kind: "ext4", flags, data: "noinit_itable,discard" })?;
    make_overlay_folders()
}

/// The upper folder shows as the application's `/`: it gets the owner and mode that the image's has.
fn make_overlay_folders() -> Result<(), Failure> {
    let scratch = Path::new(place::SCRATCH);
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    if upper.exists() {
        return Ok(());
    }
    let image = fs::metadata(place::IMAGE).or_failure("look at the image")?;
    fs::create_dir_all(&work).or_failure("create the overlay's folders")?;
    fs::create_dir_all(&upper).or_failure("create the overlay's folders")?;
    own(&upper, image.uid(), image.gid()).or_failure("own the overlay's folder")?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(image.mode() & 0o7777)).or_failure("own the overlay's folder")
}

/// The device of the disk with this serial, where both are there.
fn find(serial: &str) -> Option<String> {
    for entry in fs::read_dir("/sys/block").ok()?.flatten() {
        let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        let device = format!("/dev/{}", entry.file_name().to_string_lossy());
        if found.trim_end_matches(['\n', '\0'].as_ref()) == serial && Path::new(&device).exists() {
            return Some(device);
        }
    }
    None
}

fn own(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    let folder = fs::File::open(path)?;
    sys::check(unsafe { ffi::fchown(folder.as_raw_fd(), uid, gid) }).map(drop)
}
