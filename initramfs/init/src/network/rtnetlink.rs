//! The few messages of rtnetlink(7) that configure a card.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::dhcp::Lease;

const HEADER: usize = 16;
const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLM_F_CREATE_REPLACE: u16 = 0x400 | 0x100;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
/// `RTPROT_DHCP`: says who made the route.
const MADE_BY_DHCP: u8 = 16;
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
        self.request(&set_up(index)).context("cannot switch the card on")
    }

    /// Gives a card the address of a lease, and the default route.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn configure(&self, index: u32, lease: &Lease) -> anyhow::Result<()> {
        self.request(&address(RTM_NEWADDR, index, lease)).context("cannot set the address")?;
        if let Some(router) = lease.router {
            self.request(&default_route(index, router, lease.address)).context("cannot set the default route")?;
        }
        Ok(())
    }

    /// Takes the address away; the routes that use it go with it.
    ///
    /// # Errors
    /// The kernel's refusal, such as that the address is gone already.
    pub(super) fn deconfigure(&self, index: u32, lease: &Lease) -> anyhow::Result<()> {
        self.request(&address(RTM_DELADDR, index, lease)).context("cannot remove the address")
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

fn set_up(index: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, IFF_UP, IFF_UP] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    message(RTM_NEWLINK, 0, &body, &[])
}

fn address(kind: u16, index: u32, lease: &Lease) -> Vec<u8> {
    let flags = if kind == RTM_NEWADDR { NLM_F_CREATE_REPLACE } else { 0 };
    let mut body = vec![AF_INET, lease.prefix_len, 0, 0];
    body.extend_from_slice(&index.to_ne_bytes());
    let own = lease.address.octets();
    let broadcast = u32::from(lease.address) | u32::MAX.checked_shr(lease.prefix_len.into()).unwrap_or(0);
    // If the booted system never renews the lease, the kernel drops the address in time.
    let valid = seconds(lease.lifetime);
    let mut cache_info = [0_u8; 16];
    cache_info[..4].copy_from_slice(&valid.to_ne_bytes());
    cache_info[4..8].copy_from_slice(&valid.to_ne_bytes());
    let attributes: [(u16, &[u8]); 4] = [(1, &own), (2, &own), (4, &broadcast.to_be_bytes()), (6, &cache_info)];
    message(kind, flags, &body, &attributes)
}

fn default_route(index: u32, router: Ipv4Addr, source: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![AF_INET, 0, 0, 0, MAIN_TABLE, MADE_BY_DHCP, 0, UNICAST];
    body.extend_from_slice(&ONLINK.to_ne_bytes());
    let metric = METRIC_BASE.saturating_add(index);
    let attributes: [(u16, &[u8]); 4] =
        [(4, &index.to_ne_bytes()), (5, &router.octets()), (6, &metric.to_ne_bytes()), (7, &source.octets())];
    message(RTM_NEWROUTE, NLM_F_CREATE_REPLACE, &body, &attributes)
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
    for (name, value) in attributes {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_ne_bytes());
        out.extend_from_slice(&name.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&len.to_ne_bytes());
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
        for bytes in [
            set_up(3),
            address(RTM_NEWADDR, 3, &lease()),
            default_route(3, Ipv4Addr::new(192, 0, 2, 1), lease().address),
        ] {
            assert_eq!(bytes.len() % 4, 0);
            assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
        }
    }

    #[test]
    fn the_address_has_its_broadcast_and_lifetime() {
        let bytes = address(RTM_NEWADDR, 3, &lease());
        assert!(bytes.windows(8).any(|w| w == [8, 0, 4, 0, 192, 0, 2, 255]));
        assert!(bytes.windows(4).any(|w| w == 3600_u32.to_ne_bytes()));
        assert_eq!(seconds(None), u32::MAX);
        let point_to_point = Lease { prefix_len: 32, ..lease() };
        assert!(address(RTM_NEWADDR, 3, &point_to_point).windows(8).any(|w| w == [8, 0, 4, 0, 192, 0, 2, 10]));
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
