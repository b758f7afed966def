//! Addresses for machines that boot.

use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::LeaseServer;

use crate::leases::{Client, LEASE, Server, configs, kind, pool, yiaddr};
use crate::packets::{Everyone, SERVER, captured, on_67, option, options};
use crate::{ACK, server};

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
        ("ovmf-pxe-discover", true, "ipxe/snponly.efi\0"),
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
    server.policy = Everyone::gets(BootPolicy::Image);
    let offer = server.handle(&on_67(), &Client::with(1, &file).discover()).reply.expect("an offer").payload;
    assert!(offer.len() <= 548, "{}", offer.len());
    assert!([51, 1, 3, 67].iter().all(|code| option(&offer, *code).is_some()));
    assert!(option(&offer, 226).is_none());
    let large = Client::with(1, &[&file[..], &[(57, &[5, 0xdc])]].concat());
    let offer = server.handle(&on_67(), &large.discover()).reply.expect("an offer").payload;
    assert!(option(&offer, 226).is_some());
}
