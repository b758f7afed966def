//! What `make run` does: bring the site up, show it, stay.

use std::collections::BTreeSet;
use std::io::{IsTerminal, stdin};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use meadow_rack::cluster::MachineRow;
use meadow_rack::interrupt::Interrupted;
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{RackConfig, Site, interrupt, paths};

/// Within this time all machines are ready; a person who approves has as long as they like.
const LIMIT: Duration = Duration::from_secs(900);

/// Brings up a rack with a seed, waits until all machines are ready nodes, and shows them. With `ask` a person approves
/// each machine; with `stay` the rack stands until Ctrl-C.
pub(crate) fn run(config: &RackConfig, ask: bool, stay: bool) -> Result<()> {
    let mut progress = Progress::default();
    let mut site = Site::build(config, &SeedConfig::default(), &mut progress)?;
    let ready = bring_up(&mut site, ask, &mut progress);
    if let Err(error) = &ready
        && !error.is::<Interrupted>()
    {
        progress.line(&format!("failed; the logs stay in {}", site.rack().run().path().display()));
        site.rack_mut().parts().0.keep_logs(true);
    }
    if ready.is_ok() && stay {
        progress.line("Ctrl-C takes the rack down");
        stand(&mut site, &mut progress);
    }
    drop(site);
    progress.line("the rack is down");
    ready
}

/// From bare machines to ready nodes and their table.
fn bring_up(site: &mut Site, ask: bool, progress: &mut Progress) -> Result<()> {
    if !ask {
        site.arm_all()?;
        progress.line("machines: the next boot of each is armed with a ticket");
    }
    site.rack_mut().power_on_all()?;
    progress.line("machines: power on");
    if ask {
        approve_all(site, progress)?;
    }
    site.wait_ready(LIMIT, progress)?;
    progress.line("all machines became ready nodes and reach each other by name");
    for machine in site.rack().machines().iter().filter(|machine| machine.restarts() > 0) {
        progress.line(&format!("{} hung before its first byte and was started again", machine.name()));
    }
    show(site)
}

/// Lets the person decide about each machine that asks to enrol.
fn approve_all(site: &mut Site, progress: &mut Progress) -> Result<()> {
    let mut asked = BTreeSet::new();
    let all = site.rack().machines().len();
    progress.line("machines: each asks to be let in once it has booted");
    loop {
        interrupt::check()?;
        site.look_after()?;
        let machines = site.cluster().machines()?;
        if machines.iter().filter(|machine| machine.phase == "Approved").count() >= all {
            return Ok(());
        }
        site.show_stages(progress)?;
        for machine in machines.into_iter().filter(|machine| machine.phase == "Pending") {
            if asked.insert(machine.name.clone()) {
                approve(site, &machine, progress)?;
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Runs `meadow machine approve`, which shows the machine and asks; without a terminal it is left to another one.
fn approve(site: &Site, asking: &MachineRow, progress: &mut Progress) -> Result<()> {
    let mut arguments = vec!["machine", "approve", &asking.name];
    if let Some(machine) = site.rack().machines().iter().find(|machine| machine.hardware().mac == asking.mac) {
        arguments.extend(["--node", machine.name()]);
        progress.line(&format!(
            "{} asks to be let in; its console: {}",
            machine.name(),
            machine.hardware().serial.display()
        ));
    }
    let context = site.cluster().context();
    if !stdin().is_terminal() {
        progress.line(&format!("waiting for you: MEADOW_CONTEXT={} meadow {}", context.display(), arguments.join(" ")));
        return Ok(());
    }
    let status =
        site.cluster().command().args(&arguments).stdin(Stdio::inherit()).status().context("cannot run meadow")?;
    if !status.success() {
        progress.line(&format!("not approved ({status}); to do it later: meadow {}", arguments.join(" ")));
    }
    Ok(())
}

/// The nodes on standard output, and what to try next.
fn show(site: &Site) -> Result<()> {
    print!("{}", site.cluster().run(&["node", "ls"])?);
    println!();
    println!("API  https://{}", site.seed().api());
    println!(
        "Try  export MEADOW_CONTEXT={} PATH={}:$PATH",
        site.cluster().context().display(),
        paths::programs().display()
    );
    for command in ["status", "node show node-1", "machine ls -o wide", "pxe events"] {
        println!("     meadow {command}");
    }
    Ok(())
}

/// Stands until Ctrl-C. A machine that the person kills is no reason to end.
fn stand(site: &mut Site, progress: &mut Progress) {
    let mut told = None;
    while !interrupt::requested() {
        if let Err(error) = site.look_after() {
            let text = format!("{error:#}");
            if told.as_ref() != Some(&text) {
                progress.line(&text);
                told = Some(text);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
