//! IPv4 and UDP headers around DHCP, for a packet socket that has no address yet.

use std::net::Ipv4Addr;

const IP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const UDP: u8 = 17;

/// Wraps a DHCP message in UDP 68 → 67 and IPv4 (RFC 768, RFC 791).
#[must_use]
pub fn encapsulate(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let total = IP_LEN + UDP_LEN + payload.len();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&[0x45, 0x10]); // version 4, 5 words; low delay
    out.extend_from_slice(&length(total));
    out.extend_from_slice(&[0, 0, 0x40, 0]); // id 0, don't fragment
    out.extend_from_slice(&[64, UDP, 0, 0]); // time to live, protocol, checksum to come
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&destination.octets());
    let sum = checksum(&out, 0);
    out[10..12].copy_from_slice(&sum.to_be_bytes());

    out.extend_from_slice(&68_u16.to_be_bytes());
    out.extend_from_slice(&67_u16.to_be_bytes());
    out.extend_from_slice(&length(UDP_LEN + payload.len()));
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(payload);
    let sum = match checksum(&out[IP_LEN..], pseudo_header(&out)) {
        0 => 0xffff, // zero on the wire would mean "no checksum"
        sum => sum,
    };
    out[IP_LEN + 6..IP_LEN + 8].copy_from_slice(&sum.to_be_bytes());
    out
}

/// The DHCP message inside an IPv4 packet from port 67 to port 68, or `None` if it is anything
/// else, a fragment, or damaged.
///
/// `checksum_ready` is false where the kernel says that the sender left the UDP checksum to its
/// network card (as machines on the same host do).
#[must_use]
pub fn decapsulate(packet: &[u8], checksum_ready: bool) -> Option<&[u8]> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    if packet[0] >> 4 != 4 || header_len < IP_LEN || packet.len() < header_len {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let packet = packet.get(..total)?; // Ethernet pads short frames
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    if *packet.get(9)? != UDP || fragment != 0 || checksum(packet.get(..header_len)?, 0) != 0 {
        return None;
    }
    let datagram = packet.get(header_len..)?;
    let (header, _) = datagram.split_at_checked(UDP_LEN)?;
    let udp_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[..4] != [0, 67, 0, 68] || udp_len < UDP_LEN {
        return None;
    }
    let datagram = datagram.get(..udp_len)?;
    let has_checksum = header[6..8] != [0, 0];
    if checksum_ready && has_checksum {
        let pseudo = addresses_sum(packet) + u32::from(UDP) + u32::try_from(udp_len).ok()?;
        if checksum(datagram, pseudo) != 0 {
            return None;
        }
    }
    datagram.get(UDP_LEN..)
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// Sum of the pseudo header of RFC 768 for a whole packet with a header of five words.
fn pseudo_header(packet: &[u8]) -> u32 {
    let udp_len = u32::try_from(packet.len() - IP_LEN).unwrap_or(u32::MAX);
    addresses_sum(packet) + u32::from(UDP) + udp_len
}

fn addresses_sum(packet: &[u8]) -> u32 {
    words(&packet[12..20]).sum()
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
}

/// The Internet checksum (RFC 1071), starting from a partial sum.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = words(bytes).fold(start, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server would send: ports turned round, checksums right again (the ports' sum is
    /// the same, so they stay right).
    fn from_server(payload: &[u8]) -> Vec<u8> {
        let mut packet = encapsulate(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::BROADCAST, payload);
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet
    }

    #[test]
    fn checksum_of_a_known_header() {
        // The example of RFC 1071 §3.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0), !0xddf2);
    }

    #[test]
    fn ethernet_padding_is_cut_off() {
        let mut packet = from_server(b"hello");
        packet.extend_from_slice(&[0; 20]);
        assert_eq!(decapsulate(&packet, true), Some(b"hello".as_slice()));
    }

    #[test]
    fn a_partial_checksum_counts_only_where_it_is_ready() {
        let mut packet = from_server(b"hello");
        packet[26] ^= 0x55;
        assert_eq!(decapsulate(&packet, true), None);
        assert_eq!(decapsulate(&packet, false), Some(b"hello".as_slice()));
    }

    #[test]
    fn other_traffic_is_not_ours() {
        let sent_by_us = encapsulate(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"x");
        assert_eq!(decapsulate(&sent_by_us, true), None);
        let mut fragment = from_server(b"hello");
        fragment[6] = 0x20;
        assert_eq!(decapsulate(&fragment, true), None);
        assert_eq!(decapsulate(&[], true), None);
    }

    proptest! {
        #[test]
        fn what_is_wrapped_comes_out(payload in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let packet = from_server(&payload);
            prop_assert_eq!(decapsulate(&packet, true), Some(payload.as_slice()));
        }

        #[test]
        fn a_flipped_bit_is_noticed(payload in proptest::collection::vec(any::<u8>(), 1..64), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut packet = from_server(&payload);
            let at = at.index(packet.len());
            packet[at] ^= 1 << bit;
            prop_assume!(packet[26..28] != [0, 0], "a zero checksum means there is none");
            prop_assert_ne!(decapsulate(&packet, true), Some(payload.as_slice()));
        }

        #[test]
        fn never_panics(packet in proptest::collection::vec(any::<u8>(), 0..200), ready in any::<bool>()) {
            let _ = decapsulate(&packet, ready);
        }

        #[test]
        fn never_panics_behind_a_sound_header(mut packet in proptest::collection::vec(any::<u8>(), 20..200), total in 0..220_u16) {
            packet[0] = 0x45;
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            packet[6..10].copy_from_slice(&[0, 0, 64, UDP]);
            packet[10..12].copy_from_slice(&[0, 0]);
            let sum = checksum(&packet[..20], 0);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            let _ = decapsulate(&packet, true);
        }
    }
}
