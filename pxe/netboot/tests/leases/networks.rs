//! Subnets, relays and the other servers on a wire.

use std::net::{Ipv4Addr, SocketAddrV4};

use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{
    LeaseConfig, LeaseConfigError, LeaseServer, OtherServer, Receive, Reservation, Silence, probe,
};

use crate::leases::{Client, LEASE, RELAY, Server, configs, from, kind, mac, pool, relayed, yiaddr};
use crate::packets::{SERVER, captured, on_67, option, options};
use crate::{ACK, NAK, server};

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
fn a_request_from_beyond_the_link_gets_no_lease_and_a_renewal_does() {
    let mut server = Server::new(BootPolicy::Image);
    let client = Client::new(1);
    let far = Receive { is_far: true, ..from([203, 0, 113, 9].into(), 68) };
    assert!(server.handle(&far, &client.discover()).reply.is_none());
    let address = server.lease(&client).expect("a lease");
    let renewing = Receive { is_far: true, ..from(address, 68) };
    assert!(server.handle(&renewing, &client.renew(address)).reply.is_some(), "as one behind a relay does");
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
