//! Ending the TCP connections that a restored machine believes in and nobody else does (man 7 sock_diag, SOCK_DESTROY).

use crate::failure::{Failure, OrFailure};
use crate::sys::{self, ffi};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::io::{AsRawFd, OwnedFd};

const AF_NETLINK: i32 = 16;
const SOCK_RAW: i32 = 3;
const NETLINK_SOCK_DIAG: i32 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const ENOENT: i32 = 2;
/// All states (net/tcp_states.h) but TIME_WAIT, CLOSE and LISTEN, which have no other end.
const CONNECTED_STATES: u32 = 0x1ffe & !(1 << 6 | 1 << 7 | 1 << 10);
/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_sockid`, which begins 4 bytes into an answer and 8 into a request.
const ID_BYTES: usize = 48;
const ANSWER_ID_OFFSET: usize = 4;
const REQUEST_BYTES: usize = 8 + ID_BYTES;
/// Room for one batch of answers, more than the kernel fills at once.
const BATCH_BYTES: usize = 64 * 1024;

type SocketId = [u8; ID_BYTES];

/// Ends every TCP connection of which an end is not a loopback address: its owner gets ECONNABORTED at once.
pub fn destroy_remote() -> Result<(), Failure> {
    let netlink = sys::own(unsafe { ffi::socket(AF_NETLINK, SOCK_RAW | sys::O_CLOEXEC, NETLINK_SOCK_DIAG) }).or_failure("open sock_diag")?;
    for family in [AF_INET, AF_INET6] {
        let ids = connections(&netlink, family).or_failure("list connections")?;
        for id in ids.iter().filter(|id| is_remote(family, id)) {
            destroy(&netlink, family, id).or_failure("end a connection")?;
        }
    }
    Ok(())
}

fn is_remote(family: u8, id: &SocketId) -> bool {
    // Ports (2 + 2 bytes), then the two addresses of 16 bytes.
    let address = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&id[at..at + 16]);
        if family == AF_INET {
            IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
        } else {
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
    };
    let is_loopback = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => match address.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, ..] => first == 127,
            _ => address.is_loopback(),
        },
    };
    !(is_loopback(address(4)) && is_loopback(address(20)))
}

fn request(kind: u16, flags: u16, family: u8, states: u32, id: &SocketId) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    message.extend_from_slice(&((HEADER_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    message.extend_from_slice(&states.to_ne_bytes());
    message.extend_from_slice(id);
    message
}

fn connections(netlink: &OwnedFd, family: u8) -> io::Result<Vec<SocketId>> {
    let dump = request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, CONNECTED_STATES, &[0; ID_BYTES]);
    sys::write(netlink.as_raw_fd(), &dump)?;
    let mut ids = Vec::new();
    let mut batch = vec![0; BATCH_BYTES];
    loop {
        let count = sys::read(netlink.as_raw_fd(), &mut batch)?;
        for (kind, payload) in messages(&batch[..count]) {
            match kind {
                NLMSG_DONE => return Ok(ids),
                NLMSG_ERROR => return Err(error_of(payload)),
                _ if payload.len() >= ANSWER_ID_OFFSET + ID_BYTES => {
                    let mut id = [0; ID_BYTES];
                    id.copy_from_slice(&payload[ANSWER_ID_OFFSET..ANSWER_ID_OFFSET + ID_BYTES]);
                    ids.push(id);
                }
                _ => {}
            }
        }
    }
}

fn destroy(netlink: &OwnedFd, family: u8, id: &SocketId) -> io::Result<()> {
    sys::write(netlink.as_raw_fd(), &request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, family, CONNECTED_STATES, id))?;
    let mut answer = [0; 1024];
    let count = sys::read(netlink.as_raw_fd(), &mut answer)?;
    let first = messages(&answer[..count]).next();
    match first {
        Some((NLMSG_ERROR, payload)) => match error_of(payload) {
            // Answered with 0: done. Gone by itself in the meantime: as good.
            error if matches!(error.raw_os_error(), Some(0) | Some(ENOENT)) => Ok(()),
            error => Err(error),
        },
        _ => Err(io::Error::from_raw_os_error(22)),
    }
}

fn error_of(payload: &[u8]) -> io::Error {
    let negative = payload.get(..4).map_or(-22, |bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    io::Error::from_raw_os_error(-negative)
}

/// Type and payload of each message of a batch.
fn messages(batch: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
    fn which_ends_are_remote() {
        let id = |source: [u8; 4], destination: [u8; 4]| {
            let mut id = [0; ID_BYTES];
            id[4..8].copy_from_slice(&source);
            id[20..24].copy_from_slice(&destination);
            id
        };
        assert!(!is_remote(AF_INET, &id([127, 0, 0, 1], [127, 0, 0, 2])));
        assert!(is_remote(AF_INET, &id([10, 0, 2, 15], [1, 1, 1, 1])));
        assert!(is_remote(AF_INET, &id([127, 0, 0, 1], [1, 1, 1, 1])));
        let mut six = [0; ID_BYTES];
        six[19] = 1;
        six[35] = 1;
        assert!(!is_remote(AF_INET6, &six));
        six[20] = 0xfd;
        assert!(is_remote(AF_INET6, &six));
        let mut mapped = [0; ID_BYTES];
        for at in [4, 20] {
            mapped[at + 10..at + 16].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        }
        assert!(!is_remote(AF_INET6, &mapped));
    }

    #[test]
    fn batches_cut_short_end() {
        let whole = request(SOCK_DIAG_BY_FAMILY, 0, AF_INET, 0, &[0; ID_BYTES]);
        let twice = [whole.clone(), whole].concat();
        for length in 0..=twice.len() {
            assert_eq!(messages(&twice[..length]).count(), length / (HEADER_BYTES + REQUEST_BYTES));
        }
        assert_eq!(messages(&[0; 64]).take(10).count(), 0);
    }
}
