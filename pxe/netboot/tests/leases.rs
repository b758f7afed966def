//! The DHCP server against RFC 2131, and what real clients and networks do beside it.

#[path = "support/leases.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "helpers of the tests in this folder")]
mod leases;
#[path = "support/packets.rs"]
#[allow(dead_code, reason = "helpers of the tests in this folder")]
mod packets;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use leases::{Client, LEASE, RELAY, Server, bound, configs, from, kind, mac, pool, relayed, yiaddr};
use meadow_model::boot::{BootPolicy, LeaseState};
use meadow_netboot::dhcp::{
    LeaseAnswer, LeaseConfig, LeaseConfigError, LeaseServer, OtherServer, Receive, Reservation, Silence, probe,
};
use packets::{SERVER, captured, on_67, option, options};
use proptest::prelude::*;

const ACK: u8 = 5;
const NAK: u8 = 6;
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn server() -> Server {
    Server::new(BootPolicy::Ignore)
}

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
fn a_client_gets_the_same_address_again_as_long_as_there_are_others() {
    let mut server = server();
    let client = Client::new(1);
    assert_eq!(server.lease(&client), Some(pool(10)));
    let released = server.handle(&on_67(), &client.release(pool(10)));
    assert_eq!(released.record.map(|record| record.remaining), Some(Duration::ZERO));
    assert_eq!(server.lease(&Client::new(2)), Some(pool(11)), "a fresh one before a used one");
    assert_eq!(server.lease(&client), Some(pool(10)));
    server.pass(u64::from(LEASE) + 1);
    assert_eq!(server.lease(&Client::new(3)), Some(pool(13)));
    assert_eq!(server.lease(&Client::new(4)), Some(pool(10)), "the one that ended first");
    assert_eq!(server.lease(&client), Some(pool(11)));
}

#[test]
fn a_lease_that_goes_on_is_never_given_to_another() {
    let mut server = server();
    for client in [1, 2, 3] {
        assert!(server.lease(&Client::new(client)).is_some());
    }
    let outcome = server.handle(&on_67(), &Client::new(4).discover());
    assert!(outcome.reply.is_none());
    assert!(outcome.notes[0].kind.to_string().contains("make the pool larger"), "{:?}", outcome.notes);
    assert!(server.handle(&on_67(), &Client::new(5).discover()).notes.is_empty(), "said once a minute");
    assert_eq!(server.lease(&Client::new(200)), Some(pool(12)), "a reservation is kept for its machine");
}

#[test]
fn a_flood_of_strangers_holds_the_pool_for_half_a_minute_and_no_memory() {
    let mut server = server();
    let resident = server.lease(&Client::new(1)).expect("a lease");
    for n in 0..u16::MAX {
        let mut client = Client::new(0);
        client.mac.0[3..5].copy_from_slice(&n.to_be_bytes());
        server.handle(&on_67(), &client.discover());
    }
    assert_eq!(server.say(&from(resident, 68), &Client::new(1).renew(resident)), Some((ACK, resident)));
    server.pass(31);
    assert!(server.lease(&Client::new(2)).is_some());
    assert_eq!(server.leases.records(server.now).len(), 2);
}

#[test]
fn an_address_that_a_client_declines_is_set_aside_and_said() {
    let mut server = server();
    let client = Client::new(1);
    assert_eq!(server.lease(&client), Some(pool(10)));
    let stranger = server.handle(&on_67(), &Client::new(2).decline(pool(10)));
    assert_eq!(stranger.record, None, "only its own client declines an address");
    let outcome = server.handle(&on_67(), &client.decline(pool(10)));
    assert_eq!(outcome.record.as_ref().map(bound), Some((pool(10), None)));
    assert_eq!(outcome.notes[0].kind.code(), "pxe.conflict");
    assert_eq!(server.lease(&client), Some(pool(11)));
    let mut server = server.restarted();
    assert_eq!(server.lease(&Client::new(3)), Some(pool(13)), "set aside after a restart too");
    assert_eq!(server.say(&on_67(), &Client::new(4).discover()), None);
    server.pass(601);
    assert_eq!(server.lease(&Client::new(4)), Some(pool(10)), "not for ever");
}

