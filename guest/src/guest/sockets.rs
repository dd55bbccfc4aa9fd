//! Ending the TCP connections that a restored machine believes in and nobody else does (man 7 sock_diag, SOCK_DESTROY).

use crate::failure::{Failure, OrFailure};
use crate::netlink::{error_of, messages, Netlink, NLMSG_DONE, NLMSG_ERROR, NLM_F_REQUEST};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NETLINK_SOCK_DIAG: i32 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLM_F_DUMP: u16 = 0x300;
const ENOENT: i32 = 2;
/// All states (net/tcp_states.h) but TIME_WAIT, CLOSE and LISTEN, which have no other end.
const CONNECTED_STATES: u32 = 0x1ffe & !(1 << 6 | 1 << 7 | 1 << 10);
/// `struct inet_diag_sockid`, which begins 4 bytes into an answer and 8 into a request.
const ID_BYTES: usize = 48;
const ANSWER_ID_OFFSET: usize = 4;
const REQUEST_BYTES: usize = 8 + ID_BYTES;
/// Room for one batch of answers, more than the kernel fills at once.
const BATCH_BYTES: usize = 64 * 1024;

type SocketId = [u8; ID_BYTES];

/// Ends every TCP connection of which an end is not a loopback address: its owner gets ECONNABORTED at once.
pub fn destroy_remote() -> Result<(), Failure> {
    let netlink = Netlink::open(NETLINK_SOCK_DIAG).or_failure("open sock_diag")?;
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

/// `struct inet_diag_req_v2`.
fn request(family: u8, id: &SocketId) -> Vec<u8> {
    let mut body = Vec::with_capacity(REQUEST_BYTES);
    body.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    body.extend_from_slice(&CONNECTED_STATES.to_ne_bytes());
    body.extend_from_slice(id);
    body
}

fn connections(netlink: &Netlink, family: u8) -> io::Result<Vec<SocketId>> {
    netlink.send(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &request(family, &[0; ID_BYTES]))?;
    let mut ids = Vec::new();
    let mut buffer = vec![0; BATCH_BYTES];
    loop {
        for (kind, payload) in messages(netlink.receive(&mut buffer)?) {
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

fn destroy(netlink: &Netlink, family: u8, id: &SocketId) -> io::Result<()> {
    match netlink.request(SOCK_DESTROY, 0, &request(family, id)) {
        // Gone by itself in the meantime: as good.
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(()),
        result => result,
    }
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
}
