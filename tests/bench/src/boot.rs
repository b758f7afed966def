//! Seconds from power-on to each stage of a BIOS PXE machine, beside a peer over the same path.

use std::time::Duration;

use anyhow::{Context, Result};
use meadow_rack::boot_server::BootServer;
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, Rack, RackConfig, Site};

use crate::cluster_state::{Node, ReadyNode};
use crate::dhcp_wait::DhcpWait;
use crate::measure::Measure;
use crate::{downloads, peer};

/// No boot takes longer, on however busy a machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);
/// How often the serial line is looked at: the resolution of the stages that it shows.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Milestones of the initramfs that are stages.
const MILESTONES: [&str; 4] = ["init", "network", "root verified", "switch-root"];
/// The machine's agent answers its console.
const AGENT: &str = "agent";
/// The console shows fingerprints only once it has them from the agent.
const AGENT_SAYS: &str = "SHA256:";
/// The machine's agent has enrolled: the cluster made it a node. Before that it measures the hardware.
const ENROLLED: &str = "enrolled";
/// The cluster calls it a ready node.
const READY: &str = "Ready";
/// The goal for the agent, as a multiple of the peer's time.
const AGENT_GOAL: f64 = 2.5;
/// The goal for the initramfs: this much more than the peer's init.
const INITRAMFS_GOAL_S: f64 = 1.0;

/// What one boot took.
#[derive(Debug, Default)]
struct Boot {
    /// Stages with the seconds since power-on, in their order.
    stages: Vec<(&'static str, f64)>,
    /// Seconds of these in which the home router's DHCP server let the machine wait.
    dhcp_wait: f64,
    /// How often QEMU hung before the first byte and was started again.
    restarts: u32,
}

impl Boot {
    fn at(&self, stage: &str) -> Result<f64> {
        let found = self.stages.iter().find(|(name, _)| *name == stage).map(|(_, seconds)| *seconds);
        found.with_context(|| format!("the boot did not reach the stage `{stage}`"))
    }
}

/// Boots candidate and peer in turn, `rounds` times.
///
/// # Errors
/// When a boot fails.
pub(crate) fn measure(rounds: u32, memory_mib: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let (mut candidates, mut peers) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress.line(&format!("boot {round} of {rounds}: the peer"));
        peers.push(boot_peer(memory_mib)?);
        progress.line(&format!("boot {round} of {rounds}: the image"));
        candidates.push(boot_candidate(memory_mib, progress)?);
    }
    summarise(&candidates, &peers)
}

fn summarise(candidates: &[Boot], peers: &[Boot]) -> Result<Vec<Measure>> {
    let collect = |boots: &[Boot], stage: &str| boots.iter().map(|boot| boot.at(stage)).collect::<Result<Vec<f64>>>();
    let floor = collect(peers, peer::MILESTONE)?;
    let waits = |boots: &[Boot]| boots.iter().map(|boot| boot.dhcp_wait).collect::<Vec<f64>>();
    let mut measures = vec![
        Measure::rounds("peer: busybox init", "s", floor.clone()),
        Measure::rounds("peer: of it waiting for the router's DHCP", "s", waits(peers)),
        Measure::rounds("image: of all waiting for the router's DHCP", "s", waits(candidates)),
    ];
    for stage in MILESTONES.into_iter().chain([AGENT, ENROLLED, READY]) {
        let seconds = collect(candidates, stage)?;
        let ratios = seconds.iter().zip(&floor).map(|(candidate, peer)| candidate / peer).collect();
        measures.push(Measure::rounds(format!("image: {stage}"), "s", seconds));
        measures.push(Measure::rounds(format!("image: {stage} ÷ peer"), "x", ratios));
    }
    let without_wait = |stage: &str, combine: fn(f64, f64) -> f64| {
        let rounds = candidates.iter().zip(peers).map(|(candidate, peer)| {
            let floor = peer.at(peer::MILESTONE)? - peer.dhcp_wait;
            Ok(combine(candidate.at(stage)? - candidate.dhcp_wait, floor))
        });
        rounds.collect::<Result<Vec<f64>>>()
    };
    let network = without_wait("network", |candidate, floor| candidate - floor)?;
    measures.push(
        Measure::rounds("image: network − peer, both without the router's DHCP", "s", network)
            .at_most(INITRAMFS_GOAL_S),
    );
    for (stage, goal) in [(AGENT, Some(AGENT_GOAL)), (READY, None)] {
        let ratios = without_wait(stage, |candidate, floor| candidate / floor)?;
        let name = format!("image: {stage} ÷ peer, both without the router's DHCP");
        measures.push(Measure { at_most: goal, ..Measure::rounds(name, "x", ratios) });
    }
    let restarts: u32 = candidates.iter().chain(peers).map(|boot| boot.restarts).sum();
    measures.push(Measure::single("machines started again (QEMU hung before its first byte)", "", f64::from(restarts)));
    Ok(measures)
}

fn one_machine(memory_mib: u32) -> RackConfig {
    RackConfig { firmware: vec![Firmware::BiosPxe], memory_mib }
}