#[test]
fn addresses_that_somebody_uses_are_found_ahead_and_never_offered() {
    let mut server = server();
    assert_eq!(server.leases.to_probe(server.now, SERVER), [pool(10), pool(11), pool(13)]);
    assert!(server.leases.found(server.now, pool(10), Some(mac(99))).is_some_and(|record| record.client.is_none()));
    assert!(server.leases.found(server.now, pool(11), None).is_none());
    assert_eq!(server.leases.to_probe(server.now, SERVER), [pool(13)]);
    assert_eq!(server.lease(&Client::new(1)), Some(pool(11)));
    assert_eq!(server.leases.found(server.now, pool(11), Some(mac(1))), None, "the client itself");
    assert_eq!(server.leases.found(server.now, pool(11), Some(mac(2))), None, "a lease is not taken away");
    assert_eq!(server.lease(&Client::new(2)), Some(pool(13)), "not probed yet, and not waited for");
}

#[test]
fn an_address_whose_client_goes_on_after_the_end_of_its_lease_is_kept_for_it() {
    let mut server = server();
    assert_eq!(server.lease(&Client::new(1)), Some(pool(10)));
    for (other, address) in [(2, pool(11)), (3, pool(13))] {
        assert_eq!(server.lease(&Client::new(other)), Some(address));
    }
    server.pass(u64::from(LEASE) + 1);
    // It answers ARP still.
    let record = server.leases.found(server.now, pool(10), Some(mac(1))).expect("for the disk");
    assert_eq!((bound(&record), record.remaining), ((pool(10), Some(mac(1))), Duration::from_secs(600)));
    let given: Vec<_> = (4..7).map(|client| server.lease(&Client::new(client))).collect();
    assert_eq!(given, [Some(pool(11)), Some(pool(13)), None], "to nobody else, though all others are taken");
    assert_eq!(server.restarted().leases.records(server.now).len(), 3);
    assert_eq!(server.lease(&Client::new(1)), Some(pool(10)), "its client has it again");
}

