//! The last resort to say something: the kernel's console.

use crate::failure::Failure;
use crate::sys::{self, ffi};
use std::io::Write;
use std::os::unix::io::AsRawFd;

const RB_AUTOBOOT: i32 = 0x0123_4567;

/// Gives the process the console as its standard streams (the kernel's first root may have had none).
pub fn attach() {
    if let Ok(console) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/console") {
        for fd in 0..3 {
            unsafe { ffi::dup2(console.as_raw_fd(), fd) };
        }
    }
}

/// One line on the console.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "lull-agent: {}", line);
}

/// Says why and ends the machine: VMMs are told to leave when a guest reboots.
pub fn give_up(failure: &Failure) -> ! {
    say(&format!("{} ({})", failure.message, failure.code));
    unsafe {
        ffi::sync();
        ffi::reboot(RB_AUTOBOOT);
    }
    // Not PID 1, or not root: then it is a process like any other.
    std::process::exit(1)
}

/// A line for a panic, which then aborts; the kernel ends the machine when PID 1 dies.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = format!("lull-agent: {}\n", info);
        let _ = sys::write(2, message.as_bytes());
    }));
}
