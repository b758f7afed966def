//! Disks that stand still: who waits for them, and who does not.
//!
//! Each server is alone in a network of its own, where it has the ports that clients know by heart. For that the tests
//! run as root.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_netboot::dhcp::LeaseConfig;
use meadow_netboot::{BootDecision, Sighting};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Advice, fadvise};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{PxeHandle, PxeServer};
use crate::config::PxeConfig;
use crate::director::{BootEvent, Director};
use crate::full_dhcp::FullDhcp;

const SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Larger than what sockets take before their client reads.
const SIZE: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const RELEASE: u8 = 7;
/// Options of an iPXE on BIOS.
const IPXE: &[u8] = b"\x3c\x09PXEClient\x5d\x02\0\0\x4d\x04iPXE";
/// Options of an iPXE on UEFI.
const UEFI: &[u8] = b"\x3c\x09PXEClient\x5d\x02\0\x07\x4d\x04iPXE";

/// Gives every machine a script.
struct Scripts;

impl Director for Scripts {
    fn decide(&self, _: &Sighting) -> BootDecision {
        BootDecision::new(BootPolicy::Script)
    }

    fn boot_config(&self, _: MacAddress) -> Option<serde_json::Value> {
        None
    }

    fn options(&self, _: MacAddress) -> BootOptions {
        BootOptions { script: Some("#!ipxe\nshell\n".into()), ..BootOptions::default() }
    }

    fn event(&self, _: &BootEvent) {}
}

/// Runs work on a thread, and on those that it starts, in a network with nothing but a loopback interface.
fn in_own_network(work: fn()) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may do so");
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
        work();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A server that gives out addresses, and its only client. One thread answers everybody.
struct Site {
    runtime: Runtime,
    server: Arc<PxeHandle>,
    client: UdpSocket,
    folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        // On a disk, where /tmp often is in memory.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = PxeConfig {
            dhcp: vec![lease_config()],
            lease_file: folder.path().join("leases"),
            files: Some(folder.path().to_owned()),
            ..PxeConfig::new(&["lo"], folder.path().join("image"))
        };
        let entered = runtime.enter();
        let server = Arc::new(PxeServer::start(config, Arc::new(Scripts)).unwrap());
        drop(entered);
        let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let site = Self { runtime, server, client, folder };
        wait(|| site.server.segments[0].address().is_some() && site.full().is_open());
        // No interface but this one can be looked at, and nobody else is there.
        site.server.segments[0].set_alone(true);
        site
    }

    fn full(&self) -> &Arc<FullDhcp> {
        self.server.shared.full.as_ref().unwrap()
    }

    /// Sends a message to port 67.
    fn say(&self, kind: u8, xid: u8, ciaddr: Ipv4Addr, options: &[u8]) {
        self.client.send_to(&message(kind, xid, ciaddr, options), (SERVER, 67)).unwrap();
    }

    /// Number, kind and address of the next answer.
    fn hear(&self) -> (u8, u8, Ipv4Addr) {
        hear(&self.client)
    }

    /// Asks for the address that it is offered.
    fn take_lease(&self, xid: u8) -> Ipv4Addr {
        self.say(DISCOVER, xid, Ipv4Addr::UNSPECIFIED, &[]);
        let (number, kind, address) = self.hear();
        assert_eq!((number, kind), (xid, OFFER));
        let options = [&[54, 4][..], &SERVER.octets(), &[50, 4], &address.octets()].concat();
        self.say(REQUEST, xid + 1, Ipv4Addr::UNSPECIFIED, &options);
        address
    }

    /// Begins to fetch a file that is on the disk alone; all but its head is still to come.
    fn fetch_cold_file(&self) -> TcpStream {
        let mut file = File::create(self.folder.path().join("linux")).unwrap();
        file.write_all(&vec![7; SIZE]).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let mut stream = TcpStream::connect((SERVER, 7480)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /files/linux HTTP/1.0\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"));
        stream
    }
}

fn lease_config() -> LeaseConfig {
    serde_json::from_value(json!({ "subnet": "127.0.0.0/24", "pool": "127.0.0.100-127.0.0.199" })).unwrap()
}

