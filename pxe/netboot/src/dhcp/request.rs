//! A client's DHCP message, reduced to what a boot server needs.

use std::net::Ipv4Addr;

use dhcproto::v4::OptionCode;
use dhcproto::v4::borrowed::{DhcpOption, DhcpOptionIterator};
use meadow_model::MacAddress;

use super::relay_info;
use crate::arch::Firmware;
use crate::event::printable;
use crate::policy::ClientKind;

/// Fixed header and magic cookie (RFC 2131, 2).
pub(super) const HEADER: usize = 240;
pub(super) const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Message types (option 53) that a boot server answers or learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST.
    Request,
    /// DHCPINFORM.
    Inform,
}

/// Vendor class (option 60), as far as it concerns booting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VendorClass {
    /// `PXEClient…`
    Pxe,
    /// `HTTPClient…`
    Http,
    /// `Meadow:1`, our own initrd.
    Meadow,
}

impl VendorClass {
    fn parse(value: &[u8]) -> Option<Self> {
        if value.starts_with(b"PXEClient") {
            Some(Self::Pxe)
        } else if value.starts_with(b"HTTPClient") {
            Some(Self::Http)
        } else if value == b"Meadow:1" {
            Some(Self::Meadow)
        } else {
            None
        }
    }

    /// The value that a reply carries.
    #[must_use]
    pub fn reply_value(self) -> &'static [u8] {
        match self {
            Self::Pxe => b"PXEClient",
            Self::Http => b"HTTPClient",
            Self::Meadow => b"Meadow:1",
        }
    }
}

/// Why a datagram is not a request to a boot server. None of it is worth a log line: other
/// clients of the home router send such messages all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Shorter than the fixed header, or without the magic cookie.
    #[error("not a DHCP message")]
    Malformed,
    /// A reply, or not from an Ethernet card.
    #[error("not a request of an Ethernet client")]
    NotAClient,
    /// DECLINE, RELEASE, or a server's message type.
    #[error("not a message that a boot server handles")]
    OtherMessage,
}

/// A parsed request. Options that are absent, empty or of a wrong length are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Message type.
    pub kind: MessageKind,
    /// Transaction id.
    pub xid: u32,
    /// Flags field, to be echoed (bit 15: broadcast).
    pub flags: u16,
    /// Client's own address, unspecified if it has none.
    pub ciaddr: Ipv4Addr,
    /// Relay agent, unspecified if there is none.
    pub giaddr: Ipv4Addr,
    /// Hardware address.
    pub mac: MacAddress,
    /// Option 60 if it is one of ours.
    pub vendor: Option<VendorClass>,
    /// Option 60 as text.
    pub vendor_text: String,
    /// Firmware from option 93.
    pub firmware: Option<Firmware>,
    /// Option 97 as sent, to be echoed.
    pub machine_id: Option<Vec<u8>>,
    /// Option 54: the server that is meant.
    pub server_id: Option<Ipv4Addr>,
    /// Option 50: the lease that the client takes from the router.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 82 as sent, to be echoed (RFC 3046).
    pub relay_info: Option<Vec<u8>>,
    /// Whether it is iPXE (option 77 or 175).
    pub ipxe: bool,
    /// Whether option 43 asks for a boot item (sub-option 71): a PXE boot server request.
    pub boot_item: bool,
}

