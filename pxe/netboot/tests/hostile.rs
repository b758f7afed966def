//! The DHCP engine against hostile input: any bytes, and real packets that were damaged. The other parsers and state
//! machines are in `targets.rs`.
//!
//! `PROPTEST_CASES` sets how many cases each property gets (default 256), `PROPTEST_RNG_SEED` makes
//! a run repeatable.

#[path = "support/mutation.rs"]
#[allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod mutation;
#[path = "support/packets.rs"]
mod packets;

use std::iter;
use std::time::Duration;

use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{MAX_REPLY, ProxyDhcp, Receive, Request, ServerConfig, Transmit};
use mutation::mutated_from;
use packets::{Everyone, all_captured, captured, on_67, on_4011, option, options, request};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

const NOW: Duration = Duration::from_secs(1000);

const DHCP: &[&str] = &[
    "ipxe-rom-bios-discover",
    "ipxe-rom-bios-request",
    "ipxe-snponly-discover",
    "ovmf-http-discover",
    "ovmf-pxe-boot-server-request",
    "ovmf-pxe-discover",
    "ovmf-pxe-request",
];

fn handle(rx: &Receive, bytes: &[u8]) -> Option<Transmit> {
    let mut engine = ProxyDhcp::new(ServerConfig { http_port: 7480 });
    engine.handle(NOW, rx, bytes, &Everyone::gets(BootPolicy::Image)).reply
}

/// Whatever was asked, the reply is a proxy's reply to the machine that asked.
fn check_reply(rx: &Receive, bytes: &[u8], reply: &Transmit) -> TestCaseResult {
    let asked = Request::parse(bytes).expect("what is answered parses");
    prop_assert!(asked.client().is_some());
    for payload in iter::once(&reply.payload).chain(&reply.also) {
        prop_assert!((300..=MAX_REPLY).contains(&payload.len()));
        prop_assert_eq!(&payload[4..8], asked.xid.to_be_bytes());
        prop_assert_eq!(&payload[16..20], &[0; 4][..], "no address is given out");
        prop_assert_eq!(&payload[28..34], &asked.mac.0[..]);
        prop_assert!(!options(payload).is_empty());
    }
    prop_assert!(reply.also.is_none() || reply.destination.ip().is_broadcast(), "two only on the wire itself");
    prop_assert_eq!(reply.source_port, rx.port);
    Ok(())
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..longest)
}

proptest! {
    #[test]
    fn dhcp_answers_no_arbitrary_bytes(bytes in bytes(700)) {
        prop_assert_eq!(handle(&on_67(), &bytes), None);
        prop_assert_eq!(handle(&on_4011(), &bytes), None);
    }

    #[test]
    fn dhcp_takes_any_bytes_as_options(options in bytes(400)) {
        let mut packet = request(&[(53, &[1]), (60, b"PXEClient"), (93, &[0, 0])]);
        packet.pop();
        packet.extend_from_slice(&options);
        if let Some(reply) = handle(&on_67(), &packet) {
            check_reply(&on_67(), &packet, &reply)?;
        }
    }

    #[test]
    fn dhcp_answers_made_up_options_only_if_eligible(list in prop::collection::vec((1_u8..255, bytes(40)), 0..12)) {
        let list: Vec<_> = list.iter().map(|(code, value)| (*code, value.as_slice())).collect();
        let has = |wanted: u8| list.iter().any(|(code, _)| *code == wanted);
        if handle(&on_67(), &request(&list)).is_some() {
            prop_assert!(has(53) && has(60));
        }
    }

    #[test]
    fn dhcp_replies_to_damaged_packets_keep_their_bounds(bytes in mutated_from(all_captured(DHCP))) {
        for rx in [on_67(), on_4011()] {
            if let Some(reply) = handle(&rx, &bytes) {
                check_reply(&rx, &bytes, &reply)?;
            }
        }
    }

    #[test]
    fn dhcp_keeps_its_bounds_over_a_history_of_damaged_packets(
        history in prop::collection::vec((mutated_from(all_captured(DHCP)), any::<bool>(), 0..60_u64), 1..20),
    ) {
        let mut engine = ProxyDhcp::new(ServerConfig { http_port: 7480 });
        let mut now = NOW;
        for (bytes, to_67, seconds) in &history {
            now += Duration::from_secs(*seconds);
            let rx = if *to_67 { on_67() } else { on_4011() };
            if let Some(reply) = engine.handle(now, &rx, bytes, &Everyone::gets(BootPolicy::Hold)).reply {
                check_reply(&rx, bytes, &reply)?;
            }
        }
        prop_assert!(engine.machines(now).len() <= history.len());
    }
}

#[test]
fn undamaged_packets_are_answered() {
    assert!(handle(&on_67(), &captured("ovmf-pxe-discover")).is_some_and(|reply| option(&reply.payload, 67).is_some()));
}
