//! The few messages of rtnetlink(7) that configure a card.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::FixedAddress;
use crate::dhcp::Lease;

const HEADER: usize = 16;
const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLM_F_CREATE_REPLACE: u16 = 0x400 | 0x100;
const NLM_F_CREATE_NEW: u16 = 0x400 | 0x200;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
/// `RTPROT_DHCP` and `RTPROT_STATIC`: say who made the route.
const MADE_BY_DHCP: u8 = 16;
const MADE_BY_HAND: u8 = 4;
const MAIN_TABLE: u8 = 254;
const UNICAST: u8 = 1;
/// The gateway is on the link even where no route to it says so.
const ONLINK: u32 = 4;
/// Worse than what the booted system sets, and different from card to card.
const METRIC_BASE: u32 = 10_000;

/// A socket to the kernel's network configuration.
#[derive(Debug)]
pub(super) struct Rtnetlink(OwnedFd);

impl Rtnetlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// If the kernel has none to give.
    pub(super) fn open() -> anyhow::Result<Self> {
        // NETLINK_ROUTE is protocol 0, the default.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .context("cannot open a netlink socket")?;
        Ok(Self(socket))
    }

    /// Switches a card on.
    ///
    /// # Errors
    /// The driver's refusal, such as firmware that is missing.
    pub(super) fn set_up(&self, index: u32) -> anyhow::Result<()> {
        self.request(&switch(index, IFF_UP)).context("cannot switch the card on")
    }

    /// Switches a card off.
    ///
    /// # Errors
    /// The driver's refusal.
    pub(super) fn set_down(&self, index: u32) -> anyhow::Result<()> {
        self.request(&switch(index, 0)).context("cannot switch the card off")
    }

    /// Gives a card the address of a lease, and the default route.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn configure(&self, index: u32, lease: &Lease) -> anyhow::Result<()> {
        let own = Address::of_lease(lease);
        self.request(&own.message(RTM_NEWADDR, index)).context("cannot set the address")?;
        if let Some(router) = lease.router {
            let route = default_route(index, router.into(), lease.address.into(), MADE_BY_DHCP);
            self.request(&route).context("cannot set the default route")?;
        }
        Ok(())
    }

    /// Takes the address away; the routes that use it go with it.
    ///
    /// # Errors
    /// The kernel's refusal, such as that the address is gone already.
    pub(super) fn deconfigure(&self, index: u32, lease: &Lease) -> anyhow::Result<()> {
        self.request(&Address::of_lease(lease).message(RTM_DELADDR, index)).context("cannot remove the address")
    }

    /// Gives an interface a fixed address, and the default route.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn fix(&self, index: u32, network: &FixedAddress) -> anyhow::Result<()> {
        let own = Address { address: network.address, prefix_len: network.prefix_len, lifetime: None };
        self.request(&own.message(RTM_NEWADDR, index)).context("cannot set the fixed address")?;
        if let Some(gateway) = network.gateway {
            let route = default_route(index, gateway, network.address, MADE_BY_HAND);
            self.request(&route).context("cannot set the default route")?;
        }
        Ok(())
    }

    /// Makes an interface for a VLAN on a card; one that is there already is fine.
    ///
    /// # Errors
    /// The kernel's refusal, such as that it knows no VLANs.
    pub(super) fn add_vlan(&self, card: u32, name: &str, vlan: u16) -> anyhow::Result<()> {
        match self.request(&new_vlan(card, name, vlan)) {
            Err(error) if error.downcast_ref().is_some_and(is_there_already) => Ok(()),
            other => {
                other.with_context(|| format!("cannot make the interface {name} (is the module 8021q in this initrd?)"))
            }
        }
    }

    fn request(&self, message: &[u8]) -> anyhow::Result<()> {
        sendto(&self.0, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0_u8; 4096];
        let (_, count) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        match parse_ack(answer.get(..count).unwrap_or_default()) {
            Some(0) => Ok(()),
            Some(error) => Err(std::io::Error::from_raw_os_error(error).into()),
            None => bail!("the kernel gave no acknowledgement"),
        }
    }
}

fn switch(index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, flags, IFF_UP] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    message(RTM_NEWLINK, 0, &body, &[])
}

fn is_there_already(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AlreadyExists
}

/// An address of an interface.
#[derive(Clone, Copy, Debug)]
struct Address {
    address: IpAddr,
    prefix_len: u8,
    /// If the booted system never renews the lease, the kernel drops the address in time.
    lifetime: Option<Duration>,
}

impl Address {
    fn of_lease(lease: &Lease) -> Self {
        Self { address: lease.address.into(), prefix_len: lease.prefix_len, lifetime: lease.lifetime }
    }

