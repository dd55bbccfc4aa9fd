//! The virtio-serial port `lull.agent` (drivers/char/virtio_console.c): opened by one process at a time, read gives 0 and
//! poll "hung up" while the host's end is closed, a write that finds no room or no host gives EAGAIN.

use crate::event_loop::EventLoop;
use crate::failure::{Failure, OrFailure};
use crate::sys;
use crate::transport::{Moved, Transport};
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::io::AsRawFd;
use std::path::PathBuf;

/// The name that the VMM gives the port.
pub const PORT_NAME: &str = "lull.agent";

pub struct SerialPort {
    port: fs::File,
}

impl SerialPort {
    /// Opens the port, where it is there yet.
    pub fn find() -> Result<Option<SerialPort>, Failure> {
        let folder = match fs::read_dir("/sys/class/virtio-ports") {
            Ok(folder) => folder,
            Err(_) => return Ok(None),
        };
        for entry in folder.flatten() {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim_end() != PORT_NAME {
                continue;
            }
            let device = PathBuf::from("/dev").join(entry.file_name());
            if !device.exists() {
                return Ok(None);
            }
            let port = fs::OpenOptions::new().read(true).write(true).custom_flags(sys::O_NONBLOCK | sys::O_NOCTTY).open(&device);
            return port.or_failure("open the serial port").map(|port| Some(SerialPort { port }));
        }
        Ok(None)
    }
}

impl SerialPort {
    fn is_host_there(&self) -> bool {
        !matches!(sys::poll_one(self.port.as_raw_fd(), 0, 0), Ok(Some(events)) if events & sys::POLLHUP != 0)
    }
}

impl Transport for SerialPort {
    fn watch(&mut self, events: &EventLoop, token: u64) -> io::Result<()> {
        events.watch(self.port.as_raw_fd(), token)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Moved {
        // A host's bytes may be here before the news that it opened its end: taken now, the answer to them would find no host,
        // and they would be lost with the session that is over. They stay in the kernel until the news wakes the loop.
        if !self.is_host_there() {
            return Moved::Away;
        }
        match sys::read(self.port.as_raw_fd(), buffer) {
            Ok(0) => Moved::Away,
            Ok(count) => Moved::Bytes(count),
            Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => Moved::Blocked,
            Err(_) => Moved::Away,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Moved {
        match sys::write(self.port.as_raw_fd(), bytes) {
            Ok(count) => Moved::Bytes(count),
            // No room and no host look alike to a write; poll tells them apart.
            Err(_) if self.is_host_there() => Moved::Blocked,
            Err(_) => Moved::Away,
        }
    }

    fn hang_up(&mut self) {
        // The guest's end stays open: the host closes its own after a FAULT.
    }
}
