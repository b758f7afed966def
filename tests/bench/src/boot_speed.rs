//! Speed and processor time of the boot server beside those that others use, over TFTP and HTTP.

pub(crate) mod files;
mod relay;
pub(crate) mod server;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meadow_rack::progress::Progress;
use meadow_rack::{Rack, RackConfig, interrupt};

use crate::downloads::{self, Clients};
use crate::measure::{LEAST_ROUNDS, Measure};
use crate::process_usage::Process;
use crate::server::{self as measured, Server};
use crate::tftp_client::Wishes;

use files::{LARGE, MEDIUM, SMALL, TINY};
use relay::{Relay, Weather};
use server::Kind;

/// Clients with an address each, from this number on.
const CLIENTS: usize = 200;
const FIRST_CLIENT: u8 = 20;
/// The relay's address.
const RELAY: u8 = 12;
const GIB: f64 = (1_u64 << 30) as f64;
/// An Ethernet card of 1 Gbit/s takes so long for a block of 1428 bytes with all its headers.
const GIGABIT: Duration = Duration::from_nanos(11_900);

/// What clients do, and with which servers.
struct Scenario {
    name: &'static str,
    clients: usize,
    file: &'static str,
    load: Load,
    peers: &'static [Kind],
    /// Least speed, as a multiple of the best peer's, and greatest processor time.
    speed_goal: f64,
    processor_goal: Option<f64>,
}

#[derive(Clone, Copy)]
enum Load {
    Tftp(Wishes),
    /// So many downloads on each connection.
    Http(u32),
}

const BLOCK: u16 = 1428;

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "TFTP, 1 client, window 1",
        clients: 1,
        file: MEDIUM,
        load: Load::Tftp(Wishes { block: BLOCK, window: 1 }),
        peers: &[Kind::Dnsmasq, Kind::TftpdHpa, Kind::Atftpd, Kind::RustTftpd],
        speed_goal: 1.0,
        processor_goal: None,
    },
    Scenario {
        name: "TFTP, 1 client, window 64",
        clients: 1,
        file: MEDIUM,
        load: Load::Tftp(Wishes { block: BLOCK, window: 64 }),
        peers: &[Kind::Atftpd, Kind::RustTftpd],
        speed_goal: 3.0,
        processor_goal: None,
    },
    Scenario {
        name: "TFTP, 50 clients, window 16",
        clients: 50,
        file: SMALL,
        load: Load::Tftp(Wishes { block: BLOCK, window: 16 }),
        peers: &[Kind::Dnsmasq, Kind::TftpdHpa, Kind::Atftpd, Kind::RustTftpd],
        speed_goal: 2.7,
        processor_goal: Some(0.25),
    },
    Scenario {
        name: "TFTP, 200 clients, window 16",
        clients: CLIENTS,
        file: SMALL,
        load: Load::Tftp(Wishes { block: BLOCK, window: 16 }),
        peers: &[Kind::Atftpd, Kind::RustTftpd],
        speed_goal: 2.7,
        processor_goal: Some(0.25),
    },
    Scenario {
        name: "HTTP, 1 connection",
        clients: 1,
        file: LARGE,
        load: Load::Http(4),
        peers: &[Kind::Nginx],
        speed_goal: 1.0,
        processor_goal: Some(1.2),
    },
    Scenario {
        name: "HTTP, 50 connections",
        clients: 50,
        file: SMALL,
        load: Load::Http(20),
        peers: &[Kind::Nginx],
        speed_goal: 1.0,
        processor_goal: Some(1.2),
    },
    Scenario {
        name: "HTTP, 200 connections",
        clients: CLIENTS,
        file: SMALL,
        load: Load::Http(5),
        peers: &[Kind::Nginx],
        speed_goal: 1.0,
        processor_goal: Some(1.2),
    },
];

/// Of all weathers, each way.
const DELAY: Duration = Duration::from_millis(2);
/// Weather, window, and the least part of what it allows.
const WEATHERS: [(&str, u16, Weather); 4] = [
    ("round trip 4 ms", 64, Weather { delay: DELAY, lost_of: 0, room: None }),
    ("round trip 4 ms, 1 of 1000 lost", 64, Weather { delay: DELAY, lost_of: 1000, room: None }),
    ("round trip 4 ms, 1 of 100 lost", 16, Weather { delay: DELAY, lost_of: 100, room: None }),
    (
        "round trip 4 ms, 1 Gbit/s, room for 32 packets",
        64,
        Weather { delay: DELAY, lost_of: 0, room: Some((32, GIGABIT)) },
    ),
];
const LAW_GOAL: f64 = 0.9;

