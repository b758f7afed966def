//! TFTP with clients written here.

use std::net::UdpSocket;
use std::time::Duration;

use crate::rig::*;

/// Fetches a file by TFTP with these options; the acknowledged options and the file, or the
/// server's error text.
fn tftp_get(port: u16, name: &str, block_size: usize, window: u16) -> Result<(Vec<u8>, Vec<u8>), String> {
    tftp_get_with(&UdpSocket::bind("127.0.0.1:0").unwrap(), port, name, block_size, window)
}

/// The same with this socket.
fn tftp_get_with(
    socket: &UdpSocket,
    port: u16,
    name: &str,
    block_size: usize,
    window: u16,
) -> Result<(Vec<u8>, Vec<u8>), String> {
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = [
        b"\0\x01",
        name.as_bytes(),
        format!("\0octet\0blksize\0{block_size}\0windowsize\0{window}\0tsize\x000\0").as_bytes(),
    ]
    .concat();
    socket.send_to(&request, ("127.0.0.1", port)).unwrap();
    let mut buffer = [0; 2048];
    // Asks again, as firmware does: a request may be dropped.
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while socket.peek(&mut buffer).is_err() {
        socket.send_to(&request, ("127.0.0.1", port)).unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (mut file, mut options, mut expected) = (vec![], vec![], 1_u16);
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let packet = &buffer[..length];
        match packet[1] {
            3 => {
                let block = u16::from_be_bytes([packet[2], packet[3]]);
                if block != expected {
                    continue;
                }
                file.extend_from_slice(&packet[4..]);
                let is_last = length - 4 < block_size;
                if is_last || block.is_multiple_of(window) {
                    socket.send_to(&[&[0, 4], &block.to_be_bytes()[..]].concat(), from).unwrap();
                }
                if is_last {
                    return Ok((options, file));
                }
                expected = expected.wrapping_add(1);
            }
            5 => return Err(String::from_utf8_lossy(&packet[4..length - 1]).into_owned()),
            6 => {
                options = packet[2..].to_vec();
                socket.send_to(&[0, 4, 0, 0], from).unwrap();
            }
            other => panic!("opcode {other}"),
        }
    }
}

#[tokio::test]
async fn tftp_serves_windows_and_names_what_is_missing() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    let (options, file) = blocking(move || tftp_get(port, "/initrd", 1468, 16)).await.unwrap();
    assert_eq!(options, format!("blksize\x001468\0windowsize\x0016\0tsize\x00{BIG}\0").into_bytes());
    assert!(file == big_file());
    rig.wait_for_event("pxe.sent", "sent 100 % of initrd (TFTP)").await;
    let (_, file) = blocking(move || tftp_get(port, "ipxe.efi", 512, 1)).await.unwrap();
    assert_eq!(file, b"loader", "a bare name finds the boot loader");
    for name in ["nothing", "../manifest.json"] {
        let error = blocking(move || tftp_get(port, name, 512, 1)).await.unwrap_err();
        assert!(error.contains("no such"), "{error}");
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn many_transfers_run_at_once() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    let clients: Vec<_> =
        (0..40).map(|_| tokio::task::spawn_blocking(move || tftp_get(port, "initrd", 1468, 8))).collect();
    let wanted = big_file();
    for client in clients {
        assert!(client.await.unwrap().unwrap().1 == wanted);
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn one_port_serves_many_transfers() {
    let rig = Rig::start_with(|_| {}, true).await;
    let port = rig.ports.tftp;
    let clients: Vec<_> = (0..40)
        .map(|_| {
            tokio::task::spawn_blocking(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                // Nothing from another port reaches a connected socket.
                socket.connect(("127.0.0.1", port)).unwrap();
                tftp_get_with(&socket, port, "initrd", 1468, 8)
            })
        })
        .collect();
    let wanted = big_file();
    for client in clients {
        assert!(client.await.unwrap().unwrap().1 == wanted);
    }
    rig.wait(|server| server.counters().tftp_complete == 40).await;
    rig.server.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_again_and_nothing_more_is_sent_to_a_silent_client() {
    for single_port in [false, true] {
        let rig = Rig::start_with(|_| {}, single_port).await;
        let port = rig.ports.tftp;
        let from = blocking(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let (mut buffer, mut sources) = ([0; 1500], vec![]);
            for _ in 0..3 {
                socket.send_to(b"\0\x01initrd\0octet\0windowsize\x0064\0", ("127.0.0.1", port)).unwrap();
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], b"\0\x06windowsize\x0064\0");
                sources.push(from);
            }
            sources
        })
        .await;
        assert!(from.iter().all(|source| *source == from[0]), "one transfer: {from:?}");
        assert_eq!(from[0].port() == port, single_port);
        assert_eq!(rig.server.counters().tftp_requests, 1);
        assert_eq!(rig.server.events(None, 0).iter().filter(|event| event.code == "pxe.asked").count(), 0);
        rig.server.stop().await;
    }
}

#[tokio::test]
async fn forged_requests_leave_room_for_who_answers() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    let file = blocking(move || {
        // More than the server keeps of one address, each with a port of its own.
        let forged: Vec<_> = (0..400).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for socket in &forged {
            socket.send_to(b"\0\x01initrd\0octet\0windowsize\x0064\0", ("127.0.0.1", port)).unwrap();
        }
        // The very address in whose name they are sent, and another one.
        ["127.0.0.1:0", "127.0.0.2:0"].map(|own| {
            let socket = UdpSocket::bind(own).unwrap();
            tftp_get_with(&socket, port, "initrd", 1468, 64).unwrap().1
        })
    })
    .await;
    assert!(file.iter().all(|file| *file == big_file()));
    // The last acknowledgement may still be under way.
    rig.wait(|server| server.counters().tftp_complete == 2).await;
    let counters = rig.server.counters();
    assert!(counters.tftp_evicted >= 400 - 256, "{counters:?}");
    rig.server.stop().await;
}

#[tokio::test]
async fn a_flood_without_options_is_bounded_and_who_asks_for_options_gets_the_file() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    let file = blocking(move || {
        let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Far more than are answered meanwhile.
        for _ in 0..20_000 {
            flood.send_to(b"\0\x01initrd\0octet\0", ("127.0.0.1", port)).unwrap();
        }
        tftp_get(port, "initrd", 1468, 64).unwrap().1
    })
    .await;
    assert_eq!(file, big_file());
    let counters = rig.server.counters();
    assert!(counters.tftp_withheld > 0, "{counters:?}");
    rig.wait_for_event("pxe.failed", "more TFTP requests come without options than are answered").await;
    rig.server.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_its_port_with_the_last_block_in_hand_has_not_failed() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.tftp;
    blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.send_to(b"\0\x01ipxe.efi\0octet\0blksize\x001000\0", ("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 1500];
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(b"\0\x04\0\0", from).unwrap();
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"\0\x03\0\x01loader");
    })
    .await;
    rig.wait_for_event("pxe.sent", "sent all of ipxe/ipxe.efi (TFTP); not confirmed").await;
    let counters = rig.server.counters();
    assert_eq!((counters.tftp_complete, counters.tftp_failed), (1, 0));
    rig.server.stop().await;
}
