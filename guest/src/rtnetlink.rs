//! Links, addresses and routes of the network namespace that the caller is in (man 7 rtnetlink).

use crate::failure::{Failure, OrFailure};
use crate::netlink::{attribute, Netlink};
use crate::sys::{self, ffi};
use std::io;
use std::net::Ipv4Addr;

/// The host's end of every microVM's link, and the guest's: the same everywhere, since each link has two ends alone.
pub const HOST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x4c, 0x55, 0x01];
pub const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x4c, 0x55, 0x4c];

const NETLINK_ROUTE: i32 = 0;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const NLM_F_REPLACE: u16 = 0x100;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFLA_ADDRESS: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
/// The gateway is on this link, whatever the routes say.
const RTNH_F_ONLINK: u32 = 4;

pub struct RouteNetlink {
    netlink: Netlink,
}

impl RouteNetlink {
    pub fn open() -> Result<RouteNetlink, Failure> {
        Netlink::open(NETLINK_ROUTE).map(|netlink| RouteNetlink { netlink }).or_failure("open rtnetlink")
    }

    /// Makes a link. @param attributes of its kind
    pub fn make_link(&self, attributes: &[u8]) -> io::Result<()> {
        self.netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &[&link(0, 0, 0), attributes].concat())
    }

    pub fn set_up(&self, index: u32) -> io::Result<()> {
        self.netlink.request(RTM_NEWLINK, 0, &link(index, IFF_UP, IFF_UP))
    }

    /// Its routes go with it.
    pub fn set_down(&self, index: u32) -> io::Result<()> {
        self.netlink.request(RTM_NEWLINK, 0, &link(index, 0, IFF_UP))
    }

    pub fn set_mac(&self, index: u32, mac: &[u8; 6]) -> io::Result<()> {
        self.netlink.request(RTM_NEWLINK, 0, &[link(index, 0, 0), attribute(IFLA_ADDRESS, mac)].concat())
    }

    /// Alone on its link, or with the one at the other end, which makes a route to that.
    pub fn add_address(&self, index: u32, local: Ipv4Addr, peer: Ipv4Addr) -> io::Result<()> {
        self.netlink.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address(index, local, peer))
    }

    pub fn remove_address(&self, index: u32, local: Ipv4Addr) -> io::Result<()> {
        self.netlink.request(RTM_DELADDR, 0, &address(index, local, local))
    }

    /// To one address on a link. @returns EEXIST where there is one already
    pub fn add_link_route(&self, index: u32, to: Ipv4Addr) -> io::Result<()> {
        let attributes = [attribute(RTA_DST, &to.octets()), attribute(RTA_OIF, &index.to_ne_bytes())].concat();
        self.netlink.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &[route(32, RT_SCOPE_LINK, 0), attributes].concat())
    }

    /// Who has an address on a link, so that nobody has to ask there.
    pub fn set_neighbour(&self, index: u32, address: Ipv4Addr, mac: &[u8; 6]) -> io::Result<()> {
        // `struct ndmsg`: family, padding, index, state, flags, type.
        let head = [&[AF_INET, 0, 0, 0][..], &index.to_ne_bytes(), &NUD_PERMANENT.to_ne_bytes(), &[0, 0]].concat();
        let attributes = [attribute(NDA_DST, &address.octets()), attribute(NDA_LLADDR, mac)].concat();
        self.netlink.request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &[head, attributes].concat())
    }

    /// To everywhere.
    pub fn add_default_route(&self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        let attributes = [attribute(RTA_GATEWAY, &gateway.octets()), attribute(RTA_OIF, &index.to_ne_bytes())].concat();
        self.netlink.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &[route(0, RT_SCOPE_UNIVERSE, RTNH_F_ONLINK), attributes].concat())
    }
}

/// The number of a link; nothing where there is none of that name.
pub fn index_of(name: &str) -> io::Result<Option<u32>> {
    let index = unsafe { ffi::if_nametoindex(sys::c_text(name)?.as_ptr()) };
    Ok(Some(index).filter(|index| *index != 0))
}

/// `struct ifinfomsg`: family, type, index, flags and which of them change.
pub fn link(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()].concat()
}

/// `struct ifaddrmsg` (family, length of the prefix, flags, scope, index) and both addresses.
fn address(index: u32, local: Ipv4Addr, peer: Ipv4Addr) -> Vec<u8> {
    // One that is only for its link is not taken for connections that lead further.
    let scope = if local == peer { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let head = [&[AF_INET, 32, 0, scope][..], &index.to_ne_bytes()].concat();
    [head, attribute(IFA_LOCAL, &local.octets()), attribute(IFA_ADDRESS, &peer.octets())].concat()
}

/// `struct rtmsg`: family, lengths of both prefixes, TOS, table, protocol, scope, type, flags.
fn route(prefix: u8, scope: u8, flags: u32) -> Vec<u8> {
    [&[AF_INET, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST][..], &flags.to_ne_bytes()].concat()
}
