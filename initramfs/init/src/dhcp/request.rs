//! What the client sends.

use std::net::Ipv4Addr;

use super::{Mac, VENDOR_CLASS};

/// Marks the options field (RFC 2131 §3).
pub(super) const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Length of the fixed header, up to and without the magic cookie.
pub(super) const HEADER_LEN: usize = 236;
/// BOOTP relays may drop anything smaller (RFC 1542 §2.1).
const MINIMUM_LEN: usize = 300;
/// Subnet mask, router, DNS, lease time, server identifier, T1, T2, boot file.
const PARAMETER_LIST: [u8; 8] = [1, 3, 6, 51, 54, 58, 59, 67];

/// Which message of RFC 2131 to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST that takes up an offer.
    Select {
        /// The address offered.
        address: Ipv4Addr,
        /// The server that offered it (option 54).
        server: Ipv4Addr,
    },
    /// DHCPREQUEST that extends a lease; the address goes in `ciaddr` (RFC 2131 §4.3.2).
    Extend {
        /// The address held.
        address: Ipv4Addr,
    },
}

/// A message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks.
    pub kind: RequestKind,
    /// Transaction id.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Ask the server to broadcast its answers.
    pub broadcast: bool,
    /// Our hardware address.
    pub mac: Mac,
}

impl Request {
    /// The DHCP message as bytes, to be carried by UDP from port 68 to 67.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0_u8; HEADER_LEN];
        out[0] = 1; // BOOTREQUEST
        out[1] = 1; // Ethernet
        out[2] = 6;
        out[4..8].copy_from_slice(&self.xid.to_be_bytes());
        out[8..10].copy_from_slice(&self.secs.to_be_bytes());
        out[10] = if self.broadcast { 0x80 } else { 0 };
        out[28..34].copy_from_slice(&self.mac);
        if let RequestKind::Extend { address } = self.kind {
            out[12..16].copy_from_slice(&address.octets());
        }
        out.extend_from_slice(&MAGIC_COOKIE);
        let message_type = match self.kind {
            RequestKind::Discover => 1,
            RequestKind::Select { .. } | RequestKind::Extend { .. } => 3,
        };
        option(&mut out, 53, &[message_type]);
        // The same client identifier that systemd-networkd sends with ClientIdentifier=mac, so
        // that the router gives the booted system the lease that the initramfs had.
        let mut client_id = [1_u8; 7];
        client_id[1..].copy_from_slice(&self.mac);
        option(&mut out, 61, &client_id);
        option(&mut out, 57, &1472_u16.to_be_bytes());
        option(&mut out, 60, VENDOR_CLASS);
        if let RequestKind::Select { address, server } = self.kind {
            option(&mut out, 50, &address.octets());
            option(&mut out, 54, &server.octets());
        }
        option(&mut out, 55, &PARAMETER_LIST);
        out.push(255);
        if out.len() < MINIMUM_LEN {
            out.resize(MINIMUM_LEN, 0);
        }
        out
    }
}

fn option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    out.push(code);
    out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [0x52, 0x54, 0, 1, 2, 3];

    fn encoded(kind: RequestKind) -> Vec<u8> {
        Request { kind, xid: 0xdead_beef, secs: 7, broadcast: true, mac: MAC }.encode()
    }

    #[test]
    fn discover_has_the_fixed_header_and_our_vendor_class() {
        let bytes = encoded(RequestKind::Discover);
        assert_eq!(&bytes[..12], [1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 7, 0x80, 0]);
        assert_eq!(&bytes[28..34], MAC);
        assert_eq!(&bytes[236..243], [99, 130, 83, 99, 53, 1, 1]);
        assert!(bytes.windows(10).any(|w| w == b"\x3c\x08Meadow:1"));
        assert!(bytes.windows(9).any(|w| w == b"\x3d\x07\x01\x52\x54\x00\x01\x02\x03"));
        assert_eq!(bytes.len(), 300);
    }

    #[test]
    fn select_names_address_and_server_and_leaves_ciaddr_empty() {
        let bytes =
            encoded(RequestKind::Select { address: Ipv4Addr::new(192, 0, 2, 10), server: Ipv4Addr::new(192, 0, 2, 1) });
        assert_eq!(&bytes[12..16], [0; 4]);
        assert!(bytes.windows(6).any(|w| w == [50, 4, 192, 0, 2, 10]));
        assert!(bytes.windows(6).any(|w| w == [54, 4, 192, 0, 2, 1]));
    }

    #[test]
    fn extend_fills_ciaddr_and_has_neither_50_nor_54() {
        let bytes = encoded(RequestKind::Extend { address: Ipv4Addr::new(192, 0, 2, 10) });
        assert_eq!(&bytes[12..16], [192, 0, 2, 10]);
        assert!(!bytes[240..].windows(2).any(|w| w == [50, 4] || w == [54, 4]));
    }
}