#[test]
fn addresses_of_relays_routers_and_servers_are_given_to_nobody() {
    let mut configs = configs();
    configs[0].router = vec![pool(10)];
    configs[0].dns = vec![pool(11), pool(1)];
    let mut server = server();
    server.leases = LeaseServer::new(&configs).expect("settings");
    assert_eq!(server.lease(&Client::new(1)), Some(pool(13)), "the first that is nobody's");
    assert_eq!(server.lease(&Client::new(2)), None);
    // A relay whose own address is in the pool.
    let relay = Ipv4Addr::new(10, 78, 0, 10);
    let offer = server.handle(&from(relay, 67), &relayed(Client::new(3).discover(), relay)).reply.expect("an offer");
    assert_eq!(yiaddr(&offer.payload), Ipv4Addr::new(10, 78, 0, 11));
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
fn a_relay_gets_addresses_of_its_own_subnet_at_its_own_port() {
    let mut server = server();
    let info: (u8, &[u8]) = (82, &[1, 2, 7, 7]);
    let client = Client::with(1, &[info, (61, b"\x00ab")]);
    // Many relays send from another address than the one they wrote in.
    let rx = from(Ipv4Addr::new(10, 79, 0, 1), 67);
    let offer = server.handle(&rx, &relayed(client.discover(), RELAY)).reply.expect("an offer");
    let address = Ipv4Addr::new(10, 78, 0, 10);
    assert_eq!((yiaddr(&offer.payload), offer.destination), (address, SocketAddrV4::new(RELAY, 67)));
    assert_eq!(offer.payload[24..28], RELAY.octets());
    assert_eq!(options(&offer.payload).last(), Some(&(82, vec![1, 2, 7, 7])), "echoed, and last");
    assert_eq!(option(&offer.payload, 61), Some(b"\x00ab".to_vec()));
    assert_eq!(server.say(&rx, &relayed(client.select(address), RELAY)), Some((ACK, address)));
    assert_eq!(
        server.say(&from(address, 68), &client.renew(address)),
        Some((ACK, address)),
        "renewed without the relay"
    );
    let refusal = server.handle(&rx, &relayed(client.select(pool(10)), RELAY)).reply.expect("a refusal");
    assert_eq!((kind(&refusal.payload), refusal.destination), (NAK, SocketAddrV4::new(RELAY, 67)));
    assert_eq!(refusal.payload[10], 0x80, "the relay must broadcast a refusal");
    let stranger = relayed(client.discover(), Ipv4Addr::new(203, 0, 113, 9));
    assert!(server.handle(&rx, &stranger).reply.is_none(), "we send nothing to relays that nobody named");
}

#[test]
fn a_subnet_of_another_interface_is_served_there_and_nowhere_else() {
    let mut server = server();
    let (here, there) = (SERVER, Ipv4Addr::new(10, 78, 0, 2));
    server.leases.set_home("eth0", Some(here));
    server.leases.set_home("eth1", Some(there));
    assert!(server.leases.serves_on("eth0", here) && server.leases.serves_on("eth1", there));
    assert!(!server.leases.serves_on("eth0", there), "the address of eth1 says nothing of eth0's wire");
    // By relay and by renewal, which would be served if we were not on that wire ourselves.
    let (client, address) = (Client::new(1), Ipv4Addr::new(10, 78, 0, 10));
    let by_relay = relayed(client.discover(), RELAY);
    for bytes in [&by_relay, &client.renew(address)] {
        let outcome = server.handle(&from(address, 68), bytes);
        assert_eq!((outcome.silence, outcome.reply), (Some(Silence::NotForUs), None));
    }
    let on_eth1 = Receive { address: there, ..on_67() };
    assert_eq!(server.say(&on_eth1, &client.discover()).map(|(_, address)| address), Some(address));
    assert_eq!(server.lease(&Client::new(2)), Some(pool(10)), "eth0 has its own");
    server.leases.set_home("eth1", None);
    assert!(server.handle(&from(RELAY, 67), &by_relay).reply.is_some(), "a relay again, as that card is gone");
}

#[test]
fn two_systems_on_one_card_have_two_leases_and_cloned_systems_do_not_share_one() {
    let mut server = server();
    let id: (u8, &[u8]) = (61, b"\xffduid-of-a-cloned-image");
    let first = server.lease(&Client::with(1, &[id])).expect("a lease");
    let clone = server.lease(&Client::with(2, &[id])).expect("a lease");
    assert_ne!(first, clone);
    let reserved = [server.lease(&Client::with(200, &[id])), server.lease(&Client::new(200))];
    assert_eq!(reserved, [Some(pool(12)); 2], "a reservation is the card's");
    assert_ne!(server.lease(&Client::new(1)), Some(first));
}

#[test]
fn firmware_with_a_shared_uuid_keeps_one_address_from_power_on_to_the_initrd() {
    let mut server = Server::new(BootPolicy::Image);
    let uuid = [&[0][..], &[0xff; 16]].concat();
    let firmware = |last| {
        Client::with(last, &[(60, b"PXEClient:Arch:00007:UNDI:003016"), (93, &[0, 7]), (97, &uuid), (61, &uuid)])
    };
    let first = server.lease(&firmware(1));
    assert_ne!(server.lease(&firmware(2)), first, "two boards with one UUID are two clients");
    assert_eq!(server.lease(&Client::with(1, &[(60, b"Meadow:1"), (61, b"\xffinitrd")])), first);
    assert_eq!(server.lease(&Client::with(1, &[(61, &[1, 2, 0, 0, 0, 0, 1])])), first, "option 61 is the card itself");
}

#[test]
fn real_firmware_gets_address_and_boot_file_in_one_offer() {
    for (packet, form_43, file) in [
        ("ipxe-rom-bios-discover", false, "http://10.77.0.2:7480/ipxe/52-54-00-00-00-03/boot.ipxe\0"),
        ("ovmf-pxe-discover", false, "ipxe/snponly.efi\0"),
        ("ovmf-http-discover", false, "http://10.77.0.2:7480/artifacts/ipxe/ipxe.efi\0"),
    ] {
        let mut server = Server::new(BootPolicy::Image);
        let offer = server.handle(&on_67(), &captured(packet)).reply.expect("an offer").payload;
        assert_eq!((kind(&offer), yiaddr(&offer)), (2, pool(10)), "{packet}");
        assert_eq!(option(&offer, 67).as_deref(), Some(file.as_bytes()), "{packet}");
        assert_eq!(option(&offer, 43).is_some(), form_43, "{packet}");
        assert_eq!(option(&offer, 51), Some(LEASE.to_be_bytes().to_vec()), "{packet}");
        assert_eq!(option(&offer, 3), Some(pool(1).octets().to_vec()), "{packet}");
        assert_eq!(offer[20..24], SERVER.octets(), "{packet}: next server");
        assert_eq!(options(&offer)[..3].iter().map(|(code, _)| *code).collect::<Vec<_>>(), [53, 54, 60], "{packet}");
    }
}

#[test]
fn the_acknowledgement_repeats_the_boot_file_in_the_form_of_the_offer() {
    let mut server = Server::new(BootPolicy::Image);
    let bios = Client::with(7, &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0])]);
    let offer = server.handle(&on_67(), &bios.discover()).reply.expect("an offer").payload;
    let ack = server.handle(&on_67(), &bios.select(yiaddr(&offer))).reply.expect("an answer").payload;
    assert_eq!(kind(&ack), ACK);
    for code in [43, 60, 66, 67] {
        assert_eq!(option(&ack, code), option(&offer, code), "option {code}");
    }
}

