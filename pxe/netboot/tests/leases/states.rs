//! Which message is answered how: RFC 2131's table of states, and what is not answered.

use std::net::{Ipv4Addr, SocketAddrV4};

use meadow_netboot::dhcp::{LeaseAnswer, Silence};

use crate::leases::{Client, LEASE, Server, bound, from, kind, mac, pool, relayed, yiaddr};
use crate::packets::{SERVER, on_67, option, options};
use crate::{ACK, NAK, NONE, server};

#[test]
fn a_client_gets_an_address_with_all_that_the_settings_say() {
    let mut server = server();
    let client = Client::with(1, &[(61, b"\x00laptop")]);
    let offer = server.handle(&on_67(), &client.discover());
    assert_eq!(offer.record, None, "an offer is not worth a write");
    let ack = server.handle(&on_67(), &client.select(pool(10)));
    assert_eq!(bound(&ack.record.expect("on disk first")), (pool(10), Some(mac(1))));
    for reply in [offer.reply.expect("an offer"), ack.reply.expect("an acknowledgement")] {
        assert_eq!(reply.destination, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
        let bytes = reply.payload;
        assert_eq!(yiaddr(&bytes), pool(10));
        for (code, value) in [
            (54, SERVER.octets().to_vec()),
            (51, LEASE.to_be_bytes().to_vec()),
            (58, 1800_u32.to_be_bytes().to_vec()),
            (59, 3150_u32.to_be_bytes().to_vec()),
            (1, vec![255, 255, 255, 0]),
            (3, pool(1).octets().to_vec()),
            (6, pool(1).octets().to_vec()),
            (15, b"home.arpa".to_vec()),
            (252, b"ab".to_vec()),
            (61, b"\x00laptop".to_vec()),
        ] {
            assert_eq!(option(&bytes, code), Some(value), "option {code}");
        }
        assert!(option(&bytes, 60).is_none() && option(&bytes, 67).is_none(), "nobody asked to boot");
    }
}

/// Every state of table 4 of RFC 2131 with a lease of its own, a lease of another client, no lease, and another network.
#[test]
fn requests_are_answered_as_the_table_of_states_says() {
    let (own, theirs, free, elsewhere) = (pool(10), pool(11), pool(13), Ipv4Addr::new(192, 168, 1, 5));
    let other_server = pool(3);
    let (known, unknown) = (Client::new(1), Client::new(9));
    for (name, bytes, source, expected) in [
        ("selecting, its own", known.select(own), NONE, Some((ACK, own))),
        ("selecting, another's", known.select(theirs), NONE, Some((NAK, NONE))),
        ("selecting, free, after we forgot the offer", unknown.select(free), NONE, Some((ACK, free))),
        ("selecting, another network", unknown.select(elsewhere), NONE, Some((NAK, NONE))),
        ("selecting another server", known.select_of(other_server, own), NONE, None),
        ("selecting our own address", unknown.select(SERVER), NONE, Some((NAK, NONE))),
        ("selecting the broadcast address", unknown.select(pool(255)), NONE, Some((NAK, NONE))),
        ("selecting a reservation of another", unknown.select(pool(12)), NONE, Some((NAK, NONE))),
        ("rebooting, its own", known.reboot(own), NONE, Some((ACK, own))),
        ("rebooting, another's", known.reboot(theirs), NONE, Some((NAK, NONE))),
        ("rebooting, free", known.reboot(free), NONE, Some((NAK, NONE))),
        ("rebooting, unknown to us", unknown.reboot(free), NONE, None),
        ("rebooting, unknown, another network", unknown.reboot(elsewhere), NONE, Some((NAK, NONE))),
        ("renewing, its own", known.renew(own), own, Some((ACK, own))),
        ("renewing, another's", known.renew(theirs), theirs, Some((NAK, NONE))),
        ("renewing, a lease that we lost", unknown.renew(free), free, Some((ACK, free))),
        ("rebinding, its own", known.renew(own), NONE, Some((ACK, own))),
        ("rebinding, another network", known.renew(elsewhere), elsewhere, Some((NAK, NONE))),
        ("nothing that one could grant", known.message(3, NONE, &[]), NONE, None),
        ("the same with our name", known.message(3, NONE, &[(54, &SERVER.octets())]), NONE, None),
    ] {
        let mut server = server();
        assert_eq!(server.lease(&known), Some(own));
        assert_eq!(server.lease(&Client::new(2)), Some(theirs));
        let outcome = server.handle(&from(source, 68), &bytes);
        let said = outcome.reply.as_ref().map(|reply| (kind(&reply.payload), yiaddr(&reply.payload)));
        assert_eq!(said, expected, "{name}");
        assert_eq!(outcome.record.is_some(), said.is_some_and(|(kind, _)| kind == ACK), "{name}: what is kept");
        let unicast = outcome.reply.is_some_and(|reply| reply.destination == SocketAddrV4::new(own, 68));
        assert_eq!(unicast, name == "renewing, its own", "{name}");
    }
}

#[test]
fn refusals_carry_nothing_but_who_refuses() {
    let mut server = server();
    let outcome = server.handle(&on_67(), &Client::with(1, &[(61, b"\x00ab")]).select(pool(77)));
    let codes: Vec<u8> = options(&outcome.reply.expect("a refusal").payload).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 54, 61]);
}

#[test]
fn information_alone_takes_no_address() {
    let mut server = server();
    let outcome = server.handle(&from(pool(40), 68), &Client::new(1).message(8, pool(40), &[]));
    let reply = outcome.reply.expect("an answer");
    assert_eq!((kind(&reply.payload), yiaddr(&reply.payload), outcome.record), (ACK, NONE, None));
    assert_eq!(option(&reply.payload, 51), None, "RFC 2131, 4.3.5");
    assert_eq!(option(&reply.payload, 6), Some(pool(1).octets().to_vec()));
    assert_eq!(reply.destination, SocketAddrV4::new(pool(40), 68));
}

#[test]
fn requests_without_an_answer_are_told_apart() {
    let mut server = server();
    let silence = |server: &mut Server, bytes: &[u8]| server.handle(&on_67(), bytes).silence;
    assert_eq!(silence(&mut server, b"no DHCP"), Some(Silence::Malformed));
    let elsewhere = Client::new(1).select_of(pool(3), pool(10));
    assert_eq!(silence(&mut server, &elsewhere), Some(Silence::NotForUs));
    assert_eq!(silence(&mut server, &relayed(Client::new(1).discover(), pool(255))), Some(Silence::NotForUs));
    for last in 1..=3 {
        server.lease(&Client::new(last)).expect("an address");
    }
    assert_eq!(silence(&mut server, &Client::new(4).discover()), Some(Silence::PoolEmpty));
    assert_eq!(silence(&mut server, &Client::new(1).release(pool(10))), None, "nobody expects an answer");
    let offered = server.handle(&on_67(), &Client::new(1).discover());
    assert_eq!((offered.silence, offered.answer), (None, Some(LeaseAnswer::Offered)));
    let refused = server.handle(&on_67(), &Client::new(2).select(pool(77)));
    assert_eq!((refused.silence, refused.answer), (None, Some(LeaseAnswer::Refused)));
}
