//! Changing interfaces: level-triggered, so that asking for what already is succeeds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::{Connection, Link, LinkError, Links, dump};
use crate::Cidr;

impl Links {
    /// Adds an address to an interface; no error where it is there already.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn add_address(&self, link: &Link, cidr: Cidr) -> Result<(), LinkError> {
        let added = Connection::open()?.handle.address().add(link.index, cidr.address(), cidr.length()).execute().await;
        unless(added.map_err(LinkError::refused(format!("add {cidr} to {}", link.name))), &[libc::EEXIST])
    }

    /// Removes an address from an interface; no error where it is not there.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn remove_address(&self, link: &Link, cidr: Cidr) -> Result<(), LinkError> {
        let message = match cidr.address() {
            IpAddr::V4(address) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(link.index).address(address, cidr.length()).build()
            }
            IpAddr::V6(address) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(link.index).address(address, cidr.length()).build()
            }
        };
        let removed = Connection::open()?.handle.address().del(message).execute().await;
        let removed = removed.map_err(LinkError::refused(format!("remove {cidr} from {}", link.name)));
        unless(removed, &[libc::EADDRNOTAVAIL, libc::ENODEV])
    }

    /// Adds a route to a network through an interface, with no gateway; no error where it is there already.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn add_route(&self, link: &Link, network: Cidr) -> Result<(), LinkError> {
        let added = Connection::open()?.handle.route().add(route(link.index, network)).execute().await;
        let added = added.map_err(LinkError::refused(format!("add a route to {network} through {}", link.name)));
        unless(added, &[libc::EEXIST])
    }

    /// Removes a route that [`Links::add_route`] made; no error where it is not there.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn remove_route(&self, link: &Link, network: Cidr) -> Result<(), LinkError> {
        let removed = Connection::open()?.handle.route().del(route(link.index, network)).execute().await;
        let removed =
            removed.map_err(LinkError::refused(format!("remove the route to {network} through {}", link.name)));
        unless(removed, &[libc::ESRCH, libc::ENODEV])
    }

    /// The networks that [`Links::add_route`] made reachable through an interface.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn routes(&self, link: &Link) -> Result<Vec<Cidr>, LinkError> {
        let mut networks = Vec::new();
        for query in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
            for message in dump::dump("list the routes", RouteNetlinkMessage::GetRoute(query))? {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    networks.extend(own_route(&route, link.index));
                }
            }
        }
        Ok(networks)
    }

    /// Sets the MTU and sets the interface up, where that is not so already.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn set_up(&self, link: &Link, mtu: u32) -> Result<(), LinkError> {
        if link.up && link.mtu == mtu {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(link.index).mtu(mtu).up().build();
        let set = Connection::open()?.handle.link().set(message).execute().await;
        set.map_err(LinkError::refused(format!("set {} up with MTU {mtu}", link.name)))
    }

    /// Makes the addresses and routes of an interface that is ours alone exactly these.
    ///
    /// Link-local addresses are the kernel's and stay. Networks that lie within `address`'s own prefix need no route.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn set_addressing(&self, link: &Link, address: Cidr, networks: &[Cidr]) -> Result<(), LinkError> {
        let present: Vec<Cidr> = link.routable_addresses().collect();
        if !present.contains(&address) {
            self.add_address(link, address).await?;
        }
        for stale in present.into_iter().filter(|present| *present != address) {
            self.remove_address(link, stale).await?;
        }
        let wanted: Vec<Cidr> = networks.iter().map(|n| n.network()).filter(|n| !address.contains(*n)).collect();
        let routes = self.routes(link).await?;
        for missing in wanted.iter().filter(|network| !routes.contains(network)) {
            self.add_route(link, *missing).await?;
        }
        for stale in routes.iter().filter(|network| !wanted.contains(network)) {
            self.remove_route(link, *stale).await?;
        }
        Ok(())
    }

    /// Makes a virtual interface of kind `wireguard`.
    ///
    /// # Errors
    /// [`LinkError::Refused`] with `EOPNOTSUPP` where the kernel has no WireGuard, `EEXIST` where the name is taken.
    pub(crate) async fn add_wireguard(&self, name: &str) -> Result<(), LinkError> {
        let added = Connection::open()?.handle.link().add(rtnetlink::LinkWireguard::new(name).build()).execute().await;
        added.map_err(LinkError::refused(format!("make the WireGuard interface {name}")))
    }

    /// Removes an interface; no error where it is not there.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn remove(&self, name: &str) -> Result<(), LinkError> {
        let link = match self.find(name).await {
            Err(LinkError::NoInterface(_)) => return Ok(()),
            found => found?,
        };
        let removed = Connection::open()?.handle.link().del(link.index).execute().await;
        unless(removed.map_err(LinkError::refused(format!("remove the interface {name}"))), &[libc::ENODEV])
    }
}

/// Success also where the kernel refused with one of these error numbers: what was asked for is so already.
fn unless(result: Result<(), LinkError>, fine: &[i32]) -> Result<(), LinkError> {
    match result {
        Err(error) if error.errno().is_some_and(|errno| fine.contains(&errno)) => Ok(()),
        other => other,
    }
}

fn route(index: u32, network: Cidr) -> RouteMessage {
    let network = network.network();
    match network.address() {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, network.length())
            .output_interface(index)
            .build(),
        IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, network.length())
            .output_interface(index)
            .build(),
    }
}

/// The network of a route as [`route`] makes them: static, through the interface. The kernel's own routes are another
/// protocol.
fn own_route(message: &RouteMessage, index: u32) -> Option<Cidr> {
    let through = message.attributes.iter().any(|a| matches!(a, RouteAttribute::Oif(oif) if *oif == index));
    if !through || message.header.protocol != RouteProtocol::Static {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    // A default route has no destination attribute.
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Cidr::new(address.unwrap_or(any), message.header.destination_prefix_length).ok()
}
