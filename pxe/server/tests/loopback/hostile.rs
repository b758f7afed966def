//! Bad input: each kind is counted, and said without filling the log.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use meadow_pxe::PxeCounters;

use crate::rig::*;

/// Sends datagrams to a port of the server and waits until a counter says that it has read them all.
async fn flood(rig: &Rig, port: u16, datagrams: &[&[u8]], counted: impl Fn(&PxeCounters) -> u64) {
    let before = counted(&rig.server.counters());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in datagrams {
        socket.send_to(datagram, (Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    let all = before + datagrams.len() as u64;
    rig.wait(|server| counted(&server.counters()) == all).await;
}

fn said(rig: &Rig, part: &str) -> usize {
    rig.server.events(None, 0).iter().filter(|event| event.text.contains(part)).count()
}

#[tokio::test]
async fn malformed_datagrams_are_counted_by_kind_and_said_once() {
    let rig = Rig::start(|_| {}).await;
    let short: Vec<&[u8]> = vec![b"no DHCP"; 20];
    flood(&rig, rig.ports.dhcp, &short, |counters| counters.dropped_malformed).await;
    assert_eq!(said(&rig, "is no DHCP message"), 1, "and 19 more were counted");

    let stray: [&[u8]; 4] = [b"\0\x04\0\x01", b"\0\x01no end", b"", b"\0\x09x"];
    flood(&rig, rig.ports.tftp, &stray, |counters| counters.tftp_malformed).await;
    let refused: [&[u8]; 4] =
        [b"\0\x02initrd\0octet\0", b"\0\x01initrd\0netascii\0", b"\0\x01../key\0octet\0", b"\0\x01a b\0octet\0"];
    flood(&rig, rig.ports.tftp, &refused, |counters| counters.tftp_refused).await;
    assert_eq!(said(&rig, "over TFTP, 127.0.0.1"), 1);
    let counters = rig.server.counters();
    assert_eq!((counters.tftp_requests, counters.tftp_transfers, counters.dhcp_packets), (8, 0, 20));
    rig.server.stop().await;
}

#[tokio::test]
async fn what_is_longer_than_any_request_is_dropped_and_not_read_in_part() {
    let rig = Rig::start(|_| {}).await;
    // With its end mark far before the end: the first half is a good request.
    let mut whole = boot_server_request(KNOWN);
    whole.resize(2048, 0);
    let longer = [&whole[..], &[0]].concat();
    let largest = vec![0xff; 9000];
    let too_large: Vec<&[u8]> = [&longer, &largest].into_iter().map(Vec::as_slice).cycle().take(20).collect();
    flood(&rig, rig.ports.boot_server, &too_large, |counters| counters.dropped_too_large).await;
    assert_eq!(said(&rig, "sent more than 2048 bytes"), 1, "and 19 more were counted");
    assert_eq!(rig.server.counters().boot_server_answers, 0);
    flood(&rig, rig.ports.boot_server, &[&whole], |counters| counters.boot_server_answers).await;
    let counters = rig.server.counters();
    assert_eq!((counters.dhcp_packets, counters.dropped_malformed), (21, 0));
    rig.server.stop().await;
}

#[tokio::test]
async fn requests_that_are_none_are_counted_and_what_is_not_there_apart() {
    let rig = Rig::start(|_| {}).await;
    let refused =
        ["\r\n\r\n", "GET / HTTP/3.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "PUT /artifacts/initrd HTTP/1.0\r\n\r\n"];
    for request in refused {
        rig.http(request).await;
    }
    for path in ["/etc/passwd", "/artifacts/../manifest.json", "/files/none"] {
        assert!(rig.get(path, "").await.0.starts_with("HTTP/1.1 404"), "{path}");
    }
    let counters = rig.server.counters();
    assert_eq!((counters.http_malformed, counters.http_missing, counters.http_slow), (4, 3, 0));
    assert_eq!(said(&rig, "an HTTP request was refused"), 1);
    assert_eq!(said(&rig, "an HTTP request was answered with"), 1, "and 3 more were counted");
    assert_eq!(said(&rig, "failed: an HTTP request was answered with 405: another method, /artifacts/initrd"), 1);
    rig.server.stop().await;
}

/// A server each, since the same kind is said once in half a minute.
#[tokio::test]
async fn each_odd_request_is_said_and_no_more_of_it_than_a_log_takes() {
    let long = format!("/{}", "x".repeat(7000));
    let progress = "/machine/52-54-00-00-00-01/progress";
    for (asked, counted, wanted) in [
        ("BREW /artifacts/initrd".to_owned(), (2, 0), "405: another method, /artifacts/initrd".to_owned()),
        (format!("GET {progress}"), (2, 0), format!("405: GET {progress}")),
        (format!("POST {progress}"), (2, 0), format!("400: POST {progress}")),
        ("HEAD /%0a%1b[2J".to_owned(), (0, 2), "404: HEAD /%0a%1b[2J".to_owned()),
        (format!("GET {long}"), (0, 2), format!("404: GET {}…", &long[..200])),
        // Behind such a one the connection is closed.
        ("GET /artifacts/none?\u{1b}[2J".to_owned(), (1, 0), "refused with 400: malformed request".to_owned()),
    ] {
        let rig = Rig::start(|_| {}).await;
        let one = format!("{asked} HTTP/1.1\r\nHost: x\r\n\r\n");
        let last = format!("{asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        rig.http(one + &last).await;
        let counters = rig.server.counters();
        assert_eq!((counters.http_malformed, counters.http_missing), counted, "{wanted}");
        let events = rig.server.events(None, 0);
        let odd: Vec<_> = events.iter().filter(|event| event.text.contains("an HTTP request was")).collect();
        let [event] = odd.as_slice() else { panic!("{wanted}: {odd:?}") };
        assert!(event.text.ends_with(&wanted), "{wanted}: {}", event.text);
        assert!(event.text.len() < 300 && !event.text.contains(char::is_control), "{}", event.text);
        rig.server.stop().await;
    }
}

#[tokio::test]
async fn one_address_cannot_take_all_connections_and_slow_requests_end() {
    let rig = Rig::start(|_| {}).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rig.ports.http));
    let held = blocking(move || {
        let mut streams: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
        // A request that never ends: the server closes it.
        streams[0].write_all(b"GET /artifacts/initrd HTTP/1.1\r\nHost: x\r\n").unwrap();
        streams[0].set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        assert_eq!(streams[0].read(&mut [0; 64]).unwrap(), 0);
        streams
    })
    .await;
    let counters = rig.server.counters();
    assert_eq!((counters.http_refused, counters.http_slow), (8, 1));
    assert_eq!(said(&rig, "was not complete"), 1);
    drop(held);
    rig.server.stop().await;
}

#[tokio::test]
async fn ever_new_machines_do_not_fill_the_log_nor_push_out_one_that_booted() {
    let rig = Rig::start(|_| {}).await;
    rig.script(KNOWN).await;
    let port = rig.ports.boot_server;
    for round in 0..30_u16 {
        let strangers: Vec<_> = (0..100).map(|n| boot_server_request(stranger(100 * round + n))).collect();
        let strangers: Vec<&[u8]> = strangers.iter().map(Vec::as_slice).collect();
        flood(&rig, port, &strangers, |counters| counters.dropped_left_alone).await;
    }
    let counters = rig.server.counters();
    assert_eq!(counters.dropped_left_alone, 3000);
    assert!(counters.events_withheld > 3000, "two events each: {}", counters.events_withheld);
    assert!(said(&rig, "ignored") < 1024);
    assert_eq!(said(&rig, "more machines ask to be booted"), 1);
    assert_eq!(rig.server.events(Some(KNOWN), 0).len(), 1);
    rig.server.stop().await;
}

fn stranger(number: u16) -> meadow_model::MacAddress {
    let [high, low] = number.to_be_bytes();
    meadow_model::MacAddress([2, 0, 0, 0, high, low])
}

#[tokio::test]
async fn a_loop_of_requests_does_not_fill_the_log() {
    let rig = Rig::start(|_| {}).await;
    let one = "GET /files/none HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /files/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    rig.http(one.repeat(2000) + last).await;
    let counters = rig.server.counters();
    assert_eq!(counters.http_missing, 2001);
    assert!(counters.events_withheld > 1000, "{}", counters.events_withheld);
    assert_eq!(said(&rig, "an HTTP request was answered with"), 0, "its own events say it");
    rig.server.stop().await;
}

#[tokio::test]
async fn a_head_of_a_script_begins_no_boot() {
    let rig = Rig::start(|_| {}).await;
    let path = format!("/ipxe/{}/boot.ipxe", KNOWN.hyphenated());
    let head = rig.http(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    assert!(head.starts_with(b"HTTP/1.1 200"));
    assert!(rig.server.events(Some(KNOWN), 0).is_empty());
    rig.get(&path, "").await;
    let codes: Vec<_> = rig.server.events(Some(KNOWN), 0).iter().map(|event| event.code).collect();
    assert_eq!(codes, ["pxe.asked"]);
    rig.server.stop().await;
}