/// One run of one server.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// MB (10⁶ bytes) a second.
    speed: f64,
    /// Processor seconds of the server for a GiB.
    processor: f64,
    /// Clients that did not get their file.
    failed: u32,
}

/// # Errors
/// When a server or a download fails.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let peers = measured::fetch_peers()?;
    let mut rack = Rack::build(&RackConfig { firmware: Vec::new(), memory_mib: 0 })?;
    let folder = files::make(&rack.run().file("speed"))?;
    let subnet = rack.lan().subnet();
    let addresses = (FIRST_CLIENT..).take(CLIENTS).map(|number| subnet.host(number)).collect();
    let namespace = rack.computer_at("client", 10)?;
    let clients = Clients::create(namespace.clone(), addresses, 24)?;
    let mut servers = Vec::new();
    for kind in Kind::ALL {
        servers.push((kind, server::start(&mut rack, kind, &folder, &peers)?));
    }
    wait_for_all(&servers, &clients)?;
    let rounds = rounds.max(LEAST_ROUNDS);
    let (kind, own) = servers.first().context("no server")?;
    let process = Process::find(&own.namespace, kind.label())?;
    let mut measures =
        vec![Measure::single("meadow-pxe idle: resident", "MiB", process.memory()?.resident).at_most(10.0)];
    for scenario in &SCENARIOS {
        measures.extend(scenario.measure(rounds, &servers, &clients, progress)?);
    }
    let peak = process.memory()?.peak;
    measures
        .push(Measure::single("meadow-pxe: peak with 200 transfers and 200 connections", "MiB", peak).at_most(20.0));
    let relays = rack.computer_at("relay", RELAY)?;
    let calm = Weather { delay: DELAY, lost_of: 0, room: None };
    let relay = Relay::start(&relays, subnet.host(RELAY), own.address, calm)?;
    let round_trip = round_trip(&clients, subnet.host(RELAY))?;
    drop(relay);
    let name = "TFTP over the relay, block by block: time for each".to_owned();
    measures.push(Measure::single(name, "ms", round_trip * 1e3));
    for (name, window, weather) in WEATHERS {
        progress.line(&format!("TFTP over a bad network: {name}"));
        let relay = Relay::start(&relays, subnet.host(RELAY), own.address, weather)?;
        let shares = shares_of_law(rounds, &clients, subnet.host(RELAY), window, round_trip)?;
        drop(relay);
        let name = format!("TFTP, window {window}, {name}: part of the law");
        measures.push(Measure::rounds(name, "x", shares).at_least(LAW_GOAL));
    }
    Ok(measures)
}

fn wait_for_all(servers: &[(Kind, Server)], clients: &Clients) -> Result<()> {
    let wishes = Wishes { block: BLOCK, window: 1 };
    for (kind, server) in servers {
        match kind {
            Kind::Own => downloads::wait_served(&server.namespace, server.address, LARGE)?,
            Kind::Nginx => downloads::wait_served(&server.namespace, server.address, SMALL)?,
            // Clients repeat their request.
            _ => {
                let all: Result<Vec<_>> = clients.over_tftp(1, server.address, SMALL, wishes).into_iter().collect();
                all.with_context(|| format!("{} does not serve", kind.label()))?;
            }
        }
    }
    Ok(())
}

impl Scenario {
    fn measure(
        &self,
        rounds: u32,
        servers: &[(Kind, Server)],
        clients: &Clients,
        progress: &mut Progress,
    ) -> Result<Vec<Measure>> {
        let wanted = |(kind, _): &&(Kind, Server)| *kind == Kind::Own || self.peers.contains(kind);
        let mut runs: Vec<(Kind, Vec<Run>)> =
            servers.iter().filter(wanted).map(|(kind, _)| (*kind, Vec::new())).collect();
        for round in 1..=rounds {
            progress.line(&format!("{}, round {round} of {rounds}", self.name));
            interrupt::check()?;
            for ((kind, server), (_, taken)) in servers.iter().filter(wanted).zip(&mut runs) {
                let run = self.run(server, clients);
                taken.push(run.with_context(|| format!("{} from {}", self.name, kind.label()))?);
            }
        }
        let mut measures = Vec::new();
        for (kind, taken) in &runs {
            let of = |what: fn(&Run) -> f64| taken.iter().map(what).collect();
            let label = kind.label();
            measures.push(Measure::rounds(format!("{}: {label}", self.name), "MB/s", of(|run| run.speed)));
            let name = format!("{}: {label}, processor", self.name);
            measures.push(Measure::rounds(name, "s/GiB", of(|run| run.processor)));
        }
        for (kind, taken) in &runs {
            let failed: u32 = taken.iter().map(|run| run.failed).sum();
            if failed > 0 || *kind == Kind::Own {
                let of = self.clients * taken.len();
                let name = format!("{}: {}, clients of {of} that failed", self.name, kind.label());
                let measure = Measure::single(name, "", f64::from(failed));
                measures.push(if *kind == Kind::Own { measure.at_most(0.0) } else { measure });
            }
        }
        measures.extend(self.ratios(&runs));
        Ok(measures)
    }

