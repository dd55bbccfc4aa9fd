//! The wall clock.

use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi, CLOCK_REALTIME};

pub fn set_realtime_ns(realtime_ns: u64) -> Result<(), Failure> {
    let time = ffi::Timespec { seconds: (realtime_ns / 1_000_000_000) as i64, nanoseconds: (realtime_ns % 1_000_000_000) as _ };
    sys::check(unsafe { ffi::clock_settime(CLOCK_REALTIME, &time) }).map(drop).or_failure("set the clock")
}
