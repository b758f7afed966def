//! The DHCP server and the eye on other servers against hostile input; see `hostile.rs`.

#[path = "support/leases.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "helpers of the tests in this folder")]
mod leases;
#[path = "support/mutation.rs"]
#[allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod mutation;
#[path = "support/packets.rs"]
#[allow(dead_code, reason = "helpers of the tests in this folder")]
mod packets;

use std::net::Ipv4Addr;

use leases::{Client, RELAY, Server, kind, pool, relayed, yiaddr};
use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{LeaseOutcome, MAX_REPLY, OtherServer, Silence};
use mutation::mutated_from;
use packets::{SERVER, all_captured, on_67, options, request};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

const DHCP: &[&str] = &[
    "ipxe-rom-bios-discover",
    "ipxe-rom-bios-request",
    "ipxe-snponly-discover",
    "ovmf-http-discover",
    "ovmf-pxe-boot-server-request",
    "ovmf-pxe-discover",
    "ovmf-pxe-request",
];

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..longest)
}

/// Whatever was asked, the answer is one, to the one who asked, with an address of the pool or none.
fn check(asked: &[u8], outcome: &LeaseOutcome) -> TestCaseResult {
    if let Some(record) = &outcome.record {
        prop_assert!((pool(10)..=pool(13)).contains(&record.address) || record.address.octets()[1] == 78);
    }
    let Some(reply) = &outcome.reply else { return Ok(()) };
    let payload = &reply.payload;
    prop_assert!((300..=MAX_REPLY).contains(&payload.len()));
    prop_assert_eq!(payload[0], 2);
    prop_assert_eq!(&payload[4..8], &asked[4..8]);
    prop_assert_eq!(&payload[28..34], &asked[28..34]);
    prop_assert!(matches!(kind(payload), 2 | 5 | 6));
    prop_assert!(!options(payload).is_empty());
    let address = yiaddr(payload);
    let is_pooled = (pool(10)..=pool(13)).contains(&address);
    prop_assert!(address.is_unspecified() || is_pooled || address.octets()[..3] == [10, 78, 0]);
    prop_assert!(outcome.record.is_none() || kind(payload) == 5);
    let to = *reply.destination.ip();
    prop_assert!(to.is_broadcast() || to == Ipv4Addr::from(<[u8; 4]>::try_from(&asked[24..28]).expect("four")));
    Ok(())
}

proptest! {
    #[test]
    fn leases_answer_no_arbitrary_bytes(bytes in bytes(700)) {
        let nothing = LeaseOutcome { silence: Some(Silence::Malformed), ..LeaseOutcome::default() };
        prop_assert_eq!(Server::new(BootPolicy::Image).handle(&on_67(), &bytes), nothing);
    }

    #[test]
    fn leases_take_any_bytes_as_options(kind in 0..10_u8, tail in bytes(900)) {
        let mut packet = request(&[(53, &[kind])]);
        packet.pop();
        packet.extend_from_slice(&tail);
        check(&packet, &Server::new(BootPolicy::Image).handle(&on_67(), &packet))?;
    }

    #[test]
    fn leases_keep_their_bounds_over_a_history_of_damaged_packets(
        history in prop::collection::vec((mutated_from(all_captured(DHCP)), any::<bool>(), 0..4000_u64), 1..20),
    ) {
        let mut server = Server::new(BootPolicy::Image);
        for (bytes, is_relayed, seconds) in history {
            server.pass(seconds);
            let bytes = if is_relayed && bytes.len() > 240 { relayed(bytes, RELAY) } else { bytes };
            check(&bytes, &server.handle(&on_67(), &bytes))?;
        }
        prop_assert!(server.leases.records(server.now).len() <= 6, "bounded by the pools");
    }

    #[test]
    fn other_servers_are_read_from_any_bytes(packet in bytes(700)) {
        prop_assert_eq!(OtherServer::parse(&packet, SERVER), None);
    }

    #[test]
    fn other_servers_are_read_from_damaged_packets(head in bytes(28), payload in mutated_from(all_captured(DHCP))) {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 255, 255, 255, 255, 0, 67, 0, 68, 0, 0, 0, 0];
        packet[1..=head.len().min(3)].copy_from_slice(&head[..head.len().min(3)]);
        packet.extend_from_slice(&payload);
        if let Some(byte) = packet.get_mut(28) {
            *byte = 2;
        }
        if let Some(other) = OtherServer::parse(&packet, SERVER) {
            prop_assert!(other.leases || other.boots);
        }
    }
}

#[test]
fn undamaged_packets_pass_the_checks_and_are_answered() {
    let mut server = Server::new(BootPolicy::Image);
    for packet in DHCP.iter().filter(|name| name.ends_with("discover")) {
        let bytes = packets::captured(packet);
        let outcome = server.handle(&on_67(), &bytes);
        assert!(outcome.reply.is_some(), "{packet}");
        check(&bytes, &outcome).expect("within the bounds");
    }
    assert!(server.lease(&Client::new(1)).is_some() || server.leases.records(server.now).is_empty());
}
