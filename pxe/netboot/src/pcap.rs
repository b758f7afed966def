//! Packets of one machine in the form of a capture file (pcap, draft-ietf-opsawg-pcap), fit to be shown to strangers.

mod owner;

use std::time::Duration;

pub use owner::{concerns, has_address, own_address};

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// Tags of VLANs (IEEE 802.1Q) and of VLANs in VLANs, and how many are looked behind.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const MAX_TAGS: usize = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Extension headers of IPv6 with a length in their second byte, the one without, and how many are looked behind.
const EXTENSIONS: [u8; 4] = [0, 43, 60, 135];
const FRAGMENT: u8 = 44;
const MAX_EXTENSIONS: usize = 8;
/// What is kept of an ICMP message that quotes a packet: its own header, an IP header and two ports.
const QUOTE: usize = 8 + 20 + 4;
/// Longest packet that is kept.
pub const SNAP_LENGTH: u32 = 1514;

/// The start of a file: microseconds, little-endian, Ethernet.
#[must_use]
pub fn header() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0..4].copy_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    bytes[4..6].copy_from_slice(&2_u16.to_le_bytes());
    bytes[6..8].copy_from_slice(&4_u16.to_le_bytes());
    bytes[16..20].copy_from_slice(&SNAP_LENGTH.to_le_bytes());
    bytes[20..24].copy_from_slice(&1_u32.to_le_bytes());
    bytes
}

/// A packet as it stands in the file, `time` since 1970. What TCP carries is left out: a machine's ticket is in it. So is
/// what nobody here can read: it may carry TCP.
#[must_use]
pub fn record(time: Duration, frame: &[u8]) -> Vec<u8> {
    let kept = frame.len().min(SNAP_LENGTH as usize).min(fit_to_show(frame));
    let mut bytes = Vec::with_capacity(16 + kept);
    // The form counts seconds in 32 bits, until 2106.
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    for word in [seconds, time.subsec_micros(), length(kept), length(frame.len())] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&frame[..kept]);
    bytes
}

