//! The whole server on the loopback interface, with clients written here.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64;
use meadow_model::MacAddress;
use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_netboot::{BootDecision, Sighting};
use meadow_pxe::{ArtifactState, BootEvent, Director, Ports, PxeConfig, PxeHandle, PxeServer};
use serde_json::json;
use sha2::{Digest, Sha256};

const KNOWN: MacAddress = machine(1);
const HELD: MacAddress = machine(3);
const OWN_DISK: MacAddress = machine(4);
/// More than one sendfile chunk, and not a multiple of any block size.
const BIG: usize = 3_000_001;

const fn machine(last: u8) -> MacAddress {
    MacAddress([0x52, 0x54, 0, 0, 0, last])
}

/// Policies of the machines that somebody named.
struct Named(Mutex<BTreeMap<MacAddress, BootPolicy>>);

impl Named {
    fn policy(&self, mac: MacAddress) -> BootPolicy {
        self.0.lock().unwrap().get(&mac).copied().unwrap_or_default()
    }

    fn set(&self, mac: MacAddress, policy: BootPolicy) {
        self.0.lock().unwrap().insert(mac, policy);
    }
}

impl Default for Named {
    fn default() -> Self {
        let policies = [(KNOWN, BootPolicy::Image), (HELD, BootPolicy::Hold), (OWN_DISK, BootPolicy::LocalDisk)];
        Self(Mutex::new(policies.into()))
    }
}

impl Director for Named {
    fn decide(&self, sighting: &Sighting) -> BootDecision {
        BootDecision::new(self.policy(sighting.mac))
    }

    fn boot_config(&self, mac: MacAddress) -> Option<serde_json::Value> {
        let action = match self.policy(mac) {
            BootPolicy::Ignore => return None,
            BootPolicy::Image => "boot",
            BootPolicy::Hold => "hold",
            BootPolicy::LocalDisk | BootPolicy::Script => "local",
        };
        Some(json!({ "version": 1, "action": action }))
    }

    fn options(&self, mac: MacAddress) -> BootOptions {
        let script =
            (self.policy(mac) == BootPolicy::Script).then(|| "#!ipxe\nkernel ${files}/debian/linux\nboot\n".into());
        BootOptions {
            once: None,
            kernel_arguments: if mac == HELD { "nomodeset".into() } else { String::new() },
            script,
        }
    }

    fn event(&self, _: &BootEvent) {}
}

fn big_file() -> Vec<u8> {
    (0..BIG).map(|i| (i % 251) as u8).collect()
}

fn write_image(folder: &Path) {
    let mut artifacts = serde_json::Map::new();
    let loader = b"loader".to_vec();
    for (name, bytes) in [("initrd", big_file()), ("ipxe/ipxe.efi", loader.clone()), ("ipxe/snponly.efi", loader)] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        artifacts.insert(name.to_owned(), json!({ "size": bytes.len(), "sha256": digest }));
    }
    let manifest = json!({ "version": 1, "image": "test", "artifacts": artifacts });
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