#[test]
fn a_machine_that_nobody_named_gets_an_address_and_no_boot_file() {
    let mut server = server();
    let offer = server.handle(&on_67(), &captured("ovmf-pxe-discover")).reply.expect("an offer").payload;
    assert_eq!(yiaddr(&offer), pool(10));
    assert!([43, 60, 66, 67].iter().all(|code| option(&offer, *code).is_none()));
    assert_eq!(offer[20..24], [0; 4]);
}

#[test]
fn a_client_that_takes_short_replies_gets_what_it_needs_most() {
    let mut config = configs().remove(0);
    config.options = (224..=226).map(|code: u8| (code.to_string(), "00".repeat(100))).collect();
    let mut server = server();
    server.leases = LeaseServer::new(&[config]).expect("settings");
    let uuid = [0; 17];
    let file = [(60, &b"PXEClient"[..]), (93, &[0, 7][..]), (97, &uuid[..])];
    server.policy = packets::Everyone::gets(BootPolicy::Image);
    let offer = server.handle(&on_67(), &Client::with(1, &file).discover()).reply.expect("an offer").payload;
    assert!(offer.len() <= 548, "{}", offer.len());
    assert!([51, 1, 3, 67].iter().all(|code| option(&offer, *code).is_some()));
    assert!(option(&offer, 226).is_none());
    let large = Client::with(1, &[&file[..], &[(57, &[5, 0xdc])]].concat());
    let offer = server.handle(&on_67(), &large.discover()).reply.expect("an offer").payload;
    assert!(option(&offer, 226).is_some());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let good = configs().remove(0);
    let with = |change: &dyn Fn(&mut LeaseConfig)| {
        let mut config = good.clone();
        change(&mut config);
        LeaseServer::new(&[config]).expect_err("impossible settings")
    };
    let twice = Reservation { mac: mac(200), address: pool(13) };
    assert!(matches!(with(&|c| c.subnet = "10.77.0.1/24".into()), LeaseConfigError::Subnet(_)));
    assert!(matches!(with(&|c| c.pool = "10.77.0.200-10.77.1.2".into()), LeaseConfigError::Pool { .. }));
    assert!(matches!(with(&|c| c.pool = "10.77.0.9-10.77.0.5".into()), LeaseConfigError::Pool { .. }));
    assert!(matches!(with(&|c| c.lease_seconds = 5), LeaseConfigError::Times { .. }));
    assert!(matches!(with(&|c| c.renew_seconds = Some(LEASE)), LeaseConfigError::Times { .. }));
    assert!(matches!(with(&|c| c.reservations.push(twice)), LeaseConfigError::Reservation(..)));
    for option in ["54", "0", "255", "x"] {
        assert!(matches!(with(&|c| c.options = [(option.into(), "00".into())].into()), LeaseConfigError::Option(_)));
    }
    assert!(matches!(with(&|c| c.options = [("252".into(), "0".into())].into()), LeaseConfigError::Option(_)));
    assert!(matches!(LeaseServer::new(&[good.clone(), good.clone()]), Err(LeaseConfigError::Overlap(_))));
    assert!(matches!(with(&|c| c.dns = vec![pool(1); 9]), LeaseConfigError::TooMuch(_)));
}

