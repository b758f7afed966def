//! Other servers on the wire: what their packets say, and the probe that makes them speak.

use std::net::Ipv4Addr;

use dhcproto::v4::OptionCode;
use dhcproto::v4::borrowed::DhcpOptionIterator;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType};
use dhcproto::{Encodable, Encoder};
use meadow_model::MacAddress;

use super::request::{HEADER, MAGIC};

/// IPv4 header without options, and UDP header.
const IP: usize = 20;
const UDP: usize = 8;

/// A packet of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherServer {
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it gives out addresses.
    pub leases: bool,
    /// Whether it boots machines: it speaks PXE or HTTP boot.
    pub boots: bool,
}

impl OtherServer {
    /// Reads an IPv4 packet. `None` if it is no OFFER or ACK of another server than `own`. Never panics.
    #[must_use]
    pub fn parse(packet: &[u8], own: Ipv4Addr) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 15) * 4;
        let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
        if first >> 4 != 4 || header < IP || fragment != 0 || *packet.get(9)? != 17 {
            return None;
        }
        let source = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
        let udp = packet.get(header..)?;
        if !matches!(udp.get(..2)?, [0, 67] | [0x0f, 0xab]) {
            return None;
        }
        let dhcp = udp.get(UDP..)?;
        if dhcp.get(236..HEADER)? != MAGIC || dhcp[0] != 2 {
            return None;
        }
        let (mut kind, mut boots, mut address) = (None, false, source);
        for option in DhcpOptionIterator::new(&dhcp[HEADER..]) {
            match (option.code(), option.data()) {
                (OptionCode::MessageType, &[value]) => kind = Some(value),
                (OptionCode::ClassIdentifier, data) => {
                    boots = data.starts_with(b"PXEClient") || data.starts_with(b"HTTPClient");
                }
                (OptionCode::ServerIdentifier, &[a, b, c, d]) => address = Ipv4Addr::new(a, b, c, d),
                _ => {}
            }
        }
        let leases = dhcp[16..20] != [0; 4];
        let speaks = matches!(kind, Some(2 | 5)) && (leases || boots);
        // A relay sends what we said: the server is the one that it names.
        (speaks && address != own && source != own).then_some(Self { address, leases, boots })
    }
}

/// A DISCOVER as an IPv4 packet, broadcast from a card: whoever serves answers it, and no lease comes of it.
///
/// `boots` makes it that of PXE firmware, which makes boot servers answer too. `None` only if it cannot be encoded.
#[must_use]
pub fn probe(mac: MacAddress, xid: u32, boots: bool) -> Option<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, none, none, none, &mac.0);
    message.set_flags(Flags::default().set_broadcast());
    let mut dhcp = Vec::new();
    let mut encoder = Encoder::new(&mut dhcp);
    message.encode(&mut encoder).ok()?;
    let mut options = vec![
        DhcpOption::MessageType(MessageType::Discover),
        DhcpOption::ParameterRequestList(vec![
            OptionCode::SubnetMask,
            OptionCode::Router,
            OptionCode::VendorExtensions,
            OptionCode::ClassIdentifier,
        ]),
    ];
    if boots {
        options.push(DhcpOption::ClassIdentifier(b"PXEClient:Arch:00000:UNDI:002001".to_vec()));
        options.push(DhcpOption::ClientSystemArchitecture(0.into()));
        options.push(DhcpOption::ClientNetworkInterface(1, 2, 1));
    }
    options.push(DhcpOption::End);
    for option in options {
        option.encode(&mut encoder).ok()?;
    }
    dhcp.resize(dhcp.len().max(300), 0);
    wrap(&dhcp)
}

/// Puts it into UDP from port 68 to 67 and IPv4 from nobody to everybody.
fn wrap(dhcp: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(UDP + dhcp.len()).ok()?;
    let total = udp_length.checked_add(20)?;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&total.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let sum = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut udp = vec![0, 68, 0, 67];
    udp.extend_from_slice(&udp_length.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(dhcp);
    // The pseudo-header: both addresses, protocol and length.
    let pseudo = 0xffff + 0xffff + 17 + u32::from(udp_length);
    let sum = checksum(&udp, pseudo);
    udp[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    packet.extend_from_slice(&udp);
    Some(packet)
}

/// RFC 1071.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum = bytes.chunks(2).map(word).fold(start, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
