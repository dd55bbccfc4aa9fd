//! Capabilities (man 7 capabilities). The default set is AWS's, `a80425fb`, which is Docker's.

use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use crate::system::Capabilities;

/// chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod,
/// audit_write, setfcap.
const DEFAULT_SET: u64 = 0xa804_25fb;
const VERSION_3: u32 = 0x2008_0522;
#[cfg(target_arch = "x86_64")]
const CAPSET: std::os::raw::c_long = 126;
#[cfg(target_arch = "aarch64")]
const CAPSET: std::os::raw::c_long = 91;

/// Takes everything else out of the bounding set, for ever.
pub fn bound(capabilities: Capabilities) -> Result<(), Failure> {
    if capabilities == Capabilities::All {
        return Ok(());
    }
    sys::bound_capabilities(DEFAULT_SET).or_failure("limit the capabilities")
}

/// For uid 0, after the ids are set: what the process holds is what the bounding set allows. Another uid holds nothing by then.
pub fn hold(capabilities: Capabilities) -> Result<(), Failure> {
    if capabilities == Capabilities::All {
        return Ok(());
    }
    let header = [VERSION_3, 0];
    let (low, high) = (DEFAULT_SET as u32, (DEFAULT_SET >> 32) as u32);
    // Effective, permitted, inheritable; the lower 32 bits first.
    let data = [low, low, 0, high, high, 0];
    let result = unsafe { ffi::syscall(CAPSET, header.as_ptr(), data.as_ptr()) };
    sys::check_long(result).map(drop).or_failure("set the capabilities")
}
