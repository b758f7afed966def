//! A wire that doubles and reorders, and clients that begin and do not go on: against stock clients who want to boot.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::wait;
use meadow_tests_netns::{CarriedCard, Net, PATIENCE, Ran, Way, within, write_whole_frames};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// A machine with UEFI.
const FIRMWARE: [&str; 4] = ["-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "0x5d:0007"];

/// Settings of a boot server that gives out addresses too.
fn settings(net: &Net) -> Result<String> {
    let (subnet, first, last) = (net.address(0), net.address(100), net.address(149));
    Ok(format!(
        "lease_file = \"{}\"\nopen_minutes = 60\n{}[[dhcp]]\nsubnet = \"{subnet}/24\"\npool = \"{first}-{last}\"\n",
        net.file("leases").display(),
        net.settings("image")?,
    ))
}

/// Runs a client that writes the file `to`, and compares what it got.
fn fetches(net: &Net, program: &str, arguments: &[&str], to: &Path, artifact: &str) -> Result<()> {
    let ran = Ran::of(net.client().command(program).args(arguments))?;
    let got = fs::read(to).unwrap_or_default();
    ensure!(got == net.artifacts().read(artifact)?, "{program} {arguments:?} got {} bytes: {ran:?}", got.len());
    Ok(fs::remove_file(to)?)
}

#[test]
fn a_machine_boots_over_a_wire_on_which_each_frame_comes_twice_and_out_of_order() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    let client = net.client().clone();
    write_whole_frames(net.server(), "eth0").expect("whole frames");
    let _card = CarriedCard::create(&client, "eth0", "boot", Way::Repeated).expect("a card");
    let mut server = net.start_server(&settings(&net).expect("settings")).expect("started");
    server.wait_for("full DHCP begins", PATIENCE).expect("full DHCP");
    let script = net.script("#!/bin/sh\necho \"$1 $ip\"\n").expect("a script").to_string_lossy().into_owned();
    let lease = |options: &[&str]| {
        let common = ["-i", "boot", "-f", "-n", "-q", "-T", "2", "-t", "10", "-s", &script];
        Ran::of(client.command("udhcpc").args(common).args(options)).and_then(Ran::success).expect("a lease").stdout
    };
    // Its system asks after its firmware, and gets the same address.
    for options in [&FIRMWARE[..], &[]] {
        let said = lease(options);
        assert!(said.contains(&format!("bound {}", net.address(100))), "{said}");
    }
    let log = server.log().expect("a log");
    assert_eq!(log.matches("has the address").count(), 1, "{log}");
    assert!(log.contains("offered ipxe/snponly.efi"), "{log}");

    client.ip(&["addr", "add", &format!("{}/24", net.address(3)), "dev", "boot"]).expect("an address");
    let (file, own) = (net.file("fetched"), net.server_address());
    let to = file.to_string_lossy();
    let (http, loader) = (net.url("artifacts/vmlinuz"), "ipxe/snponly.efi");
    // Clients that stand it: with an option atftp breaks off at the second acknowledgement of it, and curl writes a block
    // of TFTP twice.
    let get = ["--get", "--remote-file", loader, "--local-file", &to, &own];
    fetches(&net, "atftp", &get, &file, loader).expect("atftp");
    let get = ["tftp", "-g", "-b", "1400", "-r", loader, "-l", &to, &own];
    fetches(&net, "busybox", &get, &file, loader).expect("busybox");
    fetches(&net, "curl", &["-sSf", "-o", &to, &http], &file, "vmlinuz").expect("curl");
    let sent = data_packets(&mut net, &["tftp", "-m", "binary", &own, "-c", "get", loader, &to]).expect("a capture");
    assert!(fs::read(&file).expect("read") == net.artifacts().read(loader).expect("an artifact"), "tftp-hpa");
    // Who answers each doubled acknowledgement sends all that follows twice (the "Sorcerer's Apprentice" fault).
    let blocks = 131_072 / 512 + 1;
    assert!((blocks..blocks + blocks / 2).contains(&sent), "{sent} packets for {blocks} blocks");
}

/// How many packets of TFTP data the server sends while this program runs on the client, as it puts them on its card.
fn data_packets(net: &mut Net, program: &[&str]) -> Result<usize> {
    let (server, file) = (net.server().clone(), net.file("tftp.pcap"));
    let mut command = server.command("tcpdump");
    command.args(["-i", "eth0", "-U", "-w"]).arg(&file);
    // Opcode 3, which is data: also after the port of the transfer has changed.
    command.arg(format!("udp and src host {} and udp[8:2] = 3", net.server_address()));
    let (_tcpdump, log) = net.start(&server, command, "tcpdump.log")?;
    wait::until("tcpdump", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("listening on").then_some(())))?;
    Ran::of(net.client().command(program[0]).args(&program[1..]))?.success()?;
    // Its last packet is the one that is shorter than a block: an empty one.
    wait::until("the last block", PATIENCE, || {
        let read = server.command("tcpdump").args(["-n", "-r"]).arg(&file).output()?;
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        Ok(text.contains("UDP, length 4").then(|| text.lines().count()))
    })
}