    fn message(self, kind: u16, index: u32) -> Vec<u8> {
        let flags = if kind == RTM_NEWADDR { NLM_F_CREATE_REPLACE } else { 0 };
        let mut body = vec![family(self.address), self.prefix_len, 0, 0];
        body.extend_from_slice(&index.to_ne_bytes());
        let own = octets(self.address);
        let mut cache_info = [0_u8; 16];
        let valid = seconds(self.lifetime);
        cache_info[..4].copy_from_slice(&valid.to_ne_bytes());
        cache_info[4..8].copy_from_slice(&valid.to_ne_bytes());
        let mut attributes: Vec<(u16, &[u8])> = vec![(1, &own), (2, &own), (6, &cache_info)];
        let broadcast;
        if let IpAddr::V4(address) = self.address {
            let hosts = u32::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0);
            broadcast = (u32::from(address) | hosts).to_be_bytes();
            attributes.push((4, &broadcast));
        }
        message(kind, flags, &body, &attributes)
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn default_route(index: u32, router: IpAddr, source: IpAddr, made_by: u8) -> Vec<u8> {
    let mut body = vec![family(router), 0, 0, 0, MAIN_TABLE, made_by, 0, UNICAST];
    body.extend_from_slice(&ONLINK.to_ne_bytes());
    let metric = METRIC_BASE.saturating_add(index);
    let (router, source) = (octets(router), octets(source));
    let mut attributes: Vec<(u16, &[u8])> = vec![];
    let (link, metric) = (index.to_ne_bytes(), metric.to_ne_bytes());
    attributes.extend([(4, link.as_slice()), (5, &router), (6, &metric)]);
    // An IPv6 address is not to be used as a source before the kernel knows that nobody else has it.
    if source.len() == 4 {
        attributes.push((7, &source));
    }
    message(RTM_NEWROUTE, NLM_F_CREATE_REPLACE, &body, &attributes)
}

fn new_vlan(card: u32, name: &str, vlan: u16) -> Vec<u8> {
    let data = attribute(1, &vlan.to_ne_bytes());
    let info = [attribute(1, b"vlan"), attribute(2, &data)].concat();
    let name = [name.as_bytes(), b"\0"].concat();
    message(RTM_NEWLINK, NLM_F_CREATE_NEW, &[0; 16], &[(3, &name), (5, &card.to_ne_bytes()), (18, &info)])
}

fn seconds(lifetime: Option<Duration>) -> u32 {
    lifetime.map_or(u32::MAX, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

/// Header, body and attributes, each padded to four bytes as netlink(7) wants it.
fn message(kind: u16, flags: u16, body: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out[4..6].copy_from_slice(&kind.to_ne_bytes());
    out[6..8].copy_from_slice(&(NLM_F_REQUEST_ACK | flags).to_ne_bytes());
    out.extend_from_slice(body);
    attributes.iter().for_each(|(name, value)| out.extend(attribute(*name, value)));
    let len = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&len.to_ne_bytes());
    out
}

fn attribute(name: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + value.len());
    out.extend_from_slice(&u16::try_from(4 + value.len()).unwrap_or(u16::MAX).to_ne_bytes());
    out.extend_from_slice(&name.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The error number of an acknowledgement; zero is success.
fn parse_ack(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(message.get(HEADER..HEADER + 4)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| code.saturating_neg())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn lease() -> Lease {
        Lease {
            address: Ipv4Addr::new(192, 0, 2, 10),
            prefix_len: 24,
            router: Some(Ipv4Addr::new(192, 0, 2, 1)),
            server: Ipv4Addr::new(192, 0, 2, 1),
            lifetime: Some(Duration::from_secs(3600)),
            renew: Duration::ZERO,
            rebind: Duration::ZERO,
        }
    }

    #[test]
    fn messages_are_whole_and_aligned() {
        let (router, own) = (IpAddr::from([192, 0, 2, 1]), lease().address.into());
        for bytes in [
            switch(3, IFF_UP),
            switch(3, 0),
            Address::of_lease(&lease()).message(RTM_NEWADDR, 3),
            default_route(3, router, own, MADE_BY_DHCP),
            new_vlan(3, "eth0.7", 7),
        ] {
            assert_eq!(bytes.len() % 4, 0);
            assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
        }
    }

    #[test]
    fn the_address_has_its_broadcast_and_lifetime() {
        let bytes = Address::of_lease(&lease()).message(RTM_NEWADDR, 3);
        assert!(bytes.windows(8).any(|w| w == [8, 0, 4, 0, 192, 0, 2, 255]));
        assert!(bytes.windows(4).any(|w| w == 3600_u32.to_ne_bytes()));
        assert_eq!(seconds(None), u32::MAX);
        let point_to_point = Lease { prefix_len: 32, ..lease() };
        let bytes = Address::of_lease(&point_to_point).message(RTM_NEWADDR, 3);
        assert!(bytes.windows(8).any(|w| w == [8, 0, 4, 0, 192, 0, 2, 10]));
    }

    #[test]
    fn a_vlan_names_its_card_and_number() {
        let bytes = new_vlan(3, "eth0.7", 7);
        // IFLA_LINKINFO of 20 bytes: kind "vlan", then the data with the identifier.
        let info = [24, 0, 18, 0, 8, 0, 1, 0, b'v', b'l', b'a', b'n', 12, 0, 2, 0, 6, 0, 1, 0, 7, 0, 0, 0];
        assert!(bytes.ends_with(&info), "{bytes:?}");
        assert!(bytes.windows(8).any(|w| w == [8, 0, 5, 0, 3, 0, 0, 0]));
    }

    #[test]
    fn ipv6_has_no_broadcast_and_no_source() {
        let own = Address { address: "2001:db8::7".parse().unwrap(), prefix_len: 64, lifetime: None };
        let bytes = own.message(RTM_NEWADDR, 3);
        assert_eq!((bytes[16], bytes[17], bytes.len()), (AF_INET6, 64, 16 + 8 + 20 + 20 + 20));
        let route = default_route(3, "fe80::1".parse().unwrap(), own.address, MADE_BY_HAND);
        assert_eq!((route[16], route.len()), (AF_INET6, 16 + 12 + 8 + 20 + 8));
    }

    #[test]
    fn acknowledgements() {
        let ack = |kind: u16, code: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert_eq!(parse_ack(&ack(NLMSG_ERROR, 0)), Some(0));
        assert_eq!(parse_ack(&ack(NLMSG_ERROR, -17)), Some(17));
        assert_eq!(parse_ack(&ack(RTM_NEWLINK, 0)), None);
        assert_eq!(parse_ack(&[]), None);
    }
}
