//! Parsers and engines against hostile input: any bytes, and real packets that were damaged.
//!
//! `PROPTEST_CASES` sets how many cases each property gets (default 256), `PROPTEST_RNG_SEED` makes
//! a run repeatable.

#[path = "support/mutation.rs"]
#[allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod mutation;
#[path = "support/packets.rs"]
mod packets;

use std::net::Ipv6Addr;
use std::time::Duration;

use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{MAX_REPLY, ProxyDhcp, Receive, Request, ServerConfig, Transmit};
use meadow_netboot::http::{MAX_HEAD, Parsed, RequestHead};
use meadow_netboot::icmpv6::solicitation_sender;
use meadow_netboot::route::{Route, is_artifact_name};
use meadow_netboot::tftp::{MAX_BLOCK_SIZE, MAX_WINDOW, Output, ReadRequest, Transfer};
use mutation::mutated;
use packets::{Everyone, captured, on_67, on_4011, option, options, request};
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
const TFTP: &[&str] = &["ovmf-tftp-read", "ovmf-tftp-size"];
const HTTP: &[&str] = &["curl-http-range", "ipxe-rom-http-get"];
const ICMPV6: &[&str] = &["ipxe-rom-router-solicitation"];

fn handle(rx: &Receive, bytes: &[u8]) -> Option<Transmit> {
    let mut engine = ProxyDhcp::new(ServerConfig { http_port: 7480 });
    engine.handle(NOW, rx, bytes, &Everyone::gets(BootPolicy::Image)).reply
}

/// Whatever was asked, the reply is a proxy's reply to the machine that asked.
fn check_reply(rx: &Receive, bytes: &[u8], reply: &Transmit) -> TestCaseResult {
    let asked = Request::parse(bytes).expect("what is answered parses");
    prop_assert!(asked.client().is_some());
    prop_assert!((300..=MAX_REPLY).contains(&reply.payload.len()));
    prop_assert_eq!(&reply.payload[4..8], asked.xid.to_be_bytes());
    prop_assert_eq!(&reply.payload[16..20], &[0; 4][..], "no address is given out");
    prop_assert_eq!(&reply.payload[28..34], &asked.mac.0[..]);
    prop_assert!(!options(&reply.payload).is_empty());
    prop_assert_eq!(reply.source_port, rx.port);
    Ok(())
}

/// What a read request leads to stays in the served folder and within the bounds of a packet.
fn check_tftp(datagram: &[u8]) -> TestCaseResult {
    match ReadRequest::parse(datagram) {
        Err(error) => prop_assert!(error.packet().is_none_or(|packet| packet.len() <= 205)),
        Ok(request) => {
            prop_assert!(is_artifact_name(&request.name), "{:?}", request.name);
            match Transfer::start(NOW, &request, 1_000_000).1 {
                Output::Packet(packet) => prop_assert!(packet.len() <= 512),
                Output::Blocks(window) => {
                    prop_assert!(window.blocks <= MAX_WINDOW && window.block_size <= MAX_BLOCK_SIZE);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
    Ok(())
}

/// A head that is read ends where it says, whatever follows it, and names nothing outside.
fn check_http(bytes: &[u8]) -> TestCaseResult {
    let Ok(Parsed::Complete(head, length)) = RequestHead::parse(bytes) else { return Ok(()) };
    prop_assert!(length <= bytes.len() && length <= MAX_HEAD);
    prop_assert_eq!(RequestHead::parse(&bytes[..length - 1]), Ok(Parsed::Incomplete));
    prop_assert!(head.path.starts_with('/'));
    if let Some(Route::Artifact(name)) = Route::parse(&head.path) {
        prop_assert!(is_artifact_name(name), "{name:?}");
    }
    if let Some(part) = head.range.and_then(|range| range.resolve(1000)) {
        prop_assert!(part.length > 0 && part.start + part.length <= 1000);
    }
    Ok(())
}

/// A sender is told only of a solicitation that no router has passed on, and is one card.
fn check_solicitation(message: &[u8], source: Ipv6Addr, hop_limit: u8) -> TestCaseResult {
    if let Some(mac) = solicitation_sender(message, source, hop_limit) {
        prop_assert!(mac.is_unicast());
        prop_assert_eq!((message[0], hop_limit), (133, 255));
        prop_assert!(source.is_unicast_link_local());
    }
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
    fn dhcp_replies_to_damaged_packets_keep_their_bounds(bytes in mutated(DHCP)) {
        for rx in [on_67(), on_4011()] {
            if let Some(reply) = handle(&rx, &bytes) {
                check_reply(&rx, &bytes, &reply)?;
            }
        }
    }

    #[test]
    fn dhcp_keeps_its_bounds_over_a_history_of_damaged_packets(
        history in prop::collection::vec((mutated(DHCP), any::<bool>(), 0..60_u64), 1..20),
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

    #[test]
    fn tftp_takes_any_bytes(bytes in bytes(600)) {
        check_tftp(&bytes)?;
    }

    #[test]
    fn tftp_takes_any_strings_in_a_read_request(strings in prop::collection::vec(bytes(40), 0..12)) {
        let mut packet = vec![0, 1];
        for string in strings {
            packet.extend_from_slice(&string);
            packet.push(0);
        }
        check_tftp(&packet)?;
    }

    #[test]
    fn tftp_takes_damaged_requests(bytes in mutated(TFTP)) {
        check_tftp(&bytes)?;
    }

    #[test]
    fn http_takes_any_bytes(bytes in bytes(300)) {
        check_http(&bytes)?;
    }

    #[test]
    fn http_takes_damaged_requests(bytes in mutated(HTTP)) {
        check_http(&bytes)?;
    }

    #[test]
    fn icmpv6_takes_any_bytes(bytes in bytes(100), source in any::<[u8; 16]>(), hop_limit in any::<u8>()) {
        check_solicitation(&bytes, source.into(), hop_limit)?;
    }

    #[test]
    fn icmpv6_takes_damaged_solicitations(
        bytes in mutated(ICMPV6),
        source in prop_oneof![Just([0; 8]), Just([0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 3]), any::<[u8; 8]>()],
        hop_limit in prop_oneof![Just(255), any::<u8>()],
    ) {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&[0xfe, 0x80]);
        address[8..].copy_from_slice(&source);
        check_solicitation(&bytes, address.into(), hop_limit)?;
    }
}

#[test]
fn undamaged_packets_pass_the_checks_and_are_answered() {
    assert!(handle(&on_67(), &captured("ovmf-pxe-discover")).is_some_and(|reply| option(&reply.payload, 67).is_some()));
    assert!(TFTP.iter().all(|name| ReadRequest::parse(&captured(name)).is_ok()));
    assert!(HTTP.iter().all(|name| matches!(RequestHead::parse(&captured(name)), Ok(Parsed::Complete(..)))));
    let sender = |name: &&str| solicitation_sender(&captured(name), "fe80::1".parse().expect("an address"), 255);
    assert!(ICMPV6.iter().all(|name| sender(name).is_some()));
}
