//! How long others wait while a file is sent that is not in memory.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use dhcproto::v4::{DhcpOption, HType, Message, MessageType, Opcode};
use dhcproto::{Encodable, Encoder};
use meadow_rack::namespace::Namespace;
use meadow_rack::progress::Progress;
use meadow_rack::{Rack, RackConfig, interrupt, paths};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::boot_speed::files::{self, LARGE, TINY};
use crate::boot_speed::server::{self, Kind};
use crate::dhcp_client::bios;
use crate::downloads::{self, Clients, TFTP, in_namespace};
use crate::measure::{LEAST_ROUNDS, Measure};
use crate::server::Server;
use crate::tftp_client::{self, Wishes};

const SERVER: u8 = 2;
const CLIENTS: u8 = 10;
const FIRST_CLIENT: u8 = 20;
/// How many fetch the cold file at once, over TFTP and over HTTP.
const OVER_TFTP: usize = 4;
const OVER_HTTP: usize = 8;
/// Port of PXE boot servers.
const BOOT_SERVER: u16 = 4011;
/// When firmware asks again, and how long it may take in all.
const PATIENCE: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(60);
/// The machine that asks port 4011.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// An iPXE waits so long for an answer, in milliseconds.
const HABIT: f64 = 2000.0;

/// # Errors
/// When a server or a download fails, or the file system keeps the file in memory.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let mut rack = Rack::build(&RackConfig { firmware: Vec::new(), memory_mib: 0 })?;
    let folder = files::make(&rack.run().file("cold"))?;
    let subnet = rack.lan().subnet();
    let most = OVER_TFTP.max(OVER_HTTP) + 1;
    let addresses: Vec<Ipv4Addr> = (FIRST_CLIENT..).take(most).map(|number| subnet.host(number)).collect();
    let prober = *addresses.last().context("no client")?;
    let namespace = rack.computer_at("client", CLIENTS)?;
    let clients = Clients::create(namespace.clone(), addresses, 24)?;
    let own = start(&mut rack, &folder)?;
    let peer = server::start(&mut rack, Kind::Dnsmasq, &folder, Path::new(""))?;
    downloads::wait_served(&own.namespace, own.address, LARGE)?;
    let stand = Stand { clients, namespace, prober, large: folder.join(LARGE) };
    // Clients repeat their request until it serves.
    stand.block_of_warm_file(peer.address)?;

    let (mut reads, mut ours, mut theirs, mut boot_server) = (vec![], vec![], vec![], vec![]);
    let rounds = rounds.max(LEAST_ROUNDS);
    for round in 1..=rounds {
        progress.line(&format!("beside a cold file, round {round} of {rounds}"));
        interrupt::check()?;
        reads.push(stand.read()?);
        ours.push(stand.beside_tftp(own.address)?);
        theirs.push(stand.beside_tftp(peer.address)?);
        boot_server.push(stand.beside_http(own.address)?);
    }
    let tftp = format!("longest wait for a block, beside {OVER_TFTP} TFTP transfers of a cold file");
    let http = format!("longest wait for port {BOOT_SERVER}, beside {OVER_HTTP} HTTP downloads of a cold file");
    let ratios = ours.iter().zip(&theirs).map(|(own, peer)| own / peer).collect();
    Ok(vec![
        Measure::rounds("the disk alone, for the whole file", "ms", reads),
        Measure::rounds(format!("meadow-pxe: {tftp}"), "ms", ours),
        Measure::rounds(format!("dnsmasq: {tftp}"), "ms", theirs),
        Measure::rounds(format!("meadow-pxe ÷ dnsmasq: {tftp}"), "x", ratios).at_most(1.0),
        Measure::rounds(format!("meadow-pxe: {http}"), "ms", boot_server).at_most(HABIT),
    ])
}

