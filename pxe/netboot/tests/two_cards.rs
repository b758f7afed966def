//! The DHCP server with two of its own cards on one wire.

#[path = "support/leases.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "helpers of the tests in this folder")]
mod leases;
#[path = "support/packets.rs"]
#[allow(dead_code, reason = "helpers of the tests in this folder")]
mod packets;

use std::net::Ipv4Addr;

use leases::{Client, Server, pool};
use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::Receive;
use packets::{SERVER, on_67};

const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: (u8, Ipv4Addr) = (6, Ipv4Addr::UNSPECIFIED);

/// Two cards of ours on one wire hear the same packets, in any order, and each other.
#[test]
fn two_cards_on_one_wire_give_a_client_one_lease_and_nobody_an_address_of_theirs() {
    let (mut server, second) = (Server::new(BootPolicy::Ignore), pool(11));
    server.leases.set_home("eth0", Some(SERVER));
    server.leases.set_home("eth1", Some(second));
    // Linux answers ARP for the address of one card on the other one too.
    assert!(server.leases.serves_on("eth0", second) && server.leases.serves_on("eth1", SERVER));
    let on_eth1 = Receive { address: second, ..on_67() };
    assert_eq!(server.lease(&Client::new(2)), Some(pool(10)));
    let client = Client::new(1);
    let offers = [on_67(), on_eth1].map(|rx| server.say(&rx, &client.discover()));
    assert_eq!(offers, [Some((OFFER, pool(13))); 2], "neither our own address nor a reserved one");
    // It takes the offer of eth0, of which eth1 hears first, and a third client asks between the two.
    assert_eq!(server.say(&on_eth1, &client.select(pool(13))), None);
    assert_eq!(server.say(&on_67(), &Client::new(3).discover()), None, "none is left");
    assert_eq!(server.say(&on_67(), &client.select(pool(13))), Some((ACK, pool(13))));
    assert_eq!(server.say(&on_eth1, &client.select(pool(13))), None);
    assert_eq!(server.say(&on_eth1, &client.renew(pool(13))), Some((ACK, pool(13))), "either renews it");
    assert_eq!(server.say(&on_67(), &Client::new(3).select(second)), Some(NAK), "our own");
    assert!(!server.leases.to_probe(server.now, SERVER).contains(&second), "and no stranger");
}