fn boot_peer(memory_mib: u32) -> Result<Boot> {
    let mut rack = Rack::build(&one_machine(memory_mib))?;
    let artifacts = peer::make(&rack.run().file("peer"))?;
    let address = rack.lan().subnet().host(2);
    let namespace = rack.computer_at("seed", 2)?;
    let mac = rack.machine(1)?.hardware().mac.clone();
    let settings = format!(
        "interface = \"eth0\"\nartifacts = \"{}\"\n[[machine]]\nmac = \"{mac}\"\npolicy = \"image\"\n",
        artifacts.display()
    );
    let _server = BootServer::start(rack.parts().0, &namespace, &settings)?;
    downloads::wait_served(&namespace, address, "initrd")?;
    rack.power_on(1)?;
    let mut watch = Watch::new(&[peer::MILESTONE]);
    while watch.look(&mut rack)? {
        pause()?;
    }
    watch.finish(&mut rack)
}

fn boot_candidate(memory_mib: u32, progress: &mut Progress) -> Result<Boot> {
    let mut site = Site::build(&one_machine(memory_mib), &SeedConfig::default(), progress)?;
    let address = site.rack().lan().subnet().host(2);
    downloads::wait_served(site.seed().namespace(), address, "root.img")?;
    site.arm_all()?;
    site.rack_mut().power_on(1)?;
    let mut watch = Watch::new(&[MILESTONES.as_slice(), &[AGENT]].concat());
    while watch.look(site.rack_mut())? {
        site.look_after()?;
        pause()?;
    }
    let enrolled = wait_ready(&mut site)?;
    let ready = uptime(site.rack_mut())?;
    watch.boot.stages.push((ENROLLED, ready - enrolled));
    watch.boot.stages.push((READY, ready));
    watch.finish(site.rack_mut())
}

/// Waits until the first machine is a ready node, and gives the seconds since it enrolled.
fn wait_ready(site: &mut Site) -> Result<f64> {
    let mut node = ReadyNode::new("node-1");
    site.until("a ready node", LIMIT, |site| node.look(site.cluster())?.map(Node::age).transpose())
}

fn uptime(rack: &mut Rack) -> Result<f64> {
    let uptime = rack.machine(1)?.uptime().context("the machine is off")?;
    Ok(uptime.as_secs_f64())
}

fn pause() -> Result<()> {
    std::thread::sleep(LOOK_EVERY);
    meadow_rack::interrupt::check()
}

/// Whether the console of the root, which is drawn after the initramfs' last milestone, shows what the agent knows.
fn agent_answers(serial: &str) -> bool {
    serial.split_once("meadow: switch-root").is_some_and(|(_, after)| after.contains(AGENT_SAYS))
}

/// Watches the serial line of the first machine, and the router.
#[derive(Debug)]
struct Watch {
    wanted: Vec<&'static str>,
    boot: Boot,
    dhcp: DhcpWait,
}

impl Watch {
    fn new(wanted: &[&'static str]) -> Self {
        Self { wanted: wanted.to_vec(), boot: Boot::default(), dhcp: DhcpWait::default() }
    }

    /// Looks once; whether something is still to come.
    fn look(&mut self, rack: &mut Rack) -> Result<bool> {
        rack.look_after()?;
        let log = rack.router().log()?;
        let machine = rack.machine(1)?;
        let uptime = machine.uptime().context("the machine is off")?;
        anyhow::ensure!(uptime < LIMIT, "{} is not there within {} s", self.wanted.join(", "), LIMIT.as_secs());
        self.dhcp.look(&log, uptime);
        let (milestones, serial) = (machine.milestones()?, machine.serial().text_from(0)?);
        for stage in std::mem::take(&mut self.wanted) {
            let reached = match stage {
                AGENT => agent_answers(&serial),
                _ => milestones.iter().any(|milestone| milestone.starts_with(stage)),
            };
            if reached {
                self.boot.stages.push((stage, uptime.as_secs_f64()));
            } else {
                self.wanted.push(stage);
            }
        }
        Ok(!self.wanted.is_empty())
    }

    fn finish(mut self, rack: &mut Rack) -> Result<Boot> {
        self.boot.dhcp_wait = self.dhcp.total().as_secs_f64();
        self.boot.restarts = rack.machine(1)?.restarts();
        Ok(self.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(stages: &[(&'static str, f64)], dhcp_wait: f64) -> Boot {
        Boot { stages: stages.to_vec(), dhcp_wait, restarts: 0 }
    }

    #[test]
    fn only_the_console_of_the_root_counts_as_the_agent() {
        assert!(!agent_answers(
            "meadow: dropbear port 2222 SHA256:x\nmeadow: switch-root (8.0 s)\nWaiting for the agent."
        ));
        assert!(agent_answers("meadow: switch-root (8.0 s)\nCA SHA256:x"));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let stages = |scale: f64| {
            let names = MILESTONES.into_iter().chain([AGENT, ENROLLED, READY]);
            names.map(|name| (name, scale)).collect::<Vec<_>>()
        };
        let candidates = [boot(&stages(20.0), 6.0), boot(&stages(90.0), 3.0)];
        let peers = [boot(&[("peer", 10.0)], 3.0), boot(&[("peer", 30.0)], 3.0)];
        let measures = summarise(&candidates, &peers).expect("all stages");
        let find = |name: &str| measures.iter().find(|measure| measure.name == name).expect(name);
        assert_eq!(find("image: Ready ÷ peer").samples, [2.0, 3.0]);
        assert_eq!(find("image: network − peer, both without the router's DHCP").samples, [7.0, 60.0]);
        assert_eq!(find("image: Ready ÷ peer, both without the router's DHCP").samples, [2.0, 87.0 / 27.0]);
        assert!(summarise(&candidates, &[Boot::default()]).is_err());
    }
}
