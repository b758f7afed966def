//! All places for HTTP connections are held by clients that take next to nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::rig::*;

/// Connections at once, of all clients and of one.
const PLACES: usize = 512;
const OF_ONE: usize = 32;

/// Far more than the kernel keeps for a connection.
const LARGE: usize = 16 << 20;

/// A connection of 127.0.0.`last` with so much room for what comes, that has asked for a file.
fn ask(last: u8, port: u16, path: &str, room: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(room).unwrap();
    // As on Ethernet: on the loopback interface segments are as large as a file.
    socket.set_tcp_mss(1400).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// As many connections as one address may have, each for a file that it does not take.
fn hold(last: u8, port: u16) -> Vec<TcpStream> {
    (0..OF_ONE).map(|_| ask(last, port, "/artifacts/initrd", 4096)).collect()
}

#[tokio::test]
async fn a_machine_gets_its_file_whole_while_sixteen_addresses_hold_all_places() {
    let rig = Rig::start(|_| {}).await;
    let file: Vec<u8> = (0..LARGE).map(|i| (i % 251) as u8).collect();
    std::fs::write(rig.folder.path().join("files/large"), &file).unwrap();
    let port = rig.ports.http;
    let addresses = 2..2 + u8::try_from(PLACES / OF_ONE).unwrap();
    let held = blocking(move || addresses.flat_map(|last| hold(last, port)).collect::<Vec<_>>()).await;
    rig.wait(|server| server.counters().http_connections == PLACES as u64).await;
    assert_eq!(rig.server.counters().http_evicted, 0);

    let mut machine = ask(1, port, "/files/large", 256 << 10);
    machine.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (mut machine, mut answer) = blocking(move || {
        let mut half = vec![0; LARGE / 2];
        machine.read_exact(&mut half).unwrap();
        (machine, half)
    })
    .await;
    // More of them come while it loads.
    let more = blocking(move || [200, 201].map(|last| hold(last, port))).await;
    let all = (PLACES + 1 + 2 * OF_ONE) as u64;
    rig.wait(|server| server.counters().http_connections == all).await;
    let answer = blocking(move || {
        machine.read_to_end(&mut answer).unwrap();
        answer
    })
    .await;
    assert!(split(&answer).1 == file);
    let counters = rig.server.counters();
    assert!(counters.http_evicted >= all - PLACES as u64, "more than there are places: {counters:?}");
    assert_eq!((counters.http_files, counters.http_refused), (1, 0));
    let events = rig.server.events(None, 0);
    assert_eq!(events.iter().filter(|event| event.text.contains("places for HTTP connections")).count(), 1);
    assert!(events.iter().all(|event| !event.text.contains("closed at")), "{events:?}");
    drop((held, more));
    rig.server.stop().await;
}
