//! Habits of real firmware at the server's sockets. What packets alone show is in `netboot/tests/firmware_habits.rs`.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::rig::*;

/// The first packet that comes for a read request, and from where.
fn first_answer(server: (Ipv4Addr, u16), name: &str) -> (Ipv4Addr, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket.send_to(&[b"\0\x01", name.as_bytes(), b"\0octet\0"].concat(), server).unwrap();
    let mut buffer = [0; 1024];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let std::net::IpAddr::V4(from) = from.ip() else { panic!("{from}") };
    (from, buffer[..length].to_vec())
}

/// Firmware takes nothing from another address than the one that it asked, which need not be the interface's first.
#[tokio::test]
async fn tftp_is_answered_from_the_address_that_was_asked() {
    for single_port in [false, true] {
        let rig = Rig::start_with(|_| {}, single_port).await;
        let port = rig.ports.tftp;
        for (last, name, opcode) in [(1, "initrd", 3), (2, "initrd", 3), (1, "nothing", 5), (2, "nothing", 5)] {
            let asked = Ipv4Addr::new(127, 0, 0, last);
            let (from, packet) = blocking(move || first_answer((asked, port), name)).await;
            assert_eq!((from, packet[1]), (asked, opcode), "{name}, one port: {single_port}");
        }
        rig.server.stop().await;
    }
}

/// A Raspberry Pi's boot ROM looks for files of its own below its serial number or its card's address, and below nothing
/// else at last. There are none of them here: it is told so at once, and is not given a file of another computer.
#[tokio::test]
async fn a_raspberry_pi_finds_no_files_below_its_serial_number() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    for name in
        ["1234abcd/start4.elf", "1234abcd/initrd", "dc-a6-32-00-00-01/initrd", "dc:a6:32:00:00:01/initrd", "start4.elf"]
    {
        let (_, packet) = blocking(move || first_answer((Ipv4Addr::LOCALHOST, port), name)).await;
        assert_eq!(packet[..4], [0, 5, 0, 1], "{name}: error 1, file not found");
        assert!(packet.len() < 100, "{name}");
    }
    assert_eq!(rig.server.counters().tftp_transfers, 0);
    rig.server.stop().await;
}

/// iPXE looks for a script beside itself before it asks DHCP. That there is none is no fault, and nobody is told of one.
#[tokio::test]
async fn ipxe_asks_for_a_script_beside_itself_and_goes_on_without() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    let (_, packet) = blocking(move || first_answer((Ipv4Addr::LOCALHOST, port), "autoexec.ipxe")).await;
    assert_eq!(packet[..4], [0, 5, 0, 1]);
    let (_, packet) = blocking(move || first_answer((Ipv4Addr::LOCALHOST, port), "other.ipxe")).await;
    assert_eq!(packet[..4], [0, 5, 0, 1]);
    rig.wait_for_event("pxe.failed", "other.ipxe").await;
    assert!(rig.server.events(None, 0).iter().all(|event| !event.text.contains("autoexec")));
    rig.server.stop().await;
}

/// UEFI's HTTP boot starts what is in the image of a CD or a disk, which it tells by the type, and by the name only where it
/// knows no type.
#[tokio::test]
async fn uefi_http_boot_is_told_what_an_image_of_a_cd_or_a_disk_is() {
    let rig = Rig::start(|_| {}).await;
    for (name, wanted) in [
        ("mini.iso", "application/vnd.efi-iso"),
        ("disk.img", "application/vnd.efi-img"),
        ("shell.efi", "application/efi"),
        ("linux", "application/octet-stream"),
    ] {
        std::fs::write(rig.folder.path().join("files").join(name), name).unwrap();
        for method in ["HEAD", "GET"] {
            let request = format!("{method} /files/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let (head, _) = split(&rig.http(request).await);
            assert!(head.starts_with("HTTP/1.1 200"), "{name}: {head}");
            assert!(head.contains(&format!("Content-Type: {wanted}\r\n")), "{method} {name}: {head}");
        }
    }
    rig.server.stop().await;
}

/// UEFI's HTTP boot asks for the length first, follows no redirection, and tells what a file is by its type or its name.
#[tokio::test]
async fn uefi_http_boot_asks_for_the_length_and_is_never_sent_elsewhere() {
    let rig = Rig::start(|_| {}).await;
    for path in ["/artifacts/ipxe/ipxe.efi", "//artifacts/ipxe/ipxe.efi", "/artifacts/ipxe/ipxe.efi?x"] {
        let head = rig.http(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{path}: {head}");
        for line in ["Content-Length: 6\r\n", "Content-Type: application/efi\r\n", "Accept-Ranges: bytes\r\n"] {
            assert!(head.contains(line), "{path}: {head}");
        }
        let (head, body) = rig.get(path, "User-Agent: UefiHttpBoot/1.0\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && body == b"loader", "{path}: {head}");
    }
    for path in ["/artifacts", "/artifacts/ipxe", "/artifacts/ipxe/", "/"] {
        let (head, _) = rig.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 404") && !head.contains("Location"), "{path}: {head}");
    }
    rig.server.stop().await;
}
