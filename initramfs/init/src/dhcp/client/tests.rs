use proptest::prelude::*;

use super::*;
use crate::dhcp::reply::tests::packet;

const MAC: Mac = [0x52, 0x54, 0, 0, 0, 1];
const ROUTER_MAC: Mac = [2, 2, 2, 2, 2, 2];
const OFFERED: [u8; 4] = [192, 0, 2, 10];
const TYPE_OFFER: u8 = 2;
const TYPE_ACK: u8 = 5;
const TYPE_NAK: u8 = 6;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn router(kind: u8, xid: u32) -> Reply {
    let yiaddr = if kind == TYPE_NAK { [0; 4] } else { OFFERED };
    let options: [&[u8]; 4] =
        [&[53, 1, kind], &[54, 4, 192, 0, 2, 1], &[1, 4, 255, 255, 255, 0], &[51, 4, 0, 0, 3, 32]];
    Reply::parse(&packet(xid, yiaddr, MAC, &options)).unwrap()
}

fn proxy(xid: u32, class: &[u8], url: &[u8]) -> Reply {
    let option = |code: u8, value: &[u8]| [&[code, u8::try_from(value.len()).unwrap()], value].concat();
    let (class, url) = (option(60, class), option(67, url));
    let options: [&[u8]; 3] = [&[53, 1, TYPE_OFFER, 54, 4, 192, 0, 2, 2], &class, &url];
    Reply::parse(&packet(xid, [0; 4], MAC, &options)).unwrap()
}

fn meadow(xid: u32) -> Reply {
    proxy(xid, VENDOR_CLASS, b"http://192.0.2.2:7480/\0")
}

fn xid_of(message: &[u8]) -> u32 {
    u32::from_be_bytes(message[4..8].try_into().unwrap())
}

/// The only message in `out`, which must be a send.
fn sent(out: &[Output]) -> (Destination, Vec<u8>) {
    let mut sends = out.iter().filter_map(|output| match output {
        Output::Send(destination, message) => Some((*destination, message.clone())),
        _ => None,
    });
    let only = sends.next().expect("something is sent");
    assert_eq!(sends.next(), None, "only one message at a time");
    only
}

/// A client that has just sent its first DISCOVER.
fn discovering() -> (Client, u32) {
    let mut client = Client::new(MAC, 42, secs(0));
    let (destination, message) = sent(&client.tick(secs(0)));
    assert_eq!(destination, Destination::Broadcast);
    let xid = xid_of(&message);
    (client, xid)
}

fn bound() -> (Client, u32) {
    let (mut client, xid) = discovering();
    client.handle(&router(TYPE_OFFER, xid), ROUTER_MAC, secs(0));
    let out = client.handle(&router(TYPE_ACK, xid), ROUTER_MAC, secs(0));
    assert!(matches!(out.as_slice(), [Output::Leased(lease)] if lease.address == Ipv4Addr::from(OFFERED)));
    (client, xid)
}

#[test]
fn lease_and_server_in_either_order() {
    for proxy_first in [true, false] {
        let (mut client, xid) = discovering();
        let mut out = Vec::new();
        if proxy_first {
            out.extend(client.handle(&meadow(xid), ROUTER_MAC, secs(0)));
        }
        out.extend(client.handle(&router(TYPE_OFFER, xid), ROUTER_MAC, secs(0)));
        let (_, request) = sent(&out);
        assert_eq!(xid_of(&request), xid, "the REQUEST belongs to the same transaction");
        out.extend(client.handle(&router(TYPE_ACK, xid), ROUTER_MAC, secs(0)));
        if !proxy_first {
            out.extend(client.handle(&meadow(xid), ROUTER_MAC, secs(1)));
        }
        assert!(out.iter().any(|o| matches!(o, Output::Leased(_))));
        assert!(out.iter().any(|o| matches!(o, Output::Server(url) if url.to_string() == "http://192.0.2.2:7480/")));
        assert_eq!(client.deadline(), secs(400), "nothing left to do but to renew (proxy first: {proxy_first})");
    }
}

#[test]
fn discovers_for_ever_with_growing_pauses() {
    let (mut client, first) = discovering();
    let mut now = secs(0);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let next = client.deadline();
        pauses.push((next - now).as_secs_f64());
        now = next;
        assert_eq!(xid_of(&sent(&client.tick(now)).1), first, "late offers must still match");
    }
    for (pause, expected) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0, 16.0]) {
        assert!((pause / expected - 1.0).abs() < 0.11, "{pauses:?}");
    }
}

#[test]
fn searches_for_the_server_while_the_lease_is_fine() {
    let (mut client, _) = bound();
    let now = client.deadline();
    assert_eq!(now, secs(1));
    let (destination, message) = sent(&client.tick(now));
    assert_eq!(destination, Destination::Broadcast);
    let search = xid_of(&message);
    assert_eq!(
        client.handle(&router(TYPE_OFFER, search), ROUTER_MAC, now),
        [],
        "the router's second offer is not needed"
    );
    let out = client.handle(&meadow(search), ROUTER_MAC, now);
    assert!(matches!(out.as_slice(), [Output::Server(_)]));
    assert_eq!(client.deadline(), secs(400));
    client.search_again(secs(50));
    assert_eq!(client.deadline(), secs(50));
}

