//! `meadow-pxe`: the boot server alone, with its policies from a file.

mod file_director;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use meadow_pxe::PxeServer;
use tokio::signal::unix::{SignalKind, signal};

use file_director::{FileConfig, FileDirector};

/// Boots machines over the network, beside the home router's DHCP server.
#[derive(Debug, Parser)]
#[command(name = "meadow-pxe", version)]
struct Arguments {
    /// Settings: interfaces, artifacts, machines (TOML; see pxe/README.md).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let config = FileConfig::read(&arguments.config)?;
    // Verifying files takes a thread of its own; two more keep a card of 10 Gbit/s busy.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: FileConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
    let director = Arc::new(FileDirector::new(&config));
    let server = PxeServer::start(config.server(), director)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}
