//! A tap on the host that lives as long as the VMM that holds it: name, address and route go when its descriptor is closed, so a
//! process that dies leaves nothing behind. Source: Documentation/networking/tuntap.rst of the kernel.

use crate::failure::{Failure, OrFailure};
use crate::rtnetlink::{index_of, RouteNetlink, GUEST_MAC, HOST_MAC};
use crate::sys::{self, ffi};
use std::fs::{self, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::io::IntoRawFd;

/// Where the VMM finds it.
pub const TAP_FD: i32 = 8;
const TUNSETIFF: u64 = 0x4004_54ca;
const IFF_TAP: i16 = 0x0002;
const IFF_NO_PI: i16 = 0x1000;
/// Nobody else's device of that name.
const IFF_TUN_EXCL: i16 = -0x8000;
const EEXIST: i32 = 17;
/// For this device alone: no address is answered for, and only the guest's is believed.
const SETTINGS: [(&str, &str); 6] = [
    ("ipv6/conf/{}/disable_ipv6", "1"),
    ("ipv4/conf/{}/arp_ignore", "1"),
    ("ipv4/conf/{}/rp_filter", "1"),
    ("ipv4/conf/{}/send_redirects", "0"),
    ("ipv4/conf/{}/accept_redirects", "0"),
    ("ipv4/conf/{}/forwarding", "1"),
];

pub struct Tap {
    pub name: String,
    pub guest: Ipv4Addr,
}

impl Tap {
    /// Reads `NAME,GUEST`.
    pub fn parse(text: &str) -> Option<Tap> {
        let mut words = text.split(',');
        let name = words.next().filter(|name| (1..16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))?;
        let tap = Tap { name: name.to_string(), guest: words.next()?.parse().ok()? };
        Some(tap).filter(|_| words.next().is_none())
    }
}

/// `struct ifreq` as far as the flags, and its size.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// Makes it, routed to the guest's address alone, and leaves it open at [`TAP_FD`] for the program that comes.
/// A guest's address that is routed already gives `EEXIST`.
pub fn make(tap: &Tap) -> Result<(), Failure> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").or_failure("open /dev/net/tun")?;
    let mut request = InterfaceFlags { name: [0; 16], flags: IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL, rest: [0; 22] };
    request.name[..tap.name.len()].copy_from_slice(tap.name.as_bytes());
    unsafe { sys::ioctl_with(&file, TUNSETIFF, &mut request) }.or_failure(&format!("make the tap {}", tap.name))?;
    for (path, value) in SETTINGS {
        let path = format!("/proc/sys/net/{}", path.replace("{}", &tap.name));
        // A kernel without IPv6 has none of its settings.
        if !path.contains("ipv6") || fs::metadata(&path).is_ok() {
            fs::write(&path, value).or_failure(&path)?;
        }
    }
    let index = index_of(&tap.name).or_failure(&tap.name)?.ok_or_else(|| Failure::new("ENODEV", format!("{} is gone", tap.name)))?;
    let netlink = RouteNetlink::open()?;
    netlink.set_mac(index, &HOST_MAC).or_failure("set the tap's MAC address")?;
    // It has no address of its own: programs of the host that watch addresses (browsers drop what they have open) see none come and go.
    netlink.set_up(index).or_failure("bring up the tap")?;
    netlink.add_link_route(index, tap.guest).map_err(|error| match error.raw_os_error() {
        Some(EEXIST) => Failure::new("EEXIST", format!("the address {} is taken", tap.guest)),
        _ => Failure::from_io("route to the tap", &error),
    })?;
    netlink.set_neighbour(index, tap.guest, &GUEST_MAC).or_failure("say who is behind the tap")?;
    leave_open(file.into_raw_fd()).or_failure("keep the tap open")
}

fn leave_open(fd: i32) -> std::io::Result<()> {
    const F_SETFD: i32 = 2;
    if fd == TAP_FD {
        return sys::check(unsafe { ffi::fcntl(fd, F_SETFD, 0) }).map(drop);
    }
    sys::check(unsafe { ffi::dup2(fd, TAP_FD) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::Tap;

    #[test]
    fn a_tap_has_a_name_and_an_address() {
        let tap = Tap::parse("lull-1,198.19.0.1").unwrap();
        assert_eq!((tap.name.as_str(), tap.guest.octets()), ("lull-1", [198, 19, 0, 1]));
        for wrong in ["", "a,b", "lull-1", "../x,1.2.3.4", "sixteen-letters-,1.2.3.4", "a,1.2.3.4,", ",1.2.3.4"] {
            assert!(Tap::parse(wrong).is_none(), "{}", wrong);
        }
    }
}
