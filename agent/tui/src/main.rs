//! `meadow-console`: the first page of a machine's console, on a terminal or a serial line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use meadow_client::{Client, LOCAL_SOCKET, Timeouts};
use meadow_host::SystemClock;
use meadow_tui::page::Page;
use meadow_tui::poll;
use meadow_tui::screen::Screen;
use meadow_tui::tty::Tty;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How often the agent is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait for it: it is on this machine.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), answer: Duration::from_secs(5) };

/// Shows what this machine is and where it stands. Read-only; any key draws the page anew.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Terminal to draw on, such as /dev/ttyS0; standard input where it is not given.
    #[arg(long)]
    tty: Option<PathBuf>,
    /// The agent's socket.
    #[arg(long, default_value = LOCAL_SOCKET)]
    socket: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let tty = match &arguments.tty {
        Some(path) => Tty::open(path).with_context(|| format!("cannot use the terminal {}", path.display()))?,
        None => Tty::stdin().context("standard input is no terminal; name one with --tty")?,
    };
    run(&tty, &Client::unix(arguments.socket).with_timeouts(TIMEOUTS)).await
}

async fn run(tty: &Tty, client: &Client) -> anyhow::Result<()> {
    let mut keys = tty.keys()?;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut page = Page::default();
    let mut screen = Screen::new(tty.writer()?, tty.size())?;
    screen.show(&page)?;
    loop {
        let mut redraw = false;
        tokio::select! {
            _ = ticks.tick() => poll::update(&mut page, client, &SystemClock).await,
            key = keys.recv() => {
                // Whoever comes to a serial line sees nothing until something changes: a key shows it.
                key.context("the terminal hung up")?;
                redraw = true;
            }
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
        if redraw || screen.size() != tty.size() {
            screen = Screen::new(tty.writer()?, tty.size())?;
        }
        screen.show(&page)?;
    }
    Ok(screen.leave()?)
}
