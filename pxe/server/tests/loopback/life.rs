//! Interfaces and ports that come and go.

use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use meadow_pxe::PxeHandle;
use meadow_pxe::netboot::event::OfferForm;

use crate::rig::*;

#[tokio::test]
async fn taken_port_is_named_with_its_holder_and_the_rest_is_served() {
    let holder = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let rig = Rig::start(|ports| ports.dhcp = port).await;
    let problems = rig.problems();
    let text = &problems.iter().find(|problem| problem.code == "pxe.port-taken").expect("the conflict").text;
    assert!(text.contains(&format!("UDP port {port}")) && text.contains(&std::process::id().to_string()), "{text}");
    rig.wait_for_event("pxe.conflict", &format!("UDP port {port}")).await;
    assert!(rig.get("/artifacts/initrd", "").await.0.starts_with("HTTP/1.1 200"));
    drop(holder);
    rig.wait(|server| server.interfaces()[0].problems.iter().all(|problem| problem.code != "pxe.port-taken")).await;
    rig.server.stop().await;
}

#[tokio::test]
async fn interface_that_is_not_there_is_waited_for_and_keeps_no_other_from_being_served() {
    let rig = Rig::start_on(&["meadow-none", "lo"], |_| {}, false).await;
    rig.wait_for_event("pxe.server", "there is no interface meadow-none").await;
    let [none, lo] = &rig.server.interfaces()[..] else { panic!("two interfaces") };
    assert_eq!((none.name.as_str(), none.address, none.problems[0].code), ("meadow-none", None, "pxe.interface"));
    assert_eq!((lo.name.as_str(), lo.address), ("lo", Some(Ipv4Addr::LOCALHOST)));
    assert!(rig.get("/artifacts/initrd", "").await.0.starts_with("HTTP/1.1 200"));
    rig.server.stop().await;
}

#[tokio::test]
async fn stop_closes_the_ports() {
    let rig = Rig::start(|_| {}).await;
    let ports = rig.ports;
    rig.server.stop().await;
    for port in [ports.dhcp, ports.boot_server, ports.tftp] {
        UdpSocket::bind(("0.0.0.0", port)).expect("a closed port");
    }
    assert!(TcpStream::connect(("127.0.0.1", ports.http)).is_err());
}

/// A BIOS that asks a boot server, as few do. What it took is on the disk while the server runs, so that no orderly end is
/// needed, and the next server offers it first.
#[tokio::test]
async fn what_firmware_took_is_known_after_a_restart() {
    let rig = Rig::start(|_| {}).await;
    let bios = |kind: u8| {
        let mut packet = boot_server_request(KNOWN);
        (packet[242], packet[257]) = (kind, 0);
        packet
    };
    let send = |port, packet: &[u8]| {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(packet, (Ipv4Addr::LOCALHOST, port)).unwrap();
    };
    let form = |server: &PxeHandle| server.machines().first().and_then(|machine| machine.form);
    send(rig.ports.dhcp, &bios(1));
    rig.wait_for_event("pxe.offered", "ipxe/undionly.kpxe (form direct, offer 1)").await;
    send(rig.ports.boot_server, &bios(3));
    rig.wait(|server| form(server) == Some(OfferForm::BootServer)).await;
    let file = rig.folder.path().join("forms.json");
    rig.wait(|_| file.exists()).await;

    let rig = rig.restart().await;
    assert!(rig.server.machines().is_empty(), "nobody has been heard yet");
    send(rig.ports.dhcp, &bios(1));
    rig.wait_for_event("pxe.offered", "ipxe/undionly.kpxe (form boot-server, offer 1)").await;
    assert_eq!(form(&rig.server), Some(OfferForm::BootServer));
    rig.server.stop().await;
}
