//! `meadowd`, the agent of a node: wires the parts together.

mod backend;
mod director;
mod disk_watch;
mod enrolment;
mod image_share;
mod images;
mod lan;
mod listener;
mod local;
mod machine;
mod own_computer;
mod own_voice;
mod patience;
mod pxe;
mod pxe_doctor;
mod rollouts;
mod seed;
mod spent_orders;
mod stick;
mod tickets;
mod voter_mesh;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use meadow_controllers::paths::Paths;
use meadow_controllers::self_status::SelfStatus;
use meadow_host::files::{self, Access};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// The agent of a Meadow node.
///
/// On the host where `meadow init` made a cluster it serves the API and PXE; on a machine that booted Meadow's image,
/// or where `meadow join` was run, it enrols and keeps the machine a node.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Prefix of all files of the agent, for tests.
    #[arg(long, default_value = "/")]
    root: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("MEADOW_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // The journal adds the time itself.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    meadow_host::memory::use_one_arena();
    // One thread: the agent mostly waits, and each step of a task that moves between threads wakes another one. What
    // carries data for many machines at once has threads of its own (`pxe`), and so has what blocks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(Paths::below(arguments.root)))
}

async fn run(paths: Paths) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    files::make_folder(&paths.run_dir(), Access::Public)?;
    files::make_folder(&paths.state_dir(), Access::Private)?;
    let status = SelfStatus::starting(env!("CARGO_PKG_VERSION"));
    tokio::spawn(status.clone().keep_addresses());
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let ended = if files::exists(&paths.state().bootstrap()) {
        seed::run(&paths, &status, stop).await.context("this node cannot serve the cluster")
    } else {
        tokio::select! {
            ended = machine::run(&paths, &status) => ended.context("this machine cannot enrol"),
            () = stop => Ok(()),
        }
    };
    ended.inspect(|()| info!("stopped"))
}
