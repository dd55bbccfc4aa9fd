//! Making the scratch disk and the page cache as small as they can be, and everything durable.

use crate::boot::place;
use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use std::fs::{self, File};
use std::os::unix::io::AsRawFd;

/// `FITRIM` of linux/fs.h.
const FITRIM: u64 = 0xc018_5879;

#[repr(C)]
struct TrimRange {
    start: u64,
    length: u64,
    minimum: u64,
}

/// Writes dirty data, drops clean caches and, where asked, trims and writes what that changed. Returns the bytes trimmed.
/// Trimming once is enough: afterwards the file system discards by itself what it frees.
pub fn quiesce(trim: bool) -> Result<u64, Failure> {
    let scratch = File::open(place::SCRATCH).or_failure("open the scratch disk")?;
    sync(&scratch)?;
    fs::write("/proc/sys/vm/drop_caches", "3").or_failure("drop caches")?;
    if !trim {
        return Ok(0);
    }
    let mut range = TrimRange { start: 0, length: u64::MAX, minimum: 0 };
    unsafe { sys::ioctl_with(&scratch, FITRIM, &mut range) }.or_failure("trim the scratch disk")?;
    sync(&scratch)?;
    Ok(range.length)
}

fn sync(scratch: &File) -> Result<(), Failure> {
    sys::check(unsafe { ffi::syncfs(scratch.as_raw_fd()) }).map(drop).or_failure("write the scratch disk")
}