fn message(kind: u8, xid: u8, ciaddr: Ipv4Addr, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[7] = xid;
    bytes[12..16].copy_from_slice(&ciaddr.octets());
    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    [&bytes, &[53, 1, kind][..], options, &[255]].concat()
}

fn hear(socket: &UdpSocket) -> (u8, u8, Ipv4Addr) {
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer).expect("an answer");
    assert!(length > 243 && answer[240..242] == [53, 1], "the kind comes first");
    let address = <[u8; 4]>::try_from(&answer[16..20]).unwrap();
    (answer[7], answer[242], address.into())
}

fn wait(condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The habit of iPXE: it waits for 2 s. What was asked before it stays unanswered, so that the order of the answers shows
/// that this one has waited for no disk.
#[test]
fn firmware_is_answered_while_leases_and_files_wait_for_the_disk() {
    in_own_network(|| {
        let site = Site::start();
        let disk = site.full().hold_disk();
        let page_cache = &site.server.shared.page_cache;
        let readers = site.runtime.block_on(page_cache.hold_readers());
        let mut file = site.fetch_cold_file();
        let address = site.take_lease(1);

        site.say(DISCOVER, 3, Ipv4Addr::UNSPECIFIED, IPXE);
        assert_eq!(site.hear(), (3, OFFER, address), "with an address, while its lease is not on the disk");
        site.server.segments[0].set_alone(false);
        for (xid, options) in [(4, IPXE), (5, UEFI)] {
            site.say(DISCOVER, xid, Ipv4Addr::UNSPECIFIED, options);
            assert_eq!(site.hear(), (xid, OFFER, Ipv4Addr::UNSPECIFIED), "of a proxy");
        }
        let firmware = UdpSocket::bind((SERVER, 0)).unwrap();
        firmware.set_read_timeout(Some(PATIENCE)).unwrap();
        firmware.send_to(&message(REQUEST, 6, address, UEFI), (SERVER, 4011)).unwrap();
        assert_eq!(hear(&firmware).1, ACK, "of the boot server");

        file.set_nonblocking(true).unwrap();
        let body = file.read(&mut [0; 1]).expect_err("no byte of the file is there: is /var/tmp on a disk?");
        assert_eq!(body.kind(), ErrorKind::WouldBlock);
        drop(readers);
        file.set_nonblocking(false).unwrap();
        assert_eq!(file.read_to_end(&mut Vec::new()).unwrap(), SIZE);
        drop(disk);
        assert_eq!(site.hear(), (2, ACK, address), "and now the lease");
    });
}

#[test]
fn the_end_waits_until_all_leases_are_on_the_disk() {
    in_own_network(|| {
        let site = Site::start();
        let address = site.take_lease(1);
        assert_eq!(site.hear(), (2, ACK, address));
        let disk = site.full().hold_disk();
        site.say(RELEASE, 3, address, &[]);
        // Which is answered by nothing; what comes after it is.
        site.say(DISCOVER, 4, Ipv4Addr::UNSPECIFIED, IPXE);
        assert_eq!(site.hear().0, 4);
        let server = site.server.clone();
        let stopping = site.runtime.spawn(async move { server.stop().await });
        wait(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).is_ok());
        // All else that it does has had its turns by now.
        for _ in 0..100 {
            site.runtime.block_on(site.runtime.spawn(tokio::task::yield_now())).unwrap();
            site.runtime.block_on(site.runtime.spawn_blocking(|| ())).unwrap();
        }
        assert!(!stopping.is_finished(), "it waits for the disk");
        drop(disk);
        site.runtime.block_on(stopping).unwrap();

        let later = FullDhcp::new(&[lease_config()], &site.folder.path().join("leases")).unwrap();
        later.look_after(Duration::ZERO).unwrap();
        let left: Vec<_> = later.server().records(Duration::ZERO).iter().map(|record| record.remaining).collect();
        assert_eq!(left, [Duration::ZERO], "it was given back");
    });
}
