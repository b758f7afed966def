//! Who has which address, for how long, and who gets it next.

use std::time::Duration;

use meadow_model::boot::LeaseState;

use crate::leases::{Client, LEASE, RELAY, Server, bound, from, mac, pool};
use crate::packets::{SERVER, on_67};
use crate::{ACK, server};

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
