//! The kernel's table of neighbours: which Ethernet address an IPv4 address has.

use std::net::Ipv4Addr;

use meadow_model::MacAddress;

/// Looks up a neighbour on one interface. It is there as soon as it asked us for our address.
pub(crate) fn mac_of(address: Ipv4Addr, interface: &str) -> Option<MacAddress> {
    let table = std::fs::read_to_string("/proc/net/arp").ok()?;
    find(&table, address, interface)
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
}