struct Rig {
    server: PxeHandle,
    director: Arc<Named>,
    ports: Ports,
    _folder: tempfile::TempDir,
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Rig {
    async fn start(change: impl FnOnce(&mut Ports)) -> Self {
        Self::start_with(change, false).await
    }

    async fn start_with(change: impl FnOnce(&mut Ports), tftp_single_port: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_image(folder.path());
        std::fs::create_dir_all(folder.path().join("files/debian")).unwrap();
        std::fs::write(folder.path().join("files/debian/linux"), b"another kernel").unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut ports = Ports { dhcp: free_udp_port(), boot_server: free_udp_port(), tftp: free_udp_port(), http };
        change(&mut ports);
        let files = Some(folder.path().join("files"));
        let config = PxeConfig { ports, files, tftp_single_port, ..PxeConfig::new("lo", folder.path()) };
        let director = Arc::new(Named::default());
        let server = PxeServer::start(config, director.clone()).unwrap();
        let rig = Self { server, director, ports, _folder: folder };
        rig.wait(|server| {
            let artifacts = server.artifacts();
            server.address().is_some()
                && !artifacts.is_empty()
                && artifacts.iter().all(|artifact| artifact.state == ArtifactState::Ready)
        })
        .await;
        rig
    }

    async fn wait(&self, condition: impl Fn(&PxeHandle) -> bool) {
        let poll = async {
            while !condition(&self.server) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let events = || self.server.events(None, 0);
        tokio::time::timeout(Duration::from_secs(30), poll).await.unwrap_or_else(|_| panic!("{:#?}", events()));
    }

    async fn wait_for_event(&self, code: &str, part: &str) {
        self.wait(|server| server.events(None, 0).iter().any(|event| event.code == code && event.text.contains(part)))
            .await;
    }

    /// Sends bytes and reads until the server closes.
    async fn http(&self, request: impl Into<Vec<u8>>) -> Vec<u8> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.http));
        let request = request.into();
        blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(&request).unwrap();
            let mut answer = vec![];
            stream.read_to_end(&mut answer).unwrap();
            answer
        })
        .await
    }

    /// What the initrd of this machine is told to do.
    async fn action(&self, mac: MacAddress) -> String {
        let (_, body) = self.get(&format!("/machine/{}/boot.json", mac.hyphenated()), "").await;
        let config: serde_json::Value = serde_json::from_slice(&body).expect("boot.json");
        config["action"].as_str().expect("an action").to_owned()
    }

    /// What this machine's iPXE is told to do.
    async fn script(&self, mac: MacAddress) -> String {
        let (head, body) = self.get(&format!("/ipxe/{}/boot.ipxe", mac.hyphenated()), "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        String::from_utf8(body).unwrap()
    }

    async fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        split(&self.http(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Head and body of an answer.
fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8(answer[..at + 2].to_vec()).unwrap(), answer[at + 4..].to_vec())
}

#[tokio::test]
async fn http_serves_files_and_their_parts() {
    let rig = Rig::start(|_| {}).await;
    let (head, body) = rig.get("/artifacts/initrd", "").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body == big_file());
    assert!(
        head.contains(&format!("Repr-Digest: sha-256=:{}:\r\n", BASE64.encode(&Sha256::digest(big_file())))),
        "{head}"
    );
    let etag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an entity tag").to_owned();
    for (headers, status, wanted) in [
        ("Range: bytes=10-19\r\n".to_owned(), "206", &big_file()[10..20]),
        (format!("Range: bytes={}-\r\nIf-Range: {etag}\r\n", BIG - 5), "206", &big_file()[BIG - 5..]),
        ("Range: bytes=0-9\r\nIf-Range: \"other\"\r\n".to_owned(), "200", &big_file()[..]),
        (format!("Range: bytes=0-9\r\nIf-Range: W/{etag}\r\n"), "200", &big_file()[..]),
        (format!("If-None-Match: \"x\", W/{etag}\r\n"), "304", b""),
        (format!("Range: bytes={BIG}-\r\n"), "416", b"the file has no such part\n"),
        (format!("If-None-Match: {etag}\r\n"), "304", b""),
    ] {
        let (head, body) = rig.get("/artifacts/initrd", &headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{head}");
        assert!(body == wanted, "{headers}");
    }
    rig.wait_for_event("pxe.sent", "sent 100 % of initrd").await;
    rig.server.stop().await;
}

#[tokio::test]
async fn http_connection_carries_several_requests() {
    let rig = Rig::start(|_| {}).await;
    let answer = rig
        .http(
            "HEAD /artifacts/ipxe/ipxe.efi HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /artifacts/ipxe/ipxe.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
    let (head, rest) = split(&answer);
    assert!(head.contains("Content-Type: application/efi\r\n") && head.contains("Content-Length: 6\r\n"), "{head}");
    assert_eq!(split(&rest).1, b"loader", "no body behind the HEAD");
    rig.server.stop().await;
}

#[tokio::test]
async fn machines_get_what_their_policy_says() {
    let rig = Rig::start(|_| {}).await;
    let kernel = |card: &str| {
        let url = format!("http://127.0.0.1:{}/artifacts/vmlinuz", rig.ports.http);
        format!("\nkernel {url} initrd=initrd quiet loglevel=3 lsm=landlock BOOTIF=01-{card} || goto failed\n")
    };
    assert!(rig.script(KNOWN).await.contains(&kernel("52-54-00-00-00-01")));
    // With arguments of its own, it is held in the initramfs of the image.
    let held = kernel("52-54-00-00-00-03").replace(" BOOTIF", " nomodeset BOOTIF");
    assert!(rig.script(HELD).await.contains(&held), "{held}");
    let script = rig.script(OWN_DISK).await;
    assert!(script.ends_with("\nexit\n") && !script.contains("kernel"), "{script}");
    for (mac, action) in [(KNOWN, "boot"), (HELD, "hold"), (OWN_DISK, "local")] {
        assert_eq!(rig.action(mac).await, action, "{mac}");
    }
    for path in ["/ipxe/52-54-00-00-00-02/boot.ipxe", "/machine/52-54-00-00-00-02/boot.json", "/etc/passwd"] {
        let (head, body) = rig.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        assert!(!body.is_empty(), "{path}: a 404 says why");
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn another_system_boots_by_its_own_script_and_files() {
    let rig = Rig::start(|_| {}).await;
    rig.director.set(OWN_DISK, BootPolicy::Script);
    let files = format!("http://127.0.0.1:{}/files", rig.ports.http);
    let script = rig.script(OWN_DISK).await;
    assert_eq!(script, format!("#!ipxe\nset files {files}\nkernel ${{files}}/debian/linux\nboot\n"));
    let (head, body) = rig.get("/files/debian/linux", "Range: bytes=8-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206") && body == b"kernel", "{head}");
    for path in ["/files/debian", "/files/none", "/files/../initrd"] {
        assert!(rig.get(path, "").await.0.starts_with("HTTP/1.1 404"), "{path}");
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn a_held_machine_goes_on_when_its_policy_changes() {
    let rig = Rig::start(|_| {}).await;
    assert_eq!(rig.action(HELD).await, "hold");
    rig.director.set(HELD, BootPolicy::Image);
    assert_eq!(rig.action(HELD).await, "boot");
    rig.director.set(HELD, BootPolicy::LocalDisk);
    assert_eq!(rig.action(HELD).await, "local");
    assert!(rig.script(HELD).await.ends_with("\nexit\n"));
    rig.server.stop().await;
}

/// A PXE boot server request of UEFI firmware (PXE 2.1, 2.2.3), as it comes to port 4011.
fn boot_server_request(mac: MacAddress) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    // The transaction id tells the answers apart.
    packet[4..8].copy_from_slice(&mac.0[2..]);
    packet[28..34].copy_from_slice(&mac.0);
    packet[236..].copy_from_slice(&[99, 130, 83, 99]);
    packet.extend_from_slice(b"\x35\x01\x03\x3c\x09PXEClient\x5d\x02\x00\x07\xff");
    packet
}

#[tokio::test]
async fn firmware_of_held_machines_is_answered_and_of_local_disk_ones_left_alone() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.boot_server;
    let answers = blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // In this order: an answer to the first two would come before the third's.
        for mac in [OWN_DISK, machine(2), HELD, KNOWN] {
            socket.send_to(&boot_server_request(mac), ("127.0.0.1", port)).unwrap();
        }
        [(); 2].map(|()| {
            let mut buffer = [0; 1500];
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
    })
    .await;
    for (answer, mac) in answers.iter().zip([HELD, KNOWN]) {
        assert_eq!(answer[28..34], mac.0);
        assert!(answer.windows(17).any(|part| part == b"ipxe/snponly.efi\0"), "{mac}");
    }
    rig.wait_for_event("pxe.ignored", "its policy is to boot from its own disk").await;
    rig.wait_for_event("pxe.ignored", "nobody named this machine").await;
    let codes = |mac| rig.server.events(Some(mac), 0).into_iter().map(|event| event.code).collect::<Vec<_>>();
    assert_eq!(codes(OWN_DISK), ["pxe.seen", "pxe.ignored"]);
    assert_eq!(codes(HELD), ["pxe.seen", "pxe.asked"]);
    rig.server.stop().await;
}

#[tokio::test]
async fn progress_is_recorded_and_made_printable() {
    let rig = Rig::start(|_| {}).await;
    let post = |body: &str| {
        format!(
            "POST /machine/52-54-00-00-00-01/progress HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let good = json!({ "stage": "root-download", "percent": 42, "message": "half\u{1b}[2J\nway" }).to_string();
    assert!(rig.http(post(&good)).await.starts_with(b"HTTP/1.1 204"));
    assert!(rig.http(post("{}")).await.starts_with(b"HTTP/1.1 400"));
    assert!(rig.http(post(&" ".repeat(4097))).await.starts_with(b"HTTP/1.1 413"));
    let events = rig.server.events(Some(KNOWN), 0);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].text, "root-download 42 %: half?[2J?way");
    rig.server.stop().await;
}

#[tokio::test]
async fn hostile_http_is_refused_and_closed() {
    let rig = Rig::start(|_| {}).await;
    for (request, status) in [
        ("\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), "505"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000)), "431"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "411"),
        ("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".to_owned(), "413"),
        ("DELETE /artifacts/initrd HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "405"),
        ("GET /artifacts/../manifest.json HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "404"),
    ] {
        let (head, _) = split(&rig.http(request.clone()).await);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {head}");
    }
    rig.server.stop().await;
}

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
        // More than the server keeps of clients that never answer, each with a port of its own.
        let forged: Vec<_> = (0..400).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for socket in &forged {
            socket.send_to(b"\0\x01initrd\0octet\0windowsize\x0064\0", ("127.0.0.1", port)).unwrap();
        }
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        tftp_get_with(&socket, port, "initrd", 1468, 64).unwrap().1
    })
    .await;
    assert!(file == big_file());
    let events = rig.server.events(None, 0);
    let failed = events.iter().filter(|event| event.code == "pxe.failed").count();
    let withheld = rig.server.counters().events_withheld;
    assert!(rig.server.counters().tftp_dropped > 0, "{:?}", rig.server.counters());
    assert!(failed >= 1 && withheld > 0, "{failed} shown, {withheld} withheld");
    rig.server.stop().await;
}

#[tokio::test]
async fn taken_port_is_named_with_its_holder_and_the_rest_is_served() {
    let holder = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let rig = Rig::start(|ports| ports.dhcp = port).await;
    let problems = rig.server.problems();
    let text = &problems.iter().find(|problem| problem.code == "pxe.port-taken").expect("the conflict").text;
    assert!(text.contains(&format!("UDP port {port}")) && text.contains(&std::process::id().to_string()), "{text}");
    rig.wait_for_event("pxe.conflict", &format!("UDP port {port}")).await;
    assert!(rig.get("/artifacts/initrd", "").await.0.starts_with("HTTP/1.1 200"));
    drop(holder);
    rig.wait(|server| server.problems().iter().all(|problem| problem.code != "pxe.port-taken")).await;
    rig.server.stop().await;
}

#[tokio::test]
async fn interface_that_is_not_there_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = PxeConfig::new("meadow-none", folder.path());
    let director = Arc::new(Named::default());
    let server = PxeServer::start(config, director.clone()).unwrap();
    let rig = Rig { server, director, ports: Ports::default(), _folder: folder };
    rig.wait_for_event("pxe.server", "there is no interface meadow-none").await;
    assert_eq!(rig.server.problems()[0].code, "pxe.interface");
    assert_eq!(rig.server.address(), None);
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
