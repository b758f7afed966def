//! The router advertisement that ends a boot loader's wait for an IPv6 router.
//!
//! iPXE goes on only when IPv6 too is settled. On a LAN without an IPv6 router it waits seconds
//! for an answer to its solicitation. An advertisement with lifetime 0, no prefix and no flags says
//! "no router here" (RFC 4861, 4.2) and changes nothing in any host; sent by unicast it is seen by
//! nobody else.

use std::net::Ipv6Addr;

use meadow_model::MacAddress;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;

/// Hop limit of every neighbour discovery packet (RFC 4861, 6.1): a router cannot have passed it on.
pub const HOP_LIMIT: u8 = 255;

/// The Ethernet address that a router solicitation comes from: from its source link-layer address
/// option, else from a link-local address made of it. `None` when the message is no valid
/// solicitation (RFC 4861, 6.1.1) or does not tell.
///
/// `message` begins at the ICMPv6 type; the kernel has checked the checksum.
#[must_use]
pub fn solicitation_sender(message: &[u8], source: Ipv6Addr, hop_limit: u8) -> Option<MacAddress> {
    let [ROUTER_SOLICITATION, 0, _, _, _, _, _, _, options @ ..] = message else { return None };
    if hop_limit != HOP_LIMIT || !source.is_unicast_link_local() {
        return None;
    }
    let mut mac = None;
    let mut options = options;
    while let [_, length, ..] = options {
        let size = usize::from(*length) * 8;
        // A length of 0 makes the whole message invalid.
        let option = options.get(..size).filter(|_| size > 0)?;
        if let ([SOURCE_LINK_LAYER_ADDRESS, 1, rest @ ..], None) = (option, mac) {
            mac = rest.try_into().ok().map(MacAddress);
        }
        options = &options[size..];
    }
    mac.or_else(|| eui64(source)).filter(|mac| mac.is_unicast())
}

/// Whether a message that names no sender is a solicitation that breaks the rules. Without an address a sender need not
/// tell its card (RFC 4861, 4.1), and other messages are for others.
#[must_use]
pub fn is_malformed_solicitation(message: &[u8], source: Ipv6Addr) -> bool {
    message.first() == Some(&ROUTER_SOLICITATION) && !source.is_unspecified()
}

/// An advertisement of no router. The kernel fills in the checksum of a raw ICMPv6 socket.
#[must_use]
pub fn empty_advertisement() -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = ROUTER_ADVERTISEMENT;
    message[4] = 64;
    message
}

/// Takes the Ethernet address back out of a modified EUI-64 interface identifier (RFC 4291, A).
fn eui64(address: Ipv6Addr) -> Option<MacAddress> {
    match address.octets() {
        [.., a, b, c, 0xff, 0xfe, d, e, f] => Some(MacAddress([a ^ 2, b, c, d, e, f])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
    const EUI64: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfe00, 0x0001);
    const OPAQUE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4);

    fn solicitation(options: &[u8]) -> Vec<u8> {
        let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(options);
        message
    }

    #[test]
    fn finds_the_sender() {
        let with_option = solicitation(&[1, 1, 0x52, 0x54, 0, 0, 0, 1]);
        assert_eq!(solicitation_sender(&with_option, OPAQUE, 255), Some(MAC));
        assert_eq!(solicitation_sender(&solicitation(&[]), EUI64, 255), Some(MAC));
        assert_eq!(solicitation_sender(&solicitation(&[]), OPAQUE, 255), None);
    }

    #[test]
    fn refuses_what_is_no_valid_solicitation() {
        let good = solicitation(&[1, 1, 0x52, 0x54, 0, 0, 0, 1]);
        assert_eq!(solicitation_sender(&good, OPAQUE, 64), None, "came through a router");
        assert_eq!(solicitation_sender(&good, Ipv6Addr::UNSPECIFIED, 255), None);
        assert_eq!(solicitation_sender(&good[..7], OPAQUE, 255), None);
        assert_eq!(solicitation_sender(&solicitation(&[1, 0, 0, 0, 0, 0, 0, 0]), EUI64, 255), None);
        assert_eq!(solicitation_sender(&solicitation(&[1, 2, 0, 0, 0, 0, 0, 0]), EUI64, 255), None);
        let mut advertisement = good.clone();
        advertisement[0] = 134;
        assert_eq!(solicitation_sender(&advertisement, OPAQUE, 255), None);
    }

    #[test]
    fn advertisement_promises_nothing() {
        let message = empty_advertisement();
        assert_eq!(message[0], 134);
        assert_eq!(message[5], 0, "no flags");
        assert_eq!(message[6..8], [0, 0], "lifetime 0");
    }
}