/// Our boot server, which has a script for the machine that asks.
fn start(rack: &mut Rack, folder: &Path) -> Result<Server> {
    let (settings, script) = (rack.run().file("cold.toml"), rack.run().file("cold.ipxe"));
    fs::write(&script, "#!ipxe\nshell\n")?;
    let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
    let text = format!(
        "interface = \"eth0\"\nartifacts = \"{}\"\n[[machine]]\nmac = \"{mac}\"\npolicy = \"script\"\nscript_file = \"{}\"\n",
        folder.display(),
        script.display()
    );
    fs::write(&settings, text).context("cannot write settings")?;
    let mut command = Command::new(paths::programs().join("meadow-pxe"));
    command.arg("--config").arg(settings);
    Server::start(rack, SERVER, &command)
}

/// The clients, and one beside them.
struct Stand {
    clients: Clients,
    namespace: Namespace,
    prober: Ipv4Addr,
    large: std::path::PathBuf,
}

impl Stand {
    /// Has the kernel forget the file; it.
    fn forget(&self) -> Result<File> {
        let file = File::open(&self.large)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        let mut byte = [0];
        let read = preadv2(&file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT);
        ensure!(read == Err(Errno::AGAIN), "{} stays in memory; MEADOW_CACHE is to be on a disk", self.large.display());
        Ok(file)
    }

    /// Milliseconds that the disk takes for the whole file.
    fn read(&self) -> Result<f64> {
        let mut file = self.forget()?;
        let (begun, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
        while file.read(&mut buffer)? > 0 {}
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }

    fn beside_tftp(&self, server: Ipv4Addr) -> Result<f64> {
        self.forget()?;
        let load = || {
            let wishes = Wishes { block: 1428, window: 16 };
            let all = self.clients.over_tftp(OVER_TFTP, server, LARGE, wishes);
            all.into_iter().try_for_each(|download| download.map(drop))
        };
        self.longest(load, || self.block_of_warm_file(server))
    }

    fn beside_http(&self, server: Ipv4Addr) -> Result<f64> {
        self.forget()?;
        let load = || {
            let all = self.clients.over_http(OVER_HTTP, server, LARGE, 1);
            all.into_iter().try_for_each(|download| download.map(drop))
        };
        self.longest(load, || in_namespace(&self.namespace, || ask_boot_server(self.prober, server)))
    }

    /// Longest wait for a block of a small file, in seconds.
    fn block_of_warm_file(&self, server: Ipv4Addr) -> Result<f64> {
        let wishes = Wishes { block: 1428, window: 1 };
        let server = SocketAddr::from((server, TFTP));
        in_namespace(&self.namespace, || Ok(tftp_client::download(self.prober, server, TINY, wishes)?.longest))
    }

    /// Probes again and again until the load is done; the longest wait of all probes in milliseconds.
    fn longest(&self, load: impl FnOnce() -> Result<()> + Send, probe: impl Fn() -> Result<f64>) -> Result<f64> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let loading = scope.spawn(|| {
                let done = load();
                is_over.store(true, Ordering::Relaxed);
                done
            });
            let probe_all = || {
                let mut longest = probe()?;
                while !is_over.load(Ordering::Relaxed) {
                    longest = longest.max(probe()?);
                }
                anyhow::Ok(longest)
            };
            let longest = probe_all();
            loading.join().unwrap_or_else(|_| bail!("the load panicked"))?;
            Ok(longest? * 1e3)
        })
    }
}

/// Asks port 4011 as an iPXE would that was told to; the seconds until it is answered.
fn ask_boot_server(own: Ipv4Addr, server: Ipv4Addr) -> Result<f64> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(1, own, none, none, none, &MAC);
    message.set_opcode(Opcode::BootRequest).set_htype(HType::Eth);
    message.opts_mut().insert(DhcpOption::MessageType(MessageType::Request));
    for option in bios(true) {
        message.opts_mut().insert(option);
    }
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes))?;
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let begun = Instant::now();
    while begun.elapsed() < SILENCE {
        socket.send_to(&bytes, (server, BOOT_SERVER))?;
        if socket.recv(&mut [0; 1500]).is_ok() {
            return Ok(begun.elapsed().as_secs_f64());
        }
    }
    bail!("port {BOOT_SERVER} of {server} does not answer")
}