#[test]
fn only_a_meadow_offer_with_a_literal_url_is_a_server() {
    let cases: [(&[u8], &[u8]); 4] = [
        (b"PXEClient", b"http://192.0.2.2:7480/"),
        (b"Meadow:2", b"http://192.0.2.2:7480/"),
        (VENDOR_CLASS, b"undionly.kpxe"),
        (VENDOR_CLASS, b"http://evil.example/"),
    ];
    for (class, url) in cases {
        let (mut client, xid) = discovering();
        assert_eq!(client.handle(&proxy(xid, class, url), ROUTER_MAC, secs(0)), []);
    }
}

#[test]
fn answers_to_others_are_ignored() {
    let (mut client, xid) = discovering();
    assert_eq!(client.handle(&router(TYPE_OFFER, xid ^ 1), ROUTER_MAC, secs(0)), []);
    let mut other = router(TYPE_OFFER, xid);
    other.mac = [9; 6];
    assert_eq!(client.handle(&other, ROUTER_MAC, secs(0)), []);
    assert_eq!(client.handle(&router(TYPE_ACK, xid), ROUTER_MAC, secs(0)), [], "nothing was requested");
}

#[test]
fn a_refused_request_starts_over_with_another_transaction() {
    let (mut client, xid) = discovering();
    client.handle(&router(TYPE_OFFER, xid), ROUTER_MAC, secs(0));
    let out = client.handle(&router(TYPE_NAK, xid), ROUTER_MAC, secs(0));
    assert!(matches!(out.as_slice(), [Output::Note(_)]));
    assert_eq!(client.tick(secs(0)), [], "not at once: a stubborn server would be flooded");
    assert_ne!(xid_of(&sent(&client.tick(secs(1))).1), xid);
}

#[test]
fn a_silent_server_is_given_up() {
    let (mut client, xid) = discovering();
    client.handle(&router(TYPE_OFFER, xid), ROUTER_MAC, secs(0));
    let mut requests = 1;
    loop {
        let now = client.deadline();
        let out = client.tick(now);
        if out.iter().any(|o| matches!(o, Output::Note(_))) {
            break;
        }
        sent(&out);
        requests += 1;
    }
    assert_eq!(requests, REQUESTS_AN_OFFER);
}

#[test]
fn renews_by_unicast_then_broadcast_then_loses_the_lease() {
    let (mut client, xid) = bound();
    client.handle(&meadow(xid), ROUTER_MAC, secs(0));
    let mut seen = Vec::new();
    loop {
        let now = client.deadline();
        let out = client.tick(now);
        if out.iter().any(|o| matches!(o, Output::Lost(_))) {
            assert_eq!(now, secs(800));
            break;
        }
        seen.push((now.as_secs(), sent(&out).0));
    }
    let ours = Ipv4Addr::from(OFFERED);
    let unicast = Destination::Server { from: ours, to: Ipv4Addr::new(192, 0, 2, 1), mac: ROUTER_MAC };
    assert_eq!(seen.first(), Some(&(400, unicast)));
    assert_eq!(seen.last().map(|s| s.1), Some(Destination::BroadcastFrom(ours)));
    assert!(seen.iter().all(|(at, to)| (*at < 700) == (*to == unicast)), "{seen:?}");
    assert_eq!(sent(&client.tick(secs(800))).0, Destination::Broadcast, "and begins again");
}

#[test]
fn an_extended_lease_is_used_on() {
    let (mut client, xid) = bound();
    client.handle(&meadow(xid), ROUTER_MAC, secs(0));
    let renewal = xid_of(&sent(&client.tick(secs(400))).1);
    let out = client.handle(&router(TYPE_ACK, renewal), ROUTER_MAC, secs(401));
    assert!(matches!(out.as_slice(), [Output::Leased(_)]));
    assert_eq!(client.deadline(), secs(801));
    let renewal = xid_of(&sent(&client.tick(secs(801))).1);
    let out = client.handle(&router(TYPE_NAK, renewal), ROUTER_MAC, secs(801));
    assert!(matches!(out.as_slice(), [Output::Lost(_)]));
}

proptest! {
    /// Whatever comes, the client goes on: it never panics, never floods, and a router that
    /// answers properly afterwards still gives it a lease.
    #[test]
    fn any_history_ends_in_a_lease(
        seed in any::<u64>(),
        history in proptest::collection::vec((0..5_u8, any::<bool>(), 0..100_u64), 0..60),
    ) {
        let mut client = Client::new(MAC, seed, secs(0));
        let mut now = secs(0);
        let mut xid = 0;
        let track = |out: &[Output], xid: &mut u32| {
            assert!(out.iter().filter(|o| matches!(o, Output::Send(..))).count() <= 2);
            for output in out {
                if let Output::Send(_, message) = output { *xid = xid_of(message); }
            }
        };
        for (what, known, pass) in history {
            now += secs(pass);
            let id = if known { xid } else { xid ^ 7 };
            let out = match what {
                0 => client.tick(now),
                1 => client.handle(&router(TYPE_OFFER, id), ROUTER_MAC, now),
                2 => client.handle(&router(TYPE_ACK, id), ROUTER_MAC, now),
                3 => client.handle(&router(TYPE_NAK, id), ROUTER_MAC, now),
                _ => client.handle(&meadow(id), ROUTER_MAC, now),
            };
            track(&out, &mut xid);
        }
        client.restart(now);
        let (_, message) = sent(&client.tick(now));
        let xid = xid_of(&message);
        client.handle(&router(TYPE_OFFER, xid), ROUTER_MAC, now);
        let out = client.handle(&router(TYPE_ACK, xid), ROUTER_MAC, now);
        prop_assert!(out.iter().any(|o| matches!(o, Output::Leased(_))));
    }
}
