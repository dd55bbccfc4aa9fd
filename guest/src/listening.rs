//! Which TCP ports accept connections at 127.0.0.1, from /proc/net/tcp and tcp6 (man 5 proc).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// The most of each table that is read: the kernel lists listeners first, so what is beyond are connections.
const TABLE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The listening ports, sorted.
pub fn listening_ports() -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(file) = File::open(path) {
            collect(BufReader::new(file.take(TABLE_LIMIT_BYTES)), &mut ports);
        }
    }
    ports
}

fn collect(table: impl BufRead, ports: &mut BTreeSet<u16>) {
    for line in table.lines().skip(1) {
        let line = match line {
            Ok(line) => line,
            Err(_) => return,
        };
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        if state != Some("0A") {
            continue;
        }
        let port = local.and_then(|local| local.split_once(':')).filter(|(address, _)| accepts_loopback(address));
        if let Some(port) = port.and_then(|(_, port)| u16::from_str_radix(port, 16).ok()) {
            ports.insert(port);
        }
    }
}

/// The kernel prints each 32-bit word in the machine's order; both supported machines are little endian.
fn accepts_loopback(address: &str) -> bool {
    matches!(
        address,
        "00000000" | "0100007F" | "00000000000000000000000000000000" | "0000000000000000FFFF000000000000" | "0000000000000000FFFF00000100007F"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            \x20  1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            \x20  2: 0F02000A:0017 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            \x20  3: 0100007F:0050 0100007F:0051 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            \x20  4: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 0:0 0 0\n\
            \x20  5: 00000000000000000000000001000000:0BB9 00000000000000000000000000000000:0000 0A 0:0 0 0\n\
            \n  : : 0A\n  6: zz:zz 0:0 0A";
        let mut ports = BTreeSet::new();
        collect(table.as_bytes(), &mut ports);
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [22, 3000, 8080]);
    }

    #[test]
    fn this_machine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening_ports().contains(&listener.local_addr().unwrap().port()));
    }
}
