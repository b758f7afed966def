//! Which packets are one machine's.

use std::net::Ipv4Addr;

use meadow_model::MacAddress;

use super::{ETHERNET, IPV4, UDP, ethertype, transport};
use crate::dhcp::Request;

/// From the start of a DHCP message to the client's hardware address (RFC 2131, 2).
const CHADDR: usize = 28;
const DHCP_PORTS: [u16; 3] = [67, 68, 4011];
const UDP_HEADER: usize = 8;

/// Whether a frame is from or for that machine: by its Ethernet addresses, or by the hardware address in a DHCP message,
/// since answers are broadcast, and a relay sends in its own name.
#[must_use]
pub fn concerns(frame: &[u8], mac: MacAddress) -> bool {
    if frame.len() < ETHERNET {
        return false;
    }
    frame[..6] == mac.0 || frame[6..12] == mac.0 || dhcp_message(frame, mac).is_some()
}

/// Whether a frame is from or for this address: what a machine behind a router sends has the router's Ethernet address.
#[must_use]
pub fn has_address(frame: &[u8], address: Ipv4Addr) -> bool {
    let Some((IPV4, at)) = ethertype(frame) else { return false };
    [12, 16].iter().any(|field| frame.get(at + field..at + field + 4) == Some(&address.octets()[..]))
}

/// The address that a DHCP request of this machine shows to be its own: the one that it takes, or has.
#[must_use]
pub fn own_address(frame: &[u8], mac: MacAddress) -> Option<Ipv4Addr> {
    Request::parse(dhcp_message(frame, mac)?).ok()?.own_address()
}

/// The DHCP message of or for this machine in a frame.
fn dhcp_message(frame: &[u8], mac: MacAddress) -> Option<&[u8]> {
    let transport = transport(frame).filter(|transport| transport.protocol == UDP)?;
    let udp = frame.get(transport.start..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let is_dhcp = DHCP_PORTS.contains(&port(0)?) && DHCP_PORTS.contains(&port(2)?);
    let message = udp.get(UDP_HEADER..).filter(|_| is_dhcp)?;
    (message.get(CHADDR..CHADDR + 6) == Some(&mac.0[..])).then_some(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
    const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 8]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    /// A frame of another card to all.
    fn frame(from: Ipv4Addr, to: Ipv4Addr, ports: [u16; 2], message: &[u8]) -> Vec<u8> {
        let mut ip = [0; 20];
        (ip[0], ip[9]) = (0x45, UDP);
        ip[12..16].copy_from_slice(&from.octets());
        ip[16..].copy_from_slice(&to.octets());
        let [source, destination] = ports.map(u16::to_be_bytes);
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 0], &ip, &source, &destination, &[0; 4], message].concat()
    }

    /// A DHCP message of the machine with these options.
    fn message(options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[CHADDR..CHADDR + 6].copy_from_slice(&MAC.0);
        message[236..].copy_from_slice(&[99, 130, 83, 99]);
        [&message, options, &[255]].concat()
    }

    fn by_relay(message: &[u8]) -> Vec<u8> {
        frame(Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(192, 0, 2, 2), [67, 67], message)
    }

    #[test]
    fn a_broadcast_answer_belongs_to_the_machine_that_it_names() {
        let any = Ipv4Addr::BROADCAST;
        let dhcp = frame(any, any, [67, 68], &message(&[]));
        assert!(concerns(&dhcp, MAC) && !concerns(&dhcp, OTHER));
        assert!(!concerns(&frame(any, any, [67, 53], &message(&[])), MAC));
        assert!(concerns(&frame(any, any, [1, 1], &[]), MacAddress([2, 0, 0, 0, 0, 1])), "by its Ethernet address");
        let tagged = [&dhcp[..12], &[0x81, 0, 0, 5], &dhcp[12..]].concat();
        assert!(concerns(&tagged, MAC), "in a VLAN");
    }

    #[test]
    fn what_a_machine_behind_a_relay_takes_is_its_address() {
        let option_50 = [&[50, 4][..], &ADDRESS.octets()].concat();
        let takes = by_relay(&message(&[&[53, 1, 3][..], &option_50].concat()));
        assert_eq!(own_address(&takes, MAC), Some(ADDRESS));
        assert_eq!(own_address(&takes, OTHER), None);
        let wishes = by_relay(&message(&[&[53, 1, 1][..], &option_50].concat()));
        assert_eq!(own_address(&wishes, MAC), None, "it may be given another one");
        let mut renews = message(&[53, 1, 3]);
        renews[12..16].copy_from_slice(&ADDRESS.octets());
        assert_eq!(own_address(&by_relay(&renews), MAC), Some(ADDRESS));
    }

    #[test]
    fn packets_from_and_to_an_address_are_told_from_others() {
        let (router, server) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        for (from, to, is_its) in [(ADDRESS, server, true), (server, ADDRESS, true), (router, server, false)] {
            let frame = frame(from, to, [2000, 69], b"any");
            assert_eq!(has_address(&frame, ADDRESS), is_its, "{from} to {to}");
            let tagged = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
            assert_eq!(has_address(&tagged, ADDRESS), is_its, "{from} to {to} in a VLAN");
        }
    }

    proptest! {
        #[test]
        fn no_frame_panics(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
            for bytes in [by_relay(&bytes), bytes] {
                let _ = (concerns(&bytes, MAC), has_address(&bytes, ADDRESS), own_address(&bytes, MAC));
            }
        }
    }
}
