//! Requests to the kernel by netlink (man 7 netlink), acknowledged one by one.

use crate::sys::{self, ffi};
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd};

pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
const AF_NETLINK: i32 = 16;
const SOCK_RAW: i32 = 3;
/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// An acknowledgement repeats its request.
const ACK_BYTES: usize = 4096;

/// A socket to one subsystem of the kernel, in the network namespace of whoever opened it.
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// @param protocol `NETLINK_…`
    pub fn open(protocol: i32) -> io::Result<Netlink> {
        sys::own(unsafe { ffi::socket(AF_NETLINK, SOCK_RAW | sys::O_CLOEXEC, protocol) }).map(|socket| Netlink { socket })
    }

    pub fn send(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        sys::write(self.socket.as_raw_fd(), &message(kind, flags, body)).map(drop)
    }

    /// One batch of answers, for [`messages`].
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let count = sys::read(self.socket.as_raw_fd(), buffer)?;
        Ok(&buffer[..count])
    }

    /// Asks for something to be done and waits until it is.
    pub fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.send(kind, flags | NLM_F_REQUEST | NLM_F_ACK, body)?;
        let mut buffer = [0; ACK_BYTES];
        let first = messages(self.receive(&mut buffer)?).next();
        match first {
            Some((NLMSG_ERROR, payload)) => match error_of(payload) {
                error if error.raw_os_error() == Some(0) => Ok(()),
                error => Err(error),
            },
            _ => Err(io::Error::from_raw_os_error(22)),
        }
    }
}

/// A whole message.
pub fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend_from_slice(&((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

/// An attribute, padded to four bytes (man 7 rtnetlink).
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let padding = value.len().wrapping_neg() & 3;
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value, &[0; 3][..padding]].concat()
}

/// The errno of an acknowledgement; 0 is success.
pub fn error_of(payload: &[u8]) -> io::Error {
    let negative = payload.get(..4).map_or(-22, |bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    io::Error::from_raw_os_error(-negative)
}

/// Type and payload of each message of a batch.
pub fn messages(batch: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER_BYTES)?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let payload = rest.get(HEADER_BYTES..length)?;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        rest = rest.get((length + 3) & !3..).unwrap_or_default();
        Some((kind, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cut_short_end() {
        let whole = message(20, 0, &[0; 56]);
        let twice = [whole.clone(), whole.clone()].concat();
        for length in 0..=twice.len() {
            assert_eq!(messages(&twice[..length]).count(), length / whole.len());
        }
        assert_eq!(messages(&[0; 64]).take(10).count(), 0);
    }

    #[test]
    fn attributes_are_padded() {
        assert_eq!(attribute(3, b"lo\0"), [&7u16.to_ne_bytes()[..], &3u16.to_ne_bytes(), b"lo\0\0"].concat());
        assert_eq!(attribute(1, &[1, 2, 3, 4]).len(), 8);
    }
}
