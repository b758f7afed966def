//! A server with a small image on the loopback interface, and simple clients.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_netboot::{BootDecision, BootImage, Sighting};
use meadow_pxe::{ArtifactState, BootEvent, Director, Ports, Problem, PxeConfig, PxeHandle, PxeServer};
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) const KNOWN: MacAddress = machine(1);
pub(crate) const HELD: MacAddress = machine(3);
pub(crate) const OWN_DISK: MacAddress = machine(4);
/// More than one sendfile chunk, and not a multiple of any block size.
pub(crate) const BIG: usize = 3_000_001;

pub(crate) const fn machine(last: u8) -> MacAddress {
    MacAddress([0x52, 0x54, 0, 0, 0, last])
}

/// Policies of the machines that somebody named.
pub(crate) struct Named {
    policies: Mutex<BTreeMap<MacAddress, BootPolicy>>,
    images: Mutex<BTreeMap<MacAddress, String>>,
}

impl Named {
    pub(crate) fn policy(&self, mac: MacAddress) -> BootPolicy {
        self.policies.lock().unwrap().get(&mac).copied().unwrap_or_default()
    }

    pub(crate) fn set(&self, mac: MacAddress, policy: BootPolicy) {
        self.policies.lock().unwrap().insert(mac, policy);
    }

    /// Gives a machine an adopted image, or the installed one.
    pub(crate) fn give_image(&self, mac: MacAddress, digest: Option<&str>) {
        let mut images = self.images.lock().unwrap();
        match digest {
            Some(digest) => images.insert(mac, digest.to_owned()),
            None => images.remove(&mac),
        };
    }
}

impl Default for Named {
    fn default() -> Self {
        let policies = [(KNOWN, BootPolicy::Image), (HELD, BootPolicy::Hold), (OWN_DISK, BootPolicy::LocalDisk)];
        Self { policies: Mutex::new(policies.into()), images: Mutex::default() }
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
            kernel_arguments: if mac == HELD { "nomodeset".into() } else { String::new() },
            script,
            ..BootOptions::default()
        }
    }

    fn image(&self, mac: MacAddress) -> BootImage {
        self.images.lock().unwrap().get(&mac).cloned().map_or(BootImage::Installed, BootImage::Adopted)
    }

    fn images(&self) -> BTreeSet<String> {
        self.images.lock().unwrap().values().cloned().collect()
    }

    fn event(&self, _: &BootEvent) {}
}

pub(crate) fn big_file() -> Vec<u8> {
    (0..BIG).map(|i| (i % 251) as u8).collect()
}

fn write_installed(folder: &Path) {
    let loader = &b"loader"[..];
    let files = [("initrd", &big_file()[..]), ("ipxe/ipxe.efi", loader), ("ipxe/snponly.efi", loader)];
    let files = [&files[..], &[("ipxe/undionly.kpxe", loader), ("root.img", b"installed root")]].concat();
    write_image(folder, "test", "x86_64", &files);
}

/// Writes an image for these processors; the digest of its manifest.
pub(crate) fn write_image(folder: &Path, version: &str, architecture: &str, files: &[(&str, &[u8])]) -> String {
    let mut artifacts = serde_json::Map::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        artifacts.insert((*name).to_owned(), json!({ "size": bytes.len(), "sha256": hex_digest(bytes) }));
    }
    let about = json!({ "version": 1, "image": version, "architecture": architecture, "artifacts": artifacts });
    let manifest = about.to_string();
    std::fs::write(folder.join("manifest.json"), &manifest).unwrap();
    hex_digest(manifest.as_bytes())
}

pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) struct Rig {
    pub(crate) server: PxeHandle,
    pub(crate) director: Arc<Named>,
    pub(crate) ports: Ports,
    pub(crate) folder: tempfile::TempDir,
    config: PxeConfig,
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Rig {
    pub(crate) async fn start(change: impl FnOnce(&mut Ports)) -> Self {
        Self::start_with(change, false).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Ports), tftp_single_port: bool) -> Self {
        Self::start_on(&["lo"], change, tftp_single_port).await
    }

    /// Serves these interfaces, of which the loopback one is there.
    pub(crate) async fn start_on(interfaces: &[&str], change: impl FnOnce(&mut Ports), tftp_single_port: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_installed(folder.path());
        std::fs::create_dir_all(folder.path().join("files/debian")).unwrap();
        std::fs::write(folder.path().join("files/debian/linux"), b"another kernel").unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut ports = Ports { dhcp: free_udp_port(), boot_server: free_udp_port(), tftp: free_udp_port(), http };
        change(&mut ports);
        let files = Some(folder.path().join("files"));
        let images = Some(folder.path().join("images"));
        let config = PxeConfig {
            ports,
            files,
            images,
            tftp_single_port,
            forms_file: Some(folder.path().join("forms.json")),
            ..PxeConfig::new(interfaces, folder.path())
        };
        Self::run(config, Arc::new(Named::default()), folder).await
    }

    /// Ends the server, and starts another one with the same settings and files.
    pub(crate) async fn restart(self) -> Self {
        let Self { server, director, folder, config, .. } = self;
        server.stop().await;
        Self::run(config, director, folder).await
    }

    async fn run(config: PxeConfig, director: Arc<Named>, folder: tempfile::TempDir) -> Self {
        let server = PxeServer::start(config.clone(), director.clone()).unwrap();
        let rig = Self { server, director, ports: config.ports, folder, config };
        rig.wait(|server| {
            let artifacts = server.artifacts();
            server.interfaces().iter().any(|interface| interface.address.is_some())
                && !artifacts.is_empty()
                && artifacts.iter().all(|artifact| artifact.state == ArtifactState::Ready)
        })
        .await;
        rig
    }

    pub(crate) async fn wait(&self, condition: impl Fn(&PxeHandle) -> bool) {
        let poll = async {
            while !condition(&self.server) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let events = || self.server.events(None, 0);
        tokio::time::timeout(Duration::from_secs(30), poll).await.unwrap_or_else(|_| panic!("{:#?}", events()));
    }

    /// All problems of its interfaces.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.server.interfaces().into_iter().flat_map(|interface| interface.problems).collect()
    }

    pub(crate) async fn wait_for_event(&self, code: &str, part: &str) {
        self.wait(|server| server.events(None, 0).iter().any(|event| event.code == code && event.text.contains(part)))
            .await;
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) async fn http(&self, request: impl Into<Vec<u8>>) -> Vec<u8> {
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
    pub(crate) async fn action(&self, mac: MacAddress) -> String {
        let (_, body) = self.get(&format!("/machine/{}/boot.json", mac.hyphenated()), "").await;
        let config: serde_json::Value = serde_json::from_slice(&body).expect("boot.json");
        config["action"].as_str().expect("an action").to_owned()
    }

    /// What this machine's iPXE is told to do.
    pub(crate) async fn script(&self, mac: MacAddress) -> String {
        let (head, body) = self.get(&format!("/ipxe/{}/boot.ipxe", mac.hyphenated()), "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        String::from_utf8(body).unwrap()
    }

    pub(crate) async fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        split(&self.http(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await)
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Head and body of an answer.
pub(crate) fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8(answer[..at + 2].to_vec()).unwrap(), answer[at + 4..].to_vec())
}

/// A PXE boot server request of UEFI firmware (PXE 2.1, 2.2.3), as it comes to port 4011.
pub(crate) fn boot_server_request(mac: MacAddress) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    // The transaction id tells the answers apart.
    packet[4..8].copy_from_slice(&mac.0[2..]);
    packet[28..34].copy_from_slice(&mac.0);
    packet[236..].copy_from_slice(&[99, 130, 83, 99]);
    packet.extend_from_slice(b"\x35\x01\x03\x3c\x09PXEClient\x5d\x02\x00\x07\xff");
    packet
}
