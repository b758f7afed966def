//! The network interface that is served.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use meadow_model::MacAddress;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

/// An interface that is up and has an IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// Its primary address, the one that offers name.
    pub(crate) address: Ipv4Addr,
    /// All its IPv4 addresses with their masks: who has another one is off the link.
    pub(crate) networks: Vec<(Ipv4Addr, Ipv4Addr)>,
}

impl Link {
    /// Whether an address is of this link, so that no router is between.
    pub(crate) fn has(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|(own, mask)| own & mask == address & mask)
    }
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
    let (mut is_up, mut primary, mut networks) = (false, None, Vec::new());
    for entry in getifaddrs().map_err(NotReady::List)? {
        if entry.interface_name != name {
            continue;
        }
        is_up |= entry.flags.contains(InterfaceFlags::IFF_UP);
        // The kernel lists an interface's primary addresses before its secondary ones.
        let ip = |address: &Option<SockaddrStorage>| Some(address.as_ref()?.as_sockaddr_in()?.ip());
        if let Some(address) = ip(&entry.address) {
            primary = primary.or(Some(address));
            networks.push((address, ip(&entry.netmask).unwrap_or(Ipv4Addr::BROADCAST)));
        }
    }
    match primary {
        Some(address) if is_up => Ok(Link { name: name.to_owned(), index, address, networks }),
        _ if is_up => Err(NotReady::NoAddress(name.to_owned())),
        _ => Err(NotReady::Down(name.to_owned())),
    }
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
        let lo = find("lo").unwrap();
        assert_eq!(lo.address, Ipv4Addr::LOCALHOST);
        assert!(lo.has([127, 7, 7, 7].into()) && !lo.has([192, 0, 2, 1].into()));
        assert_eq!(find("meadow-none"), Err(NotReady::Absent("meadow-none".into())));
    }
}
