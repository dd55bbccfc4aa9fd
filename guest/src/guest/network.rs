//! The network card of a microVM: an address and a way out where the host gives it one, none where it does not, so that
//! connections fail at once instead of waiting for nobody.

use crate::failure::{Failure, OrFailure};
use crate::rtnetlink::{index_of, RouteNetlink, HOST_MAC};
use crate::system::NetworkAddress;
use std::fs;
use std::net::Ipv4Addr;

const CARD: &str = "eth0";

/// What the card was given last.
#[derive(Default)]
pub struct Network {
    address: Option<Ipv4Addr>,
}

impl Network {
    /// Takes what it had away and gives it what it is to have.
    pub fn set(&mut self, wanted: Option<&NetworkAddress>) -> Result<(), Failure> {
        let index = match (index_of(CARD).or_failure(CARD)?, wanted) {
            (Some(index), _) => index,
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(Failure::new("ENODEV", "there is no network card".to_string())),
        };
        let netlink = RouteNetlink::open()?;
        netlink.set_down(index).or_failure("take down the network card")?;
        if let Some(address) = self.address.take() {
            // The application may have removed it, where it has the capability.
            let _ = netlink.remove_address(index, address);
        }
        let wanted = match wanted {
            None => return Ok(()),
            Some(wanted) => wanted,
        };
        // The network has IPv4 alone; a kernel without IPv6 has no such file.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", CARD), "1");
        netlink.add_address(index, wanted.address, wanted.address).or_failure("give the network card its address")?;
        self.address = Some(wanted.address);
        netlink.set_up(index).or_failure("bring up the network card")?;
        netlink.set_neighbour(index, wanted.gateway, &HOST_MAC).or_failure("say where the gateway is")?;
    netlink.add_default_route(index, wanted.gateway).or_failure("add the default route")
    }
}
