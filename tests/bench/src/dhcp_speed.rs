//! Leases a second and the time to an offer, beside other DHCP servers.

mod server;

use anyhow::{Context, Result};
use meadow_rack::progress::Progress;
use meadow_rack::{Rack, RackConfig, interrupt, wait};

use crate::dhcp_client::{Leased, Relay};
use crate::downloads::in_namespace;
use crate::measure::{LEAST_ROUNDS, Measure};
use crate::server::{Server, fetch_peers};

use server::{BLOCK, CLIENTS, Kind, RELAY};

/// Leases in a round, and clients at once.
const LEASES: u32 = 2000;
const AT_ONCE: usize = 32;
/// Offers in a round, one after the other.
const OFFERS: u32 = 300;
/// Each round and server has clients that were never seen before.
const OF_A_ROUND: u32 = LEASES + OFFERS;

/// One run of one server.
struct Run {
    leased: Leased,
    /// Processor seconds for a thousand leases: the server's, and the clients' own.
    processor: f64,
    clients: f64,
    /// Milliseconds to an offer: the median and the 99th of a hundred.
    offer: (f64, f64),
}

/// # Errors
/// When a server does not start or does not answer.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let peers = fetch_peers()?;
    let mut rack = Rack::build(&RackConfig { firmware: Vec::new(), memory_mib: 0 })?;
    rack.switch_router_off()?;
    let clients = rack.computer_at("client", CLIENTS)?;
    clients.ip(&["addr", "add", &format!("{RELAY}/16"), "dev", "eth0"])?;
    let mut servers = Vec::new();
    for kind in Kind::ALL {
        let server = server::start(&mut rack, kind, &peers)?;
        let asks = || in_namespace(&clients, || Ok(Relay::open(RELAY, server.address)?.offer(1, &[]).ok().map(drop)));
        wait::until(&format!("an offer of {}", kind.label()), std::time::Duration::from_secs(60), asks)?;
        servers.push((kind, server, Vec::new()));
    }
    for round in 0..rounds.max(LEAST_ROUNDS) {
        progress.line(&format!("leases of {BLOCK}, round {} of {}", round + 1, rounds.max(LEAST_ROUNDS)));
        interrupt::check()?;
        for (kind, server, runs) in &mut servers {
            let run = in_namespace(&clients, || run(server, 2 + round * OF_A_ROUND));
            runs.push(run.with_context(|| kind.label())?);
        }
    }
    Ok(report(&servers))
}

fn run(server: &Server, first: u32) -> Result<Run> {
    let relay = Relay::open(RELAY, server.address)?;
    let before = (server.processor_seconds()?, own_seconds()?);
    let leased = relay.leases(first, LEASES, AT_ONCE)?;
    let for_thousand = |seconds: f64| seconds / f64::from(leased.leases.max(1)) * 1e3;
    let clients = for_thousand(own_seconds()? - before.1);
    let processor = for_thousand(server.processor_seconds()? - before.0);
    let times: Result<Vec<f64>> =
        (first + LEASES..first + OF_A_ROUND).map(|number| Ok(relay.offer(number, &[])?.1 * 1e3)).collect();
    let mut times = times?;
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(f64::NAN);
    Ok(Run { leased, processor, clients, offer: (at(50), at(99)) })
}

/// Processor seconds of the calling thread, from the scheduler's own account (`Documentation/scheduler/sched-stats`).
fn own_seconds() -> Result<f64> {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no account of threads")?;
    let nanoseconds: f64 = text.split(' ').next().context("an empty account")?.parse()?;
    Ok(nanoseconds / 1e9)
}

fn report(servers: &[(Kind, Server, Vec<Run>)]) -> Vec<Measure> {
    let mut measures = Vec::new();
    for (kind, _, runs) in servers {
        let name = |what: &str| format!("{}: {what}", kind.label());
        let of = |what: fn(&Run) -> f64| runs.iter().map(what).collect::<Vec<_>>();
        let offer = Measure::rounds(name("time to an offer, median"), "ms", of(|run| run.offer.0));
        measures.extend([
            Measure::rounds(name("leases a second, 32 clients at once"), "/s", of(per_second)),
            Measure::rounds(name("processor for 1000 leases"), "s", of(|run| run.processor)),
            Measure::rounds(name("clients' own processor for 1000 leases"), "s", of(|run| run.clients)),
            if *kind == Kind::Own { offer.at_most(0.1) } else { offer },
            Measure::rounds(name("time to an offer, 99 of 100"), "ms", of(|run| run.offer.1)),
        ]);
        let failed: u32 = runs.iter().map(|run| run.leased.failed).sum();
        if failed > 0 || *kind == Kind::Own {
            measures.push(Measure::single(name("clients without a lease"), "", f64::from(failed)).at_most(0.0));
        }
    }
    if let [(_, _, own), (kind, _, peer), ..] = servers {
        let ratio = own.iter().zip(peer).map(|(own, peer)| per_second(own) / per_second(peer)).collect();
        measures.push(Measure::rounds(format!("leases a second ÷ {}", kind.label()), "x", ratio).at_least(2.0));
    }
    measures
}

fn per_second(run: &Run) -> f64 {
    f64::from(run.leased.leases) / run.leased.seconds
}