#[test]
fn other_servers_are_told_by_what_they_say() {
    let mut server = Server::new(BootPolicy::Image);
    let as_packet = |payload: &[u8], source: Ipv4Addr| {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend_from_slice(&source.octets());
        packet.extend_from_slice(&[255, 255, 255, 255, 0, 67, 0, 68, 0, 0, 0, 0]);
        packet.extend_from_slice(payload);
        packet
    };
    let plain = server.handle(&on_67(), &Client::new(1).discover()).reply.expect("an offer").payload;
    let boot = server.handle(&on_67(), &captured("ovmf-pxe-discover")).reply.expect("an offer").payload;
    let mut proxy = boot.clone();
    proxy[16..20].fill(0);
    let refusal = server.handle(&on_67(), &Client::new(9).select(pool(77))).reply.expect("a refusal").payload;
    let told = |payload: &[u8]| OtherServer::parse(&as_packet(payload, SERVER), pool(3));
    let other = |leases, boots| Some(OtherServer { address: SERVER, leases, boots });
    assert_eq!(told(&plain), other(true, false));
    assert_eq!(told(&boot), other(true, true));
    assert_eq!(told(&proxy), other(false, true));
    assert_eq!(told(&refusal), None);
    assert_eq!(OtherServer::parse(&as_packet(&plain, RELAY), SERVER), None, "ours, passed on by a relay");
    assert_eq!(told(&Client::new(1).discover()), None);
}

