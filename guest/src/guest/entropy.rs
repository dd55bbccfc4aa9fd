//! The kernel's random pool (man 4 random): two restored copies of one snapshot must not draw the same numbers.

use crate::failure::{Failure, OrFailure};
use crate::sys;
use std::os::unix::io::AsRawFd;

const RNDADDENTROPY: u64 = 0x4008_5203;
const RNDRESEEDCRNG: u64 = 0x5207;
/// `restore.entropy` of a HELLO.
const BYTES: usize = 64;

/// `struct rand_pool_info`.
#[repr(C)]
struct PoolInfo {
    entropy_bits: i32,
    size_bytes: i32,
    bytes: [u8; BYTES],
}

/// Adds these bytes with full credit and has the generator reseed itself at once.
pub fn add(entropy: &[u8]) -> Result<(), Failure> {
    let mut info = PoolInfo { entropy_bits: BYTES as i32 * 8, size_bytes: BYTES as i32, bytes: [0; BYTES] };
    if entropy.len() != BYTES {
        return Err(Failure::new("EINVAL", "entropy is not 64 bytes"));
    }
    info.bytes.copy_from_slice(entropy);
    let pool = std::fs::OpenOptions::new().write(true).open("/dev/urandom").or_failure("open the random pool")?;
    unsafe { sys::ioctl_with(&pool, RNDADDENTROPY, &mut info) }.or_failure("add entropy")?;
    sys::check(unsafe { sys::ffi::ioctl(pool.as_raw_fd(), RNDRESEEDCRNG as _) }).map(drop).or_failure("reseed")
}