/// Clients at once, and of one address.
const HALF_OPEN: usize = 10_000;
const OF_ONE: usize = 250;
/// Memory that the boot server may take in all: twice of what it takes.
const MEMORY: u64 = 32 << 20;
/// Files and sockets that it may have open for them, and for everything else.
const DESCRIPTORS: usize = 2048;

/// Opens as many transfers and acknowledges none; to be called in the client's namespace.
fn half_open(addresses: &[Ipv4Addr], server: &str) -> Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    for address in addresses {
        // All of one address at once, and the next when each of these was answered: none is lost on the way.
        let more = (0..OF_ONE).map(|_| {
            let socket = UdpSocket::bind((*address, 0))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(b"\0\x01vmlinuz\0octet\0blksize\x001400\0windowsize\x0064\0", (server, 69))?;
            Ok(socket)
        });
        let more = more.collect::<Result<Vec<_>>>()?;
        for socket in &more {
            let length = socket.recv(&mut [0; 600]).context("a request without an answer")?;
            ensure!(length < 100, "more than an acknowledgement of the options: {length} bytes");
        }
        sockets.extend(more);
    }
    Ok(sockets)
}

fn memory_of(server: &BootServer) -> Result<u64> {
    let process = server.process().context("the boot server has ended")?;
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn descriptors_of(server: &BootServer) -> Result<usize> {
    let process = server.process().context("the boot server has ended")?;
    Ok(fs::read_dir(format!("/proc/{}/fd", process.pid))?.count())
}

#[test]
fn ten_thousand_half_open_transfers_take_little_memory_and_nobodys_place() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as many sockets as clients");
    let mut net = Net::build().expect("namespaces");
    net.address_client().expect("an address");
    let addresses: Vec<String> =
        (0..HALF_OPEN / OF_ONE).map(|at| net.address(100 + u8::try_from(at).expect("few"))).collect();
    for address in &addresses {
        net.client().ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]).expect("an address");
    }
    let server = net.serve("image").expect("a boot server");
    let addresses: Vec<Ipv4Addr> = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    let to = net.server_address();
    let sockets = within(net.client(), || half_open(&addresses, &to)).expect("half-open transfers");
    assert_eq!(sockets.len(), HALF_OPEN);
    let (memory, descriptors) = (memory_of(&server).expect("memory"), descriptors_of(&server).expect("descriptors"));
    assert!(memory < MEMORY && descriptors < DESCRIPTORS, "{memory} bytes, {descriptors} descriptors");
    let file = net.file("fetched");
    let path = file.to_string_lossy();
    let get = ["-m", "binary", &to, "-c", "get", "ipxe/snponly.efi", &path];
    fetches(&net, "tftp", &get, &file, "ipxe/snponly.efi").expect("a machine between them");
    let log = server.log().expect("a log");
    assert!(log.len() < 64 << 10, "it is told of in few words: {} bytes", log.len());
}

/// Asks for a file and takes next to nothing of it; to be called in the client's namespace.
fn ask_and_take_nothing(server: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(&SocketAddr::new(server.parse()?, 7480).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(b"GET /artifacts/root.img HTTP/1.1\r\nHost: meadow\r\n\r\n")?;
    Ok(stream)
}

#[test]
fn who_takes_nothing_of_a_file_loses_his_place() {
    let mut net = Net::build().expect("namespaces");
    net.address_client().expect("an address");
    let _server = net.serve("image").expect("a boot server");
    let own = net.server_address();
    let _kept: Vec<TcpStream> =
        within(net.client(), || (0..8).map(|_| ask_and_take_nothing(&own)).collect()).expect("connections");
    let open = || -> Result<usize> {
        let shown = net.server().command("ss").args(["-Htn", "state", "established", "sport = :7480"]).output()?;
        Ok(String::from_utf8_lossy(&shown.stdout).lines().count())
    };
    assert!(open().expect("ss") >= 8);
    let (url, wanted) = (net.url("artifacts/root.img"), net.artifacts().read("root.img").expect("an artifact"));
    let got = net.on_client("curl", &["-sSf", &url]).expect("curl");
    assert!(got.stdout == wanted, "who takes it gets it meanwhile: {} bytes", got.stdout.len());
    wait::until("their places", PATIENCE, || Ok((open()? == 0).then_some(()))).expect("they are put out");
}
