//! `meadow-console`: a machine's console, on a terminal or a serial line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use meadow_client::{Client, LOCAL_SOCKET, Timeouts};
use meadow_host::SystemClock;
use meadow_tui::app::{App, IDLE};
use meadow_tui::screen::Screen;
use meadow_tui::tty::Tty;
use meadow_tui::{poll, work};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

/// How often the agent is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait for it: it is on this machine.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), answer: Duration::from_secs(5) };

/// Shows what this machine is and where it stands; sets its network cards and installs it. Any other key draws the page
/// anew.
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
    let worker = Client::unix(arguments.socket.clone());
    run(&tty, &Client::unix(arguments.socket).with_timeouts(TIMEOUTS), &worker).await
}

async fn run(tty: &Tty, client: &Client, worker: &Client) -> anyhow::Result<()> {
    let mut keys = tty.keys()?;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut app = App::default();
    let mut last_key = Instant::now();
    let mut screen = Screen::new(tty.writer()?, tty.size())?;
    screen.show(&app)?;
    loop {
        let mut redraw = false;
        tokio::select! {
            _ = ticks.tick() => {
                poll::update(&mut app.page, client, &SystemClock).await;
                work::follow(&mut app, worker).await;
                if last_key.elapsed() > IDLE {
                    app.idle();
                }
            }
            key = keys.recv() => {
                last_key = Instant::now();
                let (wish, anew) = app.press(key.context("the terminal hung up")?);
                redraw = anew;
                if let Some(wish) = wish {
                    // What was wanted is shown before it is done: that may take a while.
                    screen.show(&app)?;
                    work::carry_out(wish, &mut app, worker).await;
                } else if anew {
                    work::follow(&mut app, worker).await;
                }
            }
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
        // Whoever comes to a serial line sees nothing until something changes: a key shows it.
        if redraw || screen.size() != tty.size() {
            screen = Screen::new(tty.writer()?, tty.size())?;
        }
        screen.show(&app)?;
    }
    Ok(screen.leave()?)
}
