//! How fast changes become durable, beside what the disk can do: `commit_bench [FOLDER [ROUNDS]]`.
//!
//! Each round measures the raw `fdatasync` of a 4 KiB write, one client, and 64 clients, one after the other, so that
//! a disk that changes its mind does not favour one of them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meadow_model::boot::BootPolicy;
use meadow_model::{MacAddress, Timestamp};
use meadow_raft::{Replica, ReplicaConfig, ReplicaHandle};
use meadow_state::command::{Bootstrap, Command, FirstNode, MachineRef, Proposal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SAMPLES: usize = 300;
const CLIENTS: usize = 64;
const MACHINES: u32 = 1000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds: usize = arguments.next().map_or(Ok(5), |n| n.parse())?;
    let folder = folder.join(format!("meadow-commit-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let outcome = runtime.block_on(measure(&folder, rounds));
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn measure(folder: &Path, rounds: usize) -> Result<()> {
    let replica = Replica::open(folder, ReplicaConfig::new(1))?;
    replica.propose(bootstrap()).await?;
    for number in 0..MACHINES {
        replica.propose(set_boot(number, 0)).await?;
    }
    println!("{MACHINES} machines in the state; microseconds, median of {rounds} rounds");
    let (mut raw, mut one, mut tail, mut rate) = (vec![], vec![], vec![], vec![]);
    for round in 0..rounds {
        raw.push(percentile(&mut raw_sync(folder)?, 50));
        let mut single = one_client(&replica, round).await?;
        one.push(percentile(&mut single, 50));
        tail.push(percentile(&mut single, 99));
        rate.push(many_clients(&replica, round).await?);
    }
    let (raw, one, tail) = (median(raw), median(one), median(tail));
    rate.sort_by(f64::total_cmp);
    let rate = rate.get(rate.len() / 2).copied().unwrap_or(0.0);
    println!("raw fdatasync            p50 {:>8.0}", micros(raw));
    println!(
        "1 client                 p50 {:>8.0}  p99 {:.0}  ({:.2} x raw)",
        micros(one),
        micros(tail),
        micros(one) / micros(raw)
    );
    println!("{CLIENTS} clients   changes/s {rate:>9.0}  ({:.2} x raw)", rate * raw.as_secs_f64());
    replica.shutdown().await;
    Ok(())
}

fn raw_sync(folder: &Path) -> Result<Vec<Duration>> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("raw"))?;
    let block = [7; 4096];
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}

async fn one_client(replica: &ReplicaHandle, round: usize) -> Result<Vec<Duration>> {
    let mut samples = Vec::with_capacity(SAMPLES);
    for number in 0..SAMPLES {
        let proposal = set_boot(u32::try_from(number)?, round + 1);
        let start = Instant::now();
        replica.propose(proposal).await?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}

async fn many_clients(replica: &ReplicaHandle, round: usize) -> Result<f64> {
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let replica = replica.clone();
            tokio::spawn(async move {
                for number in 0..SAMPLES / 4 {
                    let machine = u32::try_from((client * 31 + number) % 1000).unwrap_or(0);
                    replica.propose(set_boot(machine, round + number + client)).await?;
                }
                Ok::<(), meadow_model::Problem>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok((CLIENTS * (SAMPLES / 4)) as f64 / start.elapsed().as_secs_f64())
}

fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() * percent / 100).copied().unwrap_or_default()
}

fn median(mut samples: Vec<Duration>) -> Duration {
    percentile(&mut samples, 50)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn proposal(command: Command) -> Proposal {
    Proposal {
        at: Timestamp::from_millis(1_800_000_000_000),
        actor: "user bench".to_owned(),
        idempotency_key: None,
        command,
    }
}

fn set_boot(number: u32, round: usize) -> Proposal {
    let [a, b, c, d] = number.to_be_bytes();
    let boot = if round.is_multiple_of(2) { BootPolicy::Image } else { BootPolicy::Hold };
    proposal(Command::SetBoot {
        machine: MachineRef::Mac(MacAddress([0x52, 0x54, a, b, c, d])),
        boot,
        plain_pxe: false,
        options: meadow_model::boot::BootOptions::default(),
        if_match: None,
    })
}

fn bootstrap() -> Proposal {
    let name = |text: &str| meadow_model::Name::new(text).unwrap_or_else(|e| panic!("{e}"));
    proposal(Command::Bootstrap(Box::new(Bootstrap {
        cluster: name("bench"),
        ca_fingerprint: meadow_model::Fingerprint([1; 32]),
        authorized_keys: Vec::new(),
        release_key: String::new(),
        node: FirstNode {
            name: name("seed"),
            fingerprint: meadow_model::Fingerprint([2; 32]),
            wireguard: meadow_model::mesh::WireGuardKey([3; 32]),
            endpoint: None,
            hardware: None,
            measures: None,
        },
        pxe_open_until: None,
    })))
}
