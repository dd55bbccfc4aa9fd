//! mount(2).

use crate::failure::Failure;
use crate::sys::{self, ffi};

pub const MS_RDONLY: u64 = 1;
pub const MS_NOSUID: u64 = 2;
pub const MS_NODEV: u64 = 4;
pub const MS_NOEXEC: u64 = 8;
pub const MS_REMOUNT: u64 = 32;
pub const MS_NOATIME: u64 = 1024;
pub const MS_BIND: u64 = 4096;
pub const MS_MOVE: u64 = 8192;
pub const MS_REC: u64 = 16384;
pub const MS_PRIVATE: u64 = 1 << 18;

/// The arguments of mount(2); an empty text is none.
pub struct Mount<'a> {
    pub source: &'a str,
    pub target: &'a str,
    pub kind: &'a str,
    pub flags: u64,
    pub data: &'a str,
}

pub fn mount(mount: &Mount) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::from_io(&format!("mount {} on {}", mount.source, mount.target), &error);
    let text = |text: &str| sys::c_text(text).map_err(failed);
    let (source, target, kind, data) = (text(mount.source)?, text(mount.target)?, text(mount.kind)?, text(mount.data)?);
    let kind_pointer = if mount.kind.is_empty() { std::ptr::null() } else { kind.as_ptr() };
    let data_pointer = if mount.data.is_empty() { std::ptr::null() } else { data.as_ptr().cast() };
    let result = unsafe { ffi::mount(source.as_ptr(), target.as_ptr(), kind_pointer, mount.flags as _, data_pointer) };
    sys::check(result).map(drop).map_err(failed)
}
