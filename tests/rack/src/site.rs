//! A rack with its seed: from bare machines to ready nodes. `make run` and the machine tests share it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cluster::{Cluster, NodeRow};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::rack::{Rack, RackConfig};
use crate::seed::{self, Seed, SeedConfig};
use crate::wait;

/// How often the cluster is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A rack and the seed in it.
#[derive(Debug)]
pub struct Site {
    // Dropped from top to bottom.
    seed: Seed,
    rack: Rack,
}

impl Site {
    /// Builds the rack and its seed; all machines are off.
    ///
    /// # Errors
    /// When a part does not start.
    pub fn build(config: &RackConfig, seed: &SeedConfig, progress: &mut Progress) -> Result<Self> {
        progress.line("rack: LAN, home router (dnsmasq), blank machines");
        let mut rack = Rack::build(config)?;
        progress.line(&format!(
            "rack {}: guests run with {}, logs in {}",
            rack.run().id(),
            rack.accelerator(),
            rack.run().path().display()
        ));
        progress.line("seed: meadow init, meadowd");
        let seed = Seed::start(&mut rack, seed).inspect_err(|_| rack.parts().0.keep_logs(true))?;
        progress.line(&format!("seed: the API answers on https://{}", seed.api()));
        Ok(Self { seed, rack })
    }

    /// The rack.
    #[must_use]
    pub fn rack(&self) -> &Rack {
        &self.rack
    }

    /// The rack, to change it.
    pub fn rack_mut(&mut self) -> &mut Rack {
        &mut self.rack
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.seed.cluster()
    }

    /// Kills the seed's agent and starts it again.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart_agent(&mut self) -> Result<()> {
        self.seed.kill_agent()?;
        self.seed.start_agent(&mut self.rack)
    }

    /// Arms the next boot of every machine.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn arm_all(&self) -> Result<()> {
        self.rack.machines().iter().try_for_each(|machine| self.cluster().arm(&machine.hardware().mac, machine.name()))
    }

    /// Looks after all programs of the site.
    ///
    /// # Errors
    /// When one has ended.
    pub fn look_after(&mut self) -> Result<()> {
        self.rack.look_after()?;
        self.seed.check_agent()
    }

    /// Waits for a condition and looks after the site meanwhile.
    ///
    /// # Errors
    /// When `limit` has passed, a program has ended, or the condition fails.
    pub fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        wait::until(what, limit, || {
            self.look_after()?;
            condition(self)
        })
    }

    /// Waits until all machines are ready nodes that, with the seed, reach each other by name, and shows each
    /// machine's stage meanwhile.
    ///
    /// # Errors
    /// When that is not so within `limit`, with what each machine still lacks.
    pub fn wait_ready(&mut self, limit: Duration, progress: &mut Progress) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut asked: Option<Instant> = None;
        let mut nodes = Vec::new();
        let waited = self.until("ready nodes", limit, |site| {
            if asked.is_none_or(|time| time.elapsed() >= ASK_EVERY) {
                nodes = site.cluster().nodes()?;
                asked = Some(Instant::now());
            }
            let stages = site.stages(&nodes)?;
            progress.statuses(&stages);
            let ready = stages.iter().all(|(_, stage)| stage == READY) && site.seed_reaches_all()?;
            Ok(ready.then_some(()))
        });
        match waited {
            Err(_) if Instant::now() > deadline => {
                let lacking = self.stages(&nodes)?.into_iter().filter(|(_, stage)| stage != READY);
                let lacking: Vec<String> = lacking.map(|(name, stage)| format!("{name}: {stage}")).collect();
                bail!("not all machines became ready nodes within {} s: {}", limit.as_secs(), lacking.join("; "))
            }
            other => other,
        }
    }

    /// Shows what each machine does now.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn show_stages(&self, progress: &mut Progress) -> Result<()> {
        progress.statuses(&self.stages(&self.cluster().nodes()?)?);
        Ok(())
    }

    /// Name and stage of the seed and each machine.
    fn stages(&self, nodes: &[NodeRow]) -> Result<Vec<(String, String)>> {
        let names: Vec<&str> = self.rack.machines().iter().map(Machine::name).chain([seed::NAME]).collect();
        let mut stages = Vec::new();
        for machine in self.rack.machines() {
            let node = nodes.iter().find(|node| node.name == machine.name());
            let stage = match node {
                Some(node) => node_stage(node, &names),
                None => machine_stage(machine)?,
            };
            stages.push((machine.name().to_owned(), stage));
        }
        let seed = nodes.iter().find(|node| node.name == seed::NAME);
        stages.push((seed::NAME.to_owned(), seed.map_or_else(|| "starts".to_owned(), |node| node_stage(node, &names))));
        Ok(stages)
    }

    fn seed_reaches_all(&self) -> Result<bool> {
        for machine in self.rack.machines() {
            if !self.seed.pings(machine.name())? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const READY: &str = "Ready";

/// A node is shown as ready here once it also reaches all the others by name.
fn node_stage(node: &NodeRow, names: &[&str]) -> String {
    if !node.is_ready() {
        let reason = node.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return format!("{}{reason}", node.state);
    }
    let reached: BTreeSet<&str> = node.reachable.iter().map(String::as_str).chain([node.name.as_str()]).collect();
    let missing: Vec<&str> = names.iter().copied().filter(|name| !reached.contains(name)).collect();
    if missing.is_empty() { READY.to_owned() } else { format!("Ready, does not reach {} yet", missing.join(", ")) }
}

fn machine_stage(machine: &Machine) -> Result<String> {
    let firmware = machine.hardware().firmware;
    Ok(match machine.milestones()?.pop() {
        Some(milestone) => milestone,
        None if machine.uptime().is_none() => "off".to_owned(),
        None => format!("{firmware}: firmware"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_as_ready_once_it_reaches_all() {
        let node = |state: &str, reachable: &[&str]| NodeRow {
            name: "node-1".to_owned(),
            state: state.to_owned(),
            fingerprint: "SHA256:x".to_owned(),
            address: "fd00::2".to_owned(),
            reason: (state != "Ready").then(|| "no report".to_owned()),
            reachable: reachable.iter().map(|name| (*name).to_owned()).collect(),
        };
        let names = ["node-1", "node-2", "seed"];
        assert_eq!(node_stage(&node("Ready", &["seed", "node-2"]), &names), READY);
        assert_eq!(node_stage(&node("Ready", &["seed"]), &names), "Ready, does not reach node-2 yet");
        assert_eq!(node_stage(&node("NotReady", &["seed", "node-2"]), &names), "NotReady: no report");
    }
}
