//! Which Ethernet address an IP address has: from the kernel's table of neighbours, or from an IPv6 address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use meadow_model::MacAddress;

/// Looks up a neighbour on one interface. It is there as soon as it asked us for our address.
pub(crate) fn mac_of(address: IpAddr, interface: &str) -> Option<MacAddress> {
    match address {
        IpAddr::V4(address) => find(&std::fs::read_to_string("/proc/net/arp").ok()?, address, interface),
        IpAddr::V6(address) => inside(address),
    }
}

/// The card that an IPv6 address was made of, as firmware and iPXE do (RFC 4291, appendix A); `None` for another one.
fn inside(address: Ipv6Addr) -> Option<MacAddress> {
    let [.., a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else { return None };
    Some(MacAddress([a ^ 2, b, c, d, e, f])).filter(|mac| mac.is_unicast())
}

fn find(table: &str, address: Ipv4Addr, interface: &str) -> Option<MacAddress> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (ip, flags, mac, device) = (fields.next()?, fields.nth(1)?, fields.next()?, fields.nth(1)?);
        let complete = flags != "0x0";
        let matches = complete && device == interface && ip.parse() == Ok(address);
        matches.then(|| mac.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
        192.0.2.50       0x1         0x2         52:54:00:00:00:03     *        eth0\n\
        192.0.2.51       0x1         0x0         00:00:00:00:00:00     *        eth0\n";

    #[test]
    fn reads_the_kernels_table() {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 3]);
        assert_eq!(find(TABLE, Ipv4Addr::new(192, 0, 2, 50), "eth0"), Some(mac));
        assert_eq!(find(TABLE, Ipv4Addr::new(192, 0, 2, 50), "eth1"), None);
        assert_eq!(find(TABLE, Ipv4Addr::new(192, 0, 2, 51), "eth0"), None, "incomplete entry");
    }

    #[test]
    fn an_ipv6_address_that_was_made_of_a_card_names_it() {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 3]);
        for address in ["fe80::5054:ff:fe00:3", "2001:db8::5054:ff:fe00:3"] {
            assert_eq!(mac_of(address.parse().unwrap(), "eth0"), Some(mac), "{address}");
        }
        for other in ["fe80::1", "2001:db8::8d2f:11:4c00:3"] {
            assert_eq!(mac_of(other.parse().unwrap(), "eth0"), None, "{other}");
        }
    }
}