#[test]
fn the_probe_is_a_discover_that_every_server_answers() {
    for boots in [false, true] {
        let packet = probe(mac(1), 0x0102_0304, boots).expect("a packet");
        assert_eq!(packet.len(), usize::from(u16::from_be_bytes([packet[2], packet[3]])));
        let mut server = Server::new(BootPolicy::Image);
        let offer = server.handle(&on_67(), &packet[28..]).reply.expect("an offer").payload;
        assert_eq!((yiaddr(&offer), option(&offer, 60).is_some()), (pool(10), boots));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Discover(u8),
    Take(u8),
    Select(u8, u8),
    Reboot(u8, u8),
    Renew(u8, u8),
    Release(u8, u8),
    Decline(u8, u8),
    Found(u8, u8),
    Pass(u16),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || prop_oneof![1..7_u8, Just(200)];
    let address = || prop_oneof![9..15_u8, Just(2), Just(255)];
    prop_oneof![
        4 => client().prop_map(Step::Take),
        2 => client().prop_map(Step::Discover),
        2 => (client(), address()).prop_map(|(c, a)| Step::Select(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Reboot(c, a)),
        2 => (client(), address()).prop_map(|(c, a)| Step::Renew(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Release(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Decline(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Found(c, a)),
        2 => (0..5000_u16).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// A model of the clients: whoever was acknowledged an address holds it until its lease ends, it gives it back, or
    /// it is refused. Nobody else may be acknowledged it meanwhile.
    #[test]
    fn no_two_clients_ever_hold_one_address(steps in prop::collection::vec(step(), 1..80)) {
        let mut server = server();
        let mut held: HashMap<Ipv4Addr, (u8, Duration)> = HashMap::new();
        for step in steps {
            let (client, bytes, source) = match step {
                Step::Pass(seconds) => {
                    server.pass(seconds.into());
                    continue;
                }
                Step::Restart => {
                    let passed = server.now;
                    let mut again = server.restarted();
                    // The monotonic clock begins anew: carry the model over to it.
                    for (_, until) in held.values_mut() {
                        *until = again.now + until.saturating_sub(passed);
                    }
                    std::mem::swap(&mut server, &mut again);
                    continue;
                }
                Step::Found(user, address) => {
                    server.leases.found(server.now, pool(address), Some(mac(user)));
                    continue;
                }
                Step::Discover(n) => (n, Client::new(n).discover(), NONE),
                Step::Take(n) => {
                    let offered = server.say(&on_67(), &Client::new(n).discover());
                    let Some((_, address)) = offered else { continue };
                    (n, Client::new(n).select(address), NONE)
                }
                Step::Select(n, a) => (n, Client::new(n).select(pool(a)), NONE),
                Step::Reboot(n, a) => (n, Client::new(n).reboot(pool(a)), NONE),
                Step::Renew(n, a) => (n, Client::new(n).renew(pool(a)), pool(a)),
                Step::Release(n, a) | Step::Decline(n, a) => {
                    let bytes = match step {
                        Step::Release(..) => Client::new(n).release(pool(a)),
                        _ => Client::new(n).decline(pool(a)),
                    };
                    if held.get(&pool(a)).is_some_and(|(holder, _)| *holder == n) {
                        held.remove(&pool(a));
                    }
                    (n, bytes, NONE)
                }
            };
            let outcome = server.handle(&from(source, 68), &bytes);
            let Some(reply) = outcome.reply else { continue };
            let address = yiaddr(&reply.payload);
            prop_assert!(address == NONE || address == pool(12) || (pool(10)..=pool(13)).contains(&address));
            if kind(&reply.payload) == ACK {
                if let Some((holder, until)) = held.get(&address) {
                    prop_assert!(*holder == client || *until <= server.now, "{} is held by {} and given to {}", address, holder, client);
                }
                held.retain(|_, (holder, _)| *holder != client);
                held.insert(address, (client, server.now + Duration::from_secs(LEASE.into())));
                prop_assert_eq!(outcome.record.as_ref().map(bound), Some((address, Some(mac(client)))));
            }
        }
    }
}

#[test]
fn what_is_known_of_each_address_is_told_with_names_and_reservations() {
    let mut server = server();
    let named = Client::with(1, &[(12, b"printer\0")]);
    assert_eq!(server.lease(&named), Some(pool(10)));
    let offered = Client::with(2, &[(12, b"never\x1bkept")]);
    server.handle(&on_67(), &offered.discover());
    server.leases.found(server.now, pool(13), Some(mac(99)));
    let told = |server: &Server| -> Vec<_> {
        let views = server.leases.views(server.now).into_iter();
        views.map(|view| (view.address, view.state, view.hostname, view.reserved)).collect()
    };
    let printer = Some("printer".to_owned());
    assert_eq!(
        told(&server),
        [
            (pool(10), LeaseState::Active, printer.clone(), false),
            (pool(11), LeaseState::Offered, None, false),
            (pool(12), LeaseState::Reserved, None, true),
            (pool(13), LeaseState::SetAside, None, false),
        ]
    );
    assert_eq!(server.lease(&Client::new(200)), Some(pool(12)));
    assert_eq!(told(&server)[2], (pool(12), LeaseState::Active, None, true));

    // An admin ends a lease: as if its client had released it.
    let ended = server.leases.end(server.now, pool(10)).expect("it was active");
    assert_eq!((bound(&ended), ended.remaining), ((pool(10), Some(mac(1))), Duration::ZERO));
    assert_eq!(told(&server)[0], (pool(10), LeaseState::Ended, printer, false));
    assert!(server.leases.end(server.now, pool(10)).is_none() && server.leases.end(server.now, RELAY).is_none());
    assert!(server.leases.active_record(server.now, pool(10)).is_none());
    assert_eq!(server.lease(&named), Some(pool(10)), "the same client, the same address");
    assert!(server.leases.active_record(server.now, pool(10)).is_some_and(|record| !record.remaining.is_zero()));
    // Another client's name does not stay with an address.
    server.pass(u64::from(LEASE) + 1);
    for last in 21..24 {
        server.lease(&Client::new(last));
    }
    assert!(told(&server).iter().all(|(_, _, hostname, _)| hostname.is_none()), "{:?}", told(&server));
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