    /// Against the best peer, round by round. The best is the one with the best median.
    fn ratios(&self, runs: &[(Kind, Vec<Run>)]) -> Vec<Measure> {
        let Some(((_, own), peers)) = runs.split_first() else { return Vec::new() };
        let speeds = |taken: &[Run]| Measure::rounds("", "", taken.iter().map(|run| run.speed).collect()).median;
        let Some((kind, best)) = peers.iter().max_by(|a, b| speeds(&a.1).total_cmp(&speeds(&b.1))) else {
            return Vec::new();
        };
        let ratio = |what: fn(&Run) -> f64| own.iter().zip(best).map(|(own, peer)| what(own) / what(peer)).collect();
        let name = |what: &str| format!("{}: meadow-pxe ÷ {}, {what}", self.name, kind.label());
        let processor = Measure::rounds(name("processor"), "x", ratio(|run| run.processor));
        vec![
            Measure::rounds(name("speed"), "x", ratio(|run| run.speed)).at_least(self.speed_goal),
            match self.processor_goal {
                Some(goal) => processor.at_most(goal),
                None => processor,
            },
        ]
    }

    fn run(&self, server: &Server, clients: &Clients) -> Result<Run> {
        let (before, begun) = (server.processor_seconds()?, Instant::now());
        let all: Vec<Result<u64>> = match self.load {
            Load::Tftp(wishes) => {
                let all = clients.over_tftp(self.clients, server.address, self.file, wishes);
                all.into_iter().map(|download| download.map(|download| download.bytes)).collect()
            }
            Load::Http(times) => clients.over_http(self.clients, server.address, self.file, times),
        };
        let (seconds, after) = (begun.elapsed().as_secs_f64(), server.processor_seconds()?);
        let failed = all.iter().filter(|result| result.is_err()).count();
        let bytes = as_float(all.into_iter().flatten().sum());
        Ok(Run {
            speed: bytes / seconds / 1e6,
            processor: (after - before) / (bytes / GIB),
            failed: u32::try_from(failed)?,
        })
    }
}

/// The round trip over a relay with all wake-ups of relay, client and server: seconds for each block of a transfer block
/// by block.
fn round_trip(clients: &Clients, relay: Ipv4Addr) -> Result<f64> {
    let begun = Instant::now();
    let wishes = Wishes { block: BLOCK, window: 1 };
    let download = clients.over_tftp(1, relay, TINY, wishes).pop().context("no download")??;
    // With the exchange of options, and the empty or short block at the end.
    let blocks = as_float(download.bytes) / f64::from(BLOCK) + 1.5;
    Ok(begun.elapsed().as_secs_f64() / blocks)
}

/// What part of window × block ÷ (round trip + the client's own time) was reached. The client's time is what it measured
/// itself from a window's first block to its last. A transfer that broke off reached nothing.
fn shares_of_law(rounds: u32, clients: &Clients, relay: Ipv4Addr, window: u16, round_trip: f64) -> Result<Vec<f64>> {
    let mut shares = Vec::new();
    for _ in 0..rounds {
        interrupt::check()?;
        let begun = Instant::now();
        let Some(Ok(download)) = clients.over_tftp(1, relay, MEDIUM, Wishes { block: BLOCK, window }).pop() else {
            shares.push(0.0);
            continue;
        };
        let seconds = begun.elapsed().as_secs_f64();
        let taking = download.taking / f64::from(download.windows.max(1));
        let law = f64::from(window) * f64::from(BLOCK) / (round_trip + taking);
        shares.push(as_float(download.bytes) / seconds / law);
    }
    Ok(shares)
}

fn as_float(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::INFINITY, |kib| f64::from(kib) * 1024.0)
}
