//! Packets of one machine in the form of a capture file (pcap, draft-ietf-opsawg-pcap), fit to be shown to strangers.

use std::time::Duration;

use meadow_model::MacAddress;

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// From the start of a DHCP message to the client's hardware address (RFC 2131, 2).
const CHADDR: usize = 28;
const DHCP_PORTS: [u16; 3] = [67, 68, 4011];
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

/// A packet as it stands in the file, `time` since 1970. What TCP carries is left out: a machine's ticket is in it.
#[must_use]
pub fn record(time: Duration, frame: &[u8]) -> Vec<u8> {
    let kept = frame.len().min(SNAP_LENGTH as usize).min(without_tcp_payload(frame));
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

/// Whether a frame is from or for that machine: by its Ethernet addresses, or by the hardware address in a DHCP message,
/// since answers are broadcast.
#[must_use]
pub fn concerns(frame: &[u8], mac: MacAddress) -> bool {
    if frame.len() < ETHERNET {
        return false;
    }
    frame[..6] == mac.0 || frame[6..12] == mac.0 || dhcp_client(frame) == Some(&mac.0[..])
}

fn dhcp_client(frame: &[u8]) -> Option<&[u8]> {
    let transport = transport(frame).filter(|transport| transport.protocol == UDP)?;
    let udp = frame.get(transport.start..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let is_dhcp = DHCP_PORTS.contains(&port(0)?) && DHCP_PORTS.contains(&port(2)?);
    is_dhcp.then(|| udp.get(8 + CHADDR..8 + CHADDR + 6)).flatten()
}

fn without_tcp_payload(frame: &[u8]) -> usize {
    let Some(transport) = transport(frame) else { return frame.len() };
    if transport.protocol != TCP {
        return frame.len();
    }
    if transport.is_later_fragment {
        return transport.start;
    }
    let offset = frame.get(transport.start + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    // A header that is shorter than any is none: nothing behind the addresses is kept.
    transport.start + if offset < 20 { 0 } else { offset }
}

/// Where the header behind IP begins.
struct Transport {
    protocol: u8,
    start: usize,
    /// Whether it is in an earlier packet, and this one goes on with what it carries.
    is_later_fragment: bool,
}

fn transport(frame: &[u8]) -> Option<Transport> {
    let packet = frame.get(ETHERNET..)?;
    match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
        IPV4 => {
            let start = ETHERNET + usize::from(packet.first()? & 0xf) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff;
            Some(Transport { protocol: *packet.get(9)?, start, is_later_fragment: fragment != 0 })
        }
        // Boot clients send no extension headers before TCP.
        IPV6 => Some(Transport { protocol: *packet.get(6)?, start: ETHERNET + 40, is_later_fragment: false }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    fn frame(protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        let mut ip = [0; 20];
        (ip[0], ip[9]) = (0x45, protocol);
        frame.extend_from_slice(&ip);
        frame.extend_from_slice(transport);
        frame
    }

    fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 4], payload].concat()
    }

    #[test]
    fn a_broadcast_answer_belongs_to_the_machine_that_it_names() {
        let mut message = vec![0; 240];
        message[CHADDR..CHADDR + 6].copy_from_slice(&MAC.0);
        assert!(concerns(&frame(UDP, &udp(67, 68, &message)), MAC));
        assert!(!concerns(&frame(UDP, &udp(67, 53, &message)), MAC));
        assert!(!concerns(&frame(UDP, &udp(67, 68, &message)), MacAddress([2, 0, 0, 0, 0, 8])));
        assert!(concerns(&frame(TCP, &[]), MacAddress([2, 0, 0, 0, 0, 1])), "by its Ethernet address");
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

    proptest! {
        #[test]
        fn no_frame_panics_or_grows(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
            let _ = concerns(&bytes, MAC);
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
