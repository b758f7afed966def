//! The network interface that is served.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use meadow_model::MacAddress;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

/// An interface that is up and has an IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// Its primary address, the one that offers name.
    pub(crate) address: Ipv4Addr,
}

/// What an interface lacks before it can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("there is no interface {0} yet")]
    Absent(String),
    #[error("interface {0} is down")]
    Down(String),
    #[error("interface {0} has no IPv4 address yet")]
    NoAddress(String),
    #[error("the interfaces cannot be listed: {0}")]
    List(nix::Error),
}

/// Looks at the interface as it is now.
pub(crate) fn find(name: &str) -> Result<Link, NotReady> {
    let index = if_nametoindex(name).map_err(|_| NotReady::Absent(name.to_owned()))?;
    let mut is_up = false;
    for entry in getifaddrs().map_err(NotReady::List)? {
        if entry.interface_name != name {
            continue;
        }
        is_up |= entry.flags.contains(InterfaceFlags::IFF_UP);
        // The kernel lists an interface's primary addresses before its secondary ones.
        let address = entry.address.as_ref().and_then(|address| address.as_sockaddr_in());
        if let (true, Some(address)) = (is_up, address) {
            return Ok(Link { name: name.to_owned(), index, address: address.ip() });
        }
    }
    Err(if is_up { NotReady::NoAddress(name.to_owned()) } else { NotReady::Down(name.to_owned()) })
}

/// The address of an interface's card.
pub(crate) fn mac_of(name: &str) -> io::Result<MacAddress> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/address"))?;
    text.trim().parse().map_err(io::Error::other)
}

/// All IPv6 addresses of an interface.
pub(crate) fn ipv6_addresses(name: &str) -> Vec<Ipv6Addr> {
    let Ok(entries) = getifaddrs() else { return Vec::new() };
    let own = entries.filter(|entry| entry.interface_name == name);
    own.filter_map(|entry| Some(entry.address?.as_sockaddr_in6()?.ip())).collect()
}

/// Whether an interface has an IPv6 link-local address, the only one that neighbour discovery of
/// a router may come from (RFC 4861, 4.2).
pub(crate) fn has_link_local(name: &str) -> bool {
    ipv6_addresses(name).iter().any(Ipv6Addr::is_unicast_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_loopback_and_names_what_is_absent() {
        assert_eq!(find("lo").unwrap().address, Ipv4Addr::LOCALHOST);
        assert_eq!(find("meadow-none"), Err(NotReady::Absent("meadow-none".into())));
    }
}
