//! Five hundred machines that are switched on at once, without their firmware.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use dhcproto::v4::{DhcpOption, Message, OptionCode};
use meadow_rack::progress::Progress;
use meadow_rack::{Rack, RackConfig, interrupt, paths};

use crate::dhcp_client::{Relay, bios};
use crate::downloads::{self, Clients, HTTP, TFTP, artifact};
use crate::http_client::Connection;
use crate::measure::Measure;
use crate::process_usage::Process;
use crate::server::Server;
use crate::tftp_client::{self, Wishes};

const MACHINES: usize = 500;
/// Their network, behind the computer with this number.
const NETWORK: &str = "10.78.0.0/16";
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 78, 1, 0);
const CLIENTS: u8 = 10;
const SERVER: u8 = 2;
/// The greatest artifact, which the boot server checks last.
const ROOT: &str = "root.img";

/// When a machine got how far, in seconds since all were switched on.
struct Booted {
    script: f64,
    kernel: f64,
    root: f64,
    bytes: u64,
}

/// # Errors
/// When the boot server does not start.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let mut rack = Rack::build(&RackConfig { firmware: Vec::new(), memory_mib: 0 })?;
    let server = start(&mut rack)?;
    let first = u32::from(FIRST);
    let addresses = (first..).take(MACHINES).map(Ipv4Addr::from).collect();
    let clients = Clients::create(rack.computer_at("client", CLIENTS)?, addresses, 16)?;
    let way = rack.lan().subnet().host(CLIENTS).to_string();
    server.namespace.ip(&["route", "add", NETWORK, "via", &way])?;
    downloads::wait_served(&server.namespace, server.address, ROOT)?;
    let (mut last, mut scripts, mut speed, mut processor, mut failed) = (vec![], vec![], vec![], vec![], 0);
    for round in 1..=rounds {
        progress.line(&format!("{MACHINES} machines boot at once, round {round} of {rounds}"));
        interrupt::check()?;
        let (before, begun) = (server.processor_seconds()?, Instant::now());
        let all = clients.at_once(MACHINES, |own| boot(own, server.address, begun));
        let used = server.processor_seconds()? - before;
        failed += all.iter().filter(|booted| booted.is_err()).count();
        if let Some(Err(error)) = all.iter().find(|booted| booted.is_err()) {
            progress.line(&format!("one did not boot: {error:#}"));
        }
        let booted: Vec<Booted> = all.into_iter().flatten().collect();
        let latest = |when: fn(&Booted) -> f64| booted.iter().map(when).fold(0.0, f64::max);
        let bytes = megabytes(booted.iter().map(|booted| booted.bytes).sum());
        last.push(latest(|booted| booted.root));
        scripts.push((latest(|booted| booted.script), latest(|booted| booted.kernel)));
        speed.push(bytes / latest(|booted| booted.root));
        processor.push(used / bytes * 1e3);
    }
    let peak = Process::find(&server.namespace, "meadow-pxe")?.memory()?.peak;
    let name = |what: &str| format!("{MACHINES} machines: {what}");
    Ok(vec![
        Measure::rounds(name("all have their script after"), "s", scripts.iter().map(|times| times.0).collect()),
        Measure::rounds(name("all have kernel and initrd after"), "s", scripts.iter().map(|times| times.1).collect()),
        Measure::rounds(name("the last one has its root after"), "s", last),
        Measure::rounds(name("all that they download"), "MB/s", speed),
        Measure::rounds(name("processor of meadow-pxe"), "s/GB", processor),
        Measure::single(name("peak memory of meadow-pxe"), "MiB", peak).at_most(20.0),
        Measure::single(name("that did not boot, in all rounds"), "", f64::from(u32::try_from(failed)?)).at_most(0.0),
    ])
}

fn start(rack: &mut Rack) -> Result<Server> {
    let file = rack.run().file("many.toml");
    let image = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
    write_settings(&file, &image)?;
    let mut command = Command::new(paths::programs().join("meadow-pxe"));
    command.arg("--config").arg(file);
    Server::start(rack, SERVER, &command)
}

fn write_settings(file: &Path, image: &Path) -> Result<()> {
    let text = format!("interface = \"eth0\"\nartifacts = \"{}\"\nopen_minutes = 60\n", image.display());
    std::fs::write(file, text).context("cannot write settings")
}

/// What a BIOS, iPXE and the initramfs ask for, one after the other. The machine is its own relay agent.
fn boot(own: Ipv4Addr, server: Ipv4Addr, begun: Instant) -> Result<Booted> {
    let seconds = || begun.elapsed().as_secs_f64();
    let relay = Relay::open(own, server)?;
    let number = u32::from(own);
    let loader = boot_file(&relay.offer(number, &bios(false))?.0)?;
    let download =
        tftp_client::download(own, SocketAddr::from((server, TFTP)), &loader, Wishes { block: 1428, window: 1 })?;
    let script = boot_file(&relay.offer(number, &bios(true))?.0)?;
    let path = script
        .strip_prefix(&format!("http://{server}:{HTTP}"))
        .with_context(|| format!("no script of ours: {script}"))?;
    let mac = path.split('/').nth(2).context("a script of no machine")?;
    let mut connection = Connection::open(own, SocketAddr::from((server, HTTP)))?;
    let mut bytes = download.bytes + connection.ask("GET", path)?;
    let script = seconds();
    bytes += connection.ask("GET", &artifact("vmlinuz"))? + connection.ask("GET", &artifact("initrd"))?;
    let kernel = seconds();
    drop(connection);
    let mut connection = Connection::open(own, SocketAddr::from((server, HTTP)))?;
    bytes += connection.ask("GET", &format!("/machine/{mac}/boot.json"))?;
    bytes += connection.ask("GET", &artifact(ROOT))?;
    Ok(Booted { script, kernel, root: seconds(), bytes })
}

fn boot_file(offer: &Message) -> Result<String> {
    let Some(DhcpOption::BootfileName(name)) = offer.opts().get(OptionCode::BootfileName) else {
        let name = offer.fname().unwrap_or_default();
        ensure!(!name.is_empty(), "the offer names no boot file");
        return Ok(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
    };
    Ok(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1e3
}
