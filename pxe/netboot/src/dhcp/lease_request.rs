//! A client's DHCP message, as far as addresses are concerned.

use std::net::Ipv4Addr;

use dhcproto::v4::OptionCode;
use dhcproto::v4::borrowed::DhcpOptionIterator;
use meadow_model::MacAddress;

use super::client_key::ClientKey;
use super::relay_info;
use super::request::{HEADER, client_header};
use crate::event::printable;

/// Characters of a client's name that are kept: a label of the DNS has no more.
const MAX_HOSTNAME: usize = 63;

/// The messages that a DHCP server takes (RFC 2131, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseMessage {
    Discover,
    Request,
    Decline,
    Release,
    Inform,
}

/// A parsed message. Options that are absent or of a wrong length are `None`.
#[derive(Debug, Clone)]
pub(super) struct LeaseRequest {
    pub(super) kind: LeaseMessage,
    pub(super) xid: u32,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) mac: MacAddress,
    pub(super) client: ClientKey,
    /// Option 61 as sent, to be echoed (RFC 6842).
    pub(super) client_id: Option<Vec<u8>>,
    /// Option 82 as sent, to be echoed (RFC 3046).
    pub(super) relay_info: Option<Vec<u8>>,
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server_id: Option<Ipv4Addr>,
    /// The name that the client gives itself (option 12), printable.
    pub(super) hostname: Option<String>,
    /// Longest reply that it takes, with IP and UDP headers.
    pub(super) max_size: usize,
}

impl LeaseRequest {
    /// `None` if it is not a message of an Ethernet client to a DHCP server.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = client_header(bytes).ok()?;
        let (mut kind, mut machine_id, mut is_firmware) = (None, None, false);
        let mut request = Self {
            kind: LeaseMessage::Discover,
            xid: header.xid,
            flags: header.flags,
            ciaddr: header.ciaddr,
            giaddr: header.giaddr,
            mac: header.mac,
            client: ClientKey::new(header.mac, &[]),
            client_id: None,
            relay_info: None,
            requested: None,
            server_id: None,
            hostname: None,
            max_size: 576,
        };
        for option in DhcpOptionIterator::new(&bytes[HEADER..]) {
            let data = option.data();
            match option.code() {
                OptionCode::MessageType => kind = message(data),
                // An option in several parts is joined, and does not fit the one that echoes it.
                OptionCode::ClientIdentifier if (2..=255).contains(&data.len()) => {
                    request.client_id = Some(data.to_vec());
                }
                OptionCode::RelayAgentInformation => request.relay_info = relay_info::read(data),
                OptionCode::RequestedIpAddress => request.requested = address(data),
                OptionCode::ServerIdentifier => request.server_id = address(data),
                OptionCode::Hostname => {
                    // Some clients end it with a NUL.
                    let name = printable(data.strip_suffix(&[0]).unwrap_or(data), MAX_HOSTNAME);
                    request.hostname = Some(name).filter(|name| !name.is_empty());
                }
                OptionCode::MaxMessageSize => {
                    let size = <[u8; 2]>::try_from(data).map_or(576, u16::from_be_bytes);
                    request.max_size = usize::from(size).clamp(576, 1500);
                }
                OptionCode::ClassIdentifier => {
                    is_firmware = [&b"PXEClient"[..], b"HTTPClient", b"Meadow:"].iter().any(|c| data.starts_with(c));
                }
                OptionCode::ClientMachineIdentifier => machine_id = Some(data.to_vec()),
                _ => {}
            }
        }
        request.kind = kind?;
        // Firmware sends its UUID as client identifier, and cheap boards share one: the card counts. It also keeps one
        // address from the firmware to our initrd.
        let id = request.client_id.as_deref().filter(|id| !is_firmware && Some(*id) != machine_id.as_deref());
        request.client = ClientKey::new(request.mac, id.unwrap_or_default());
        Some(request)
    }
}

fn message(data: &[u8]) -> Option<LeaseMessage> {
    match data {
        [1] => Some(LeaseMessage::Discover),
        [3] => Some(LeaseMessage::Request),
        [4] => Some(LeaseMessage::Decline),
        [7] => Some(LeaseMessage::Release),
        [8] => Some(LeaseMessage::Inform),
        _ => None,
    }
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)
}