/// How much of a frame may be shown.
fn fit_to_show(frame: &[u8]) -> usize {
    let Some((kind, start)) = ethertype(frame) else { return frame.len().min(ETHERNET) };
    let Some(transport) = transport(frame) else {
        return if kind == ARP { frame.len() } else { start };
    };
    match transport.protocol {
        TCP if transport.is_later_fragment => transport.start,
        TCP => {
            let offset = frame.get(transport.start + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            // A header that is shorter than any is none: nothing behind the addresses is kept.
            transport.start + if offset < 20 { 0 } else { offset }
        }
        UDP => frame.len(),
        ICMP | ICMPV6 => {
            let kind = frame.get(transport.start).copied().unwrap_or(0);
            let quotes = if transport.protocol == ICMPV6 { kind < 128 } else { !matches!(kind, 0 | 8 | 9 | 10) };
            let is_whole = !transport.is_later_fragment && !quotes;
            if is_whole { frame.len() } else { transport.start + QUOTE }
        }
        _ => transport.start,
    }
}

/// What the frame carries and where that begins, behind the tags of VLANs.
fn ethertype(frame: &[u8]) -> Option<(u16, usize)> {
    let kind = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let (mut kind_now, mut start) = (kind(ETHERNET - 2)?, ETHERNET);
    for _ in 0..MAX_TAGS {
        if TAGS.contains(&kind_now) {
            (kind_now, start) = (kind(start + 2)?, start + 4);
        }
    }
    Some((kind_now, start))
}

/// Where the header behind IP begins.
struct Transport {
    protocol: u8,
    start: usize,
    /// Whether it is in an earlier packet, and this one goes on with what it carries.
    is_later_fragment: bool,
}

fn transport(frame: &[u8]) -> Option<Transport> {
    let (kind, at) = ethertype(frame)?;
    let packet = frame.get(at..)?;
    match kind {
        IPV4 => {
            let start = at + usize::from(packet.first()? & 0xf) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff;
            Some(Transport { protocol: *packet.get(9)?, start, is_later_fragment: fragment != 0 })
        }
        IPV6 => behind_extensions(frame, *packet.get(6)?, at + 40),
        _ => None,
    }
}

/// Looks behind the extension headers of IPv6 (RFC 8200, 4). A protocol number that is none of ours ends it.
fn behind_extensions(frame: &[u8], mut protocol: u8, mut start: usize) -> Option<Transport> {
    for _ in 0..MAX_EXTENSIONS {
        if protocol == FRAGMENT {
            let offset = u16::from_be_bytes([*frame.get(start + 2)?, *frame.get(start + 3)?]) & 0xfff8;
            (protocol, start) = (*frame.get(start)?, start + 8);
            if offset != 0 {
                return Some(Transport { protocol, start, is_later_fragment: true });
            }
        } else if EXTENSIONS.contains(&protocol) {
            let length = 8 * (1 + usize::from(*frame.get(start + 1)?));
            (protocol, start) = (*frame.get(start)?, start + length);
        } else {
            break;
        }
    }
    Some(Transport { protocol, start, is_later_fragment: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        let mut ip = [0; 20];
        (ip[0], ip[9]) = (0x45, protocol);
        frame.extend_from_slice(&ip);
        frame.extend_from_slice(transport);
        frame
    }

    #[test]
    fn what_tcp_carries_is_left_out() {
        let mut tcp = vec![0; 20];
        tcp[12] = 5 << 4;
        tcp.extend_from_slice(b"HTTP/1.1 200 OK and a ticket");
        let record = record(Duration::new(1, 5_000), &frame(TCP, &tcp));
        assert_eq!(record[..16], [1, 0, 0, 0, 5, 0, 0, 0, 54, 0, 0, 0, 82, 0, 0, 0]);
        assert_eq!(record.len(), 16 + 54);
    }

    /// A frame with this type behind its addresses, then this.
    fn of_type(parts: &[&[u8]]) -> Vec<u8> {
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &parts.concat()].concat()
    }

    #[test]
    fn a_ticket_is_left_out_however_it_is_wrapped() {
        let secret = b"a ticket";
        let (mut tcp, mut ipv4, mut ipv6) = ([0; 20], [0; 20], [0; 40]);
        (tcp[12], ipv4[0], ipv4[9], ipv6[0]) = (5 << 4, 0x45, TCP, 0x60);
        let packet = [&ipv4[..], &tcp, secret].concat();
        let (mut icmp, mut tunnel) = (ipv4, ipv4);
        (icmp[9], tunnel[9]) = (ICMP, 4);
        let with = |next: u8| {
            let mut header = ipv6;
            header[6] = next;
            header
        };
        let (tagged, extended): (&[u8], &[u8]) = (&[0x81, 0, 0, 5, 8, 0], &[TCP, 0, 0, 0, 0, 0, 0, 0]);
        for (name, frame) in [
            ("a VLAN", of_type(&[tagged, &packet])),
            ("a VLAN in a VLAN", of_type(&[&[0x88, 0xa8, 0, 7], tagged, &packet])),
            ("three VLANs", of_type(&[&[0x81, 0, 0, 7, 0x81, 0, 0, 7], tagged, &packet])),
            ("a hop-by-hop header", of_type(&[&[0x86, 0xdd], &with(0), extended, &tcp, secret])),
            ("a fragment", of_type(&[&[0x86, 0xdd], &with(FRAGMENT), &[TCP, 0, 0, 1, 0, 0, 0, 0], &tcp, secret])),
            ("a later fragment", of_type(&[&[0x86, 0xdd], &with(FRAGMENT), &[TCP, 0, 0, 8, 0, 0, 0, 0], secret])),
            ("an error that quotes it", of_type(&[&[8, 0], &icmp, &[3, 4, 0, 0, 0, 0, 0, 0], &packet])),
            ("a tunnel", of_type(&[&[8, 0], &tunnel, &packet])),
            ("PPPoE", of_type(&[&[0x88, 0x64], &packet])),
        ] {
            let kept = record(Duration::ZERO, &frame)[16..].to_vec();
            assert!(!kept.windows(secret.len()).any(|part| part == secret), "{name}: {kept:?}");
        }
        let arp = of_type(&[&[8, 6], &[1; 28]]);
        assert_eq!(record(Duration::ZERO, &arp)[16..], arp, "kept whole");
        let udp = frame(UDP, &[1; 248]);
        let tagged = [&udp[..12], &[0x81, 0, 0, 5], &udp[12..]].concat();
        assert_eq!(record(Duration::ZERO, &tagged)[16..], tagged, "so is UDP in a VLAN");
    }

    proptest! {
        #[test]
        fn no_frame_panics_or_grows(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
            prop_assert!(record(Duration::ZERO, &bytes).len() <= 16 + bytes.len().min(SNAP_LENGTH as usize));
        }

        #[test]
        fn no_tcp_payload_gets_through(offset in 0..0xaa_u8, payload in prop::collection::vec(Just(0xaa_u8), 1..200)) {
            let mut tcp = vec![0; 60];
            tcp[12] = offset;
            tcp.extend_from_slice(&payload);
            prop_assert!(!record(Duration::ZERO, &frame(TCP, &tcp))[16..].contains(&0xaa));
        }
    }
}