impl Request {
    /// Parses one datagram. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// When the datagram is not a client's DISCOVER, REQUEST or INFORM.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let header = client_header(bytes)?;
        let mut request = Self {
            kind: MessageKind::Discover,
            xid: header.xid,
            flags: header.flags,
            ciaddr: header.ciaddr,
            giaddr: header.giaddr,
            mac: header.mac,
            vendor: None,
            vendor_text: String::new(),
            firmware: None,
            machine_id: None,
            server_id: None,
            requested_address: None,
            relay_info: None,
            ipxe: false,
            boot_item: false,
        };
        let mut kind = None;
        for option in DhcpOptionIterator::new(&bytes[HEADER..]) {
            request.read_option(&option, &mut kind);
        }
        request.kind = kind.ok_or(RequestError::OtherMessage)?;
        if request.vendor == Some(VendorClass::Meadow) {
            request.firmware = Some(Firmware::Initrd);
        }
        Ok(request)
    }

    fn read_option(&mut self, option: &DhcpOption<'_>, kind: &mut Option<MessageKind>) {
        let data = option.data();
        match option.code() {
            OptionCode::MessageType => {
                *kind = match data {
                    [1] => Some(MessageKind::Discover),
                    [3] => Some(MessageKind::Request),
                    [8] => Some(MessageKind::Inform),
                    _ => None,
                };
            }
            OptionCode::ClassIdentifier => {
                self.vendor = VendorClass::parse(data);
                self.vendor_text = printable(data, 64);
            }
            OptionCode::ClientSystemArchitecture => {
                let codes = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                self.firmware = Firmware::from_codes(codes, self.mac);
            }
            // 17 bytes, type 0 (RFC 4578, 2.3); anything else cannot be echoed with sense.
            OptionCode::ClientMachineIdentifier if data.len() == 17 => {
                self.machine_id = Some(data.to_vec());
            }
            OptionCode::ServerIdentifier => self.server_id = address(data),
            OptionCode::RelayAgentInformation => self.relay_info = relay_info::read(data),
            OptionCode::RequestedIpAddress => self.requested_address = address(data),
            // iPXE sends the bare text, RFC 3004 wants a length before it: take both.
            OptionCode::UserClass if data == b"iPXE" || data == b"\x04iPXE" => self.ipxe = true,
            OptionCode::Unknown(175) => self.ipxe = true,
            OptionCode::VendorExtensions => self.boot_item = has_sub_option(data, 71),
            _ => {}
        }
    }

    /// Which program asks; `None` if it does not want to be booted by a boot server.
    ///
    /// Firmware must send option 93 beside its vendor class; our initrd needs none.
    #[must_use]
    pub fn client(&self) -> Option<ClientKind> {
        match (self.vendor?, self.firmware) {
            (VendorClass::Meadow, _) => Some(ClientKind::Initrd),
            (_, None) => None,
            (VendorClass::Http, _) => Some(ClientKind::HttpBoot),
            (VendorClass::Pxe, _) if self.ipxe => Some(ClientKind::Ipxe),
            (VendorClass::Pxe, _) => Some(ClientKind::Pxe),
        }
    }

    /// The address that it shows to be the client's own: the one that it takes, or has.
    #[must_use]
    pub fn own_address(&self) -> Option<Ipv4Addr> {
        let taken = self.requested_address.filter(|_| self.kind == MessageKind::Request);
        taken.or(Some(self.ciaddr)).filter(|address| !address.is_unspecified())
    }

    /// SMBIOS UUID from option 97.
    #[must_use]
    pub fn uuid(&self) -> Option<[u8; 16]> {
        self.machine_id.as_deref()?.get(1..)?.try_into().ok()
    }
}

/// The fixed fields of a client's message.
pub(super) struct ClientHeader {
    pub(super) xid: u32,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) mac: MacAddress,
}

/// Reads them; bytes that have them are at least [`HEADER`] long.
pub(super) fn client_header(bytes: &[u8]) -> Result<ClientHeader, RequestError> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(RequestError::Malformed)?;
    if header[236..] != MAGIC {
        return Err(RequestError::Malformed);
    }
    let [op, hardware_type, hardware_length, ..] = *header;
    let mac = MacAddress([header[28], header[29], header[30], header[31], header[32], header[33]]);
    if (op, hardware_type, hardware_length) != (1, 1, 6) || !mac.is_unicast() {
        return Err(RequestError::NotAClient);
    }
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    Ok(ClientHeader {
        xid: u32::from_be_bytes(word(4)),
        flags: u16::from_be_bytes([header[10], header[11]]),
        ciaddr: word(12).into(),
        giaddr: word(24).into(),
        mac,
    })
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)
}

/// Looks for a sub-option in encapsulated vendor options (RFC 2132, 8.4).
fn has_sub_option(mut data: &[u8], wanted: u8) -> bool {
    while let [code, rest @ ..] = data {
        match (*code, rest) {
            (255, _) => return false,
            (0, _) => data = rest,
            (code, [length, values @ ..]) => {
                if code == wanted {
                    return true;
                }
                data = values.get(usize::from(*length)..).unwrap_or_default();
            }
            (_, []) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_sub_options_in_hostile_input() {
        for (data, found) in [
            (&[71, 4, 0, 0, 0, 0, 255][..], true),
            (&[6, 1, 8, 71, 0], true),
            (&[0, 0, 71, 0], true),
            (&[6, 1, 8, 255, 71, 0], false),
            (&[6, 200, 71], false),
            (&[6], false),
            (&[], false),
        ] {
            assert_eq!(has_sub_option(data, 71), found, "{data:?}");
        }
    }
}
