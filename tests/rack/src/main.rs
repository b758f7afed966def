//! `meadow-rack`: three bare machines become nodes, in network namespaces of their own. `make run` calls it.

mod up;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use meadow_rack::progress::Progress;
use meadow_rack::run_dir::RunDir;
use meadow_rack::{Firmware, Rack, RackConfig, interrupt};

/// A virtual rack: a home router, a seed node and blank machines that boot from it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the rack with a seed, boot all machines over the network and wait until they are ready nodes.
    Run(RunOptions),
    /// Router and blank machines without a seed, powered on, until Ctrl-C.
    Bare(Size),
    /// Take down racks whose owner has died.
    Clean,
}

#[derive(clap::Args)]
struct RunOptions {
    #[command(flatten)]
    size: Size,
    /// Who approves the machines: a ticket for each, or you.
    #[arg(long, value_enum, default_value_t = Approve::Ticket)]
    approve: Approve,
    /// Whether the rack stays up until Ctrl-C; without it, it does on a terminal.
    #[arg(long, value_enum)]
    stay: Option<Stay>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Approve {
    Ticket,
    Ask,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stay {
    Yes,
    No,
}

#[derive(clap::Args)]
struct Size {
    /// Number of machines.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    machines: u8,
    /// Memory of each machine in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(512..))]
    memory: u32,
    /// Firmware that the machines take turns in: bios, uefi, http.
    #[arg(long, value_delimiter = ',', default_value = "bios,uefi,http")]
    firmware: Vec<Firmware>,
}

impl Size {
    fn rack(&self) -> RackConfig {
        RackConfig { memory_mib: self.memory, ..RackConfig::cycled(self.machines, &self.firmware) }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    interrupt::catch_signals()?;
    match &arguments.command {
        Command::Run(options) => up::run(&options.size.rack(), options.approve == Approve::Ask, stays(options.stay)),
        Command::Bare(size) => bare(&size.rack()),
        Command::Clean => RunDir::create().map(|mut run| run.keep_logs(false)),
    }
}

fn stays(wish: Option<Stay>) -> bool {
    wish.map_or_else(|| std::io::stdout().is_terminal(), |stay| stay == Stay::Yes)
}

fn bare(config: &RackConfig) -> Result<()> {
    let mut progress = Progress::default();
    let mut rack = Rack::build(config)?;
    rack.power_on_all()?;
    progress.line(&format!(
        "the rack {} is up, with {}; its logs are in {}",
        rack.run().id(),
        rack.accelerator(),
        rack.run().path().display()
    ));
    while !interrupt::requested() {
        rack.look_after()?;
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    Ok(())
}
