//! The addresses at which the application finds the host's services, in a network namespace of their own that a pair of virtual
//! Ethernet ends joins to the application's. They are none of the application's own addresses: it may bind any port of
//! 0.0.0.0, and cannot bind theirs. They need no network card and outlive every snapshot.

use crate::boot::console;
use crate::failure::{Failure, OrFailure};
use crate::netlink::attribute;
use crate::rtnetlink::{index_of, link, RouteNetlink};
use crate::services::Service;
use crate::sys::{self, ffi};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::io::AsRawFd;

/// What the host is asked for, and where: the metadata service where every AWS SDK looks for it (contract reference, section 8.2).
const SERVICES: [(&str, Ipv4Addr); 2] = [("metadata", Ipv4Addr::new(169, 254, 169, 254)), ("s3", Ipv4Addr::new(169, 254, 170, 2))];
const PORT: u16 = 80;
/// The application's own end.
const APPLICATION_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 1);
const APPLICATION_END: &str = "lull0";
const SERVICE_END: &str = "services";

const CLONE_NEWNET: i32 = 0x4000_0000;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// Makes namespace, ends and listeners. The namespace lives as long as the listeners do; the caller stays in its own.
/// A kernel that cannot do it has no services, and a line on the console; what fails is only the way back.
pub fn make() -> Result<Vec<Service>, Failure> {
    let made = match leave_home() {
        Ok(home) => {
            let made = make_service_side(&home);
            sys::check(unsafe { ffi::setns(home.as_raw_fd(), CLONE_NEWNET) }).or_failure("come back to the network namespace")?;
            made.and_then(with_application_side)
        }
        Err(failure) => Err(failure),
    };
    Ok(made.unwrap_or_else(|failure| {
        console::say(&format!("no services of the host: {} ({})", failure.message, failure.code));
        Vec::new()
    }))
}

/// Goes into a new namespace. Returns the one before.
fn leave_home() -> Result<File, Failure> {
    let home = File::open("/proc/self/ns/net").or_failure("open the network namespace")?;
    sys::check(unsafe { ffi::unshare(CLONE_NEWNET) }).or_failure("make a network namespace")?;
    Ok(home)
}

fn with_application_side(services: Vec<Service>) -> Result<Vec<Service>, Failure> {
    configure(APPLICATION_END, &SERVICES.map(|(_, address)| (APPLICATION_ADDRESS, address)))?;
    Ok(services)
}

fn make_service_side(home: &File) -> Result<Vec<Service>, Failure> {
    let peer = [
        link(0, 0, 0),
        attribute(IFLA_IFNAME, format!("{}\0", APPLICATION_END).as_bytes()),
        attribute(IFLA_NET_NS_FD, &home.as_raw_fd().to_ne_bytes()),
    ];
    let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer.concat()));
    let info = [attribute(IFLA_INFO_KIND, b"veth"), data].concat();
    let attributes = [attribute(IFLA_IFNAME, format!("{}\0", SERVICE_END).as_bytes()), attribute(IFLA_LINKINFO, &info)].concat();
    RouteNetlink::open()?.make_link(&attributes).or_failure("make the virtual Ethernet ends")?;
    configure(SERVICE_END, &SERVICES.map(|(_, address)| (address, APPLICATION_ADDRESS)))?;
    let listen = |(name, address): (&'static str, Ipv4Addr)| {
        let listener = TcpListener::bind((address, PORT)).or_failure(&format!("listen for {}", name))?;
        Ok(Service { name, listener })
    };
    SERVICES.iter().map(|service| listen(*service)).collect()
}

/// Gives an end its addresses, each with the one at the other end, which makes a route to that one alone; and brings it up.
fn configure(name: &str, addresses: &[(Ipv4Addr, Ipv4Addr)]) -> Result<(), Failure> {
    // Else the kernel gives it an IPv6 address and keeps announcing it.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", name), "1");
    let index = index_of(name).or_failure(name)?.ok_or_else(|| Failure::new("ENODEV", format!("{} is not there", name)))?;
    let netlink = RouteNetlink::open()?;
    for (local, peer) in addresses {
        netlink.add_address(index, *local, *peer).or_failure("give an address to a virtual Ethernet end")?;
    }
    netlink.set_up(index).or_failure("bring up a virtual Ethernet end")
}

#[cfg(test)]
mod tests {
    use super::{ffi, make};

    #[cfg(target_arch = "x86_64")]
    const SETRESUID: std::os::raw::c_long = 117;
    #[cfg(target_arch = "aarch64")]
    const SETRESUID: std::os::raw::c_long = 147;
    const NOBODY: usize = 65_534;

    #[test]
    fn where_no_namespace_can_be_made_there_are_no_services() {
        // The system call itself is for one thread alone, and takes its capabilities away.
        let made = std::thread::spawn(|| {
            unsafe { ffi::syscall(SETRESUID, NOBODY, NOBODY, NOBODY) };
            make().map(|services| services.len())
        });
        assert_eq!(made.join().unwrap().unwrap(), 0);
    }
}
