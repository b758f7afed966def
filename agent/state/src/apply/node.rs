//! Nodes after their approval.

use std::net::SocketAddr;

use meadow_model::boot::BootPolicy;
use meadow_model::install::{InstallMode, InstalledDisk};
use meadow_model::machine::{Decision, Machine};
use meadow_model::node::{Node, NodeState};
use meadow_model::{Kind, Name, Problem, ProblemCode};

use super::transaction::{Transaction, check_revision, not_found};
use crate::limits::MAX_KEY_SLOTS;
use crate::query::known_part;
use crate::state::Revocation;
use crate::{Outcome, State};

impl Transaction {
    fn node(&self, name: &Name) -> Result<Node, Problem> {
        self.state.nodes.get(name).cloned().ok_or_else(|| not_found("node", name))
    }

    pub(super) fn set_endpoint(&mut self, name: &Name, endpoint: SocketAddr) -> Result<Outcome, Problem> {
        let mut node = self.node(name)?;
        if node.status.endpoint != Some(endpoint) {
            node.status.endpoint = Some(endpoint);
            self.state.mesh_generation += 1;
            self.put_node(node);
        }
        Ok(Outcome::Done)
    }

    /// The first report of a node has come, or one of a node that was thought lost: whoever reports with the node's
    /// own key is that node.
    pub(super) fn node_joined(&mut self, name: &Name, version: &str) -> Result<Outcome, Problem> {
        let mut node = self.node(name)?;
        if node.status.state == NodeState::Lost {
            node.status.state = NodeState::NotReady;
            node.status.reason = None;
            self.info("node-found", Kind::Node, name, format!("{name} was thought lost and reports again"));
        }
        node.status.version = Some(known_part(version));
        self.put_node(node);
        if self.end_enrolment(name, "the first report came over the mesh", false) {
            self.info("node-joined", Kind::Node, name, format!("{name} reports over the mesh"));
        }
        Ok(Outcome::Done)
    }

    /// What a node says of its own disk. A node that boots from its disk is left to it from then on: its machine's boot
    /// policy becomes `local-disk`, so that no reinstall loop can begin.
    pub(super) fn set_node_disk(
        &mut self,
        name: &Name,
        installed: Option<&InstalledDisk>,
        durable: bool,
    ) -> Result<Outcome, Problem> {
        let mut node = self.node(name)?;
        let installed = installed.map(known_disk);
        let boots = |disk: &Option<InstalledDisk>| disk.as_ref().is_some_and(|d| d.mode == InstallMode::System);
        let became = boots(&installed) && !boots(&node.status.installed);
        if differ_by_ssh_keys(installed.as_ref(), node.status.installed.as_ref()) {
            if installed.as_ref().is_some_and(|disk| self.state.ssh_keys_for(disk).is_none()) {
                let message = format!("the admins' newest SSH keys lie on the disk of {name}");
                self.info("node-ssh-keys", Kind::Node, name, message);
            }
        } else if installed != node.status.installed {
            let message = match &installed {
                Some(disk) => format!("{name} has its state on the disk with serial {}", disk.serial),
                None => format!("{name} has no state on a disk any more"),
            };
            self.info("node-disk", Kind::Node, name, message);
        }
        node.status.installed = installed;
        node.spec.ephemeral = !durable;
        self.put_node(node);
        if became {
            self.set_boot_of(name, BootPolicy::LocalDisk);
        }
        Ok(Outcome::Done)
    }

    /// What the boot server tells the computer of a node.
    pub(super) fn set_boot_of(&mut self, node: &Name, policy: BootPolicy) {
        for mut machine in self.machines_of(node) {
            machine.spec.boot = policy;
            self.put_machine(machine);
        }
    }

    pub(super) fn remove_node(&mut self, name: &Name, if_match: Option<u64>) -> Result<Outcome, Problem> {
        let node = self.node(name)?;
        check_revision(&node.metadata, if_match)?;
        if node.spec.voter && voters(&self.state) == 1 {
            return Err(Problem::new(ProblemCode::LastVoter, format!("{name} holds the only copy of the state")));
        }
        self.retire(&node);
        self.end_enrolment(name, "the node was removed before its first report", true);
        self.info("node-removed", Kind::Node, name, format!("{name} was removed; its key is refused from now on"));
        Ok(Outcome::Done)
    }

    /// Takes a node out: its key is refused from now on, and its machine is forgotten.
    pub(super) fn retire(&mut self, node: &Node) {
        let name = &node.metadata.name;
        self.state.nodes.remove(name);
        self.state.revoked.insert(node.spec.fingerprint, Revocation { node: name.clone(), at: self.at });
        self.state.mesh_generation += 1;
        self.touch(Kind::Node, name);
        for machine in self.machines_of(name) {
            self.drop_machine(&machine.metadata.name);
        }
        self.abandon_work_of(name);
    }

    /// A node has erased its state: its key is refused, and its computer is a new machine, which is booted when it asks.
    pub(super) fn forget_reset_node(&mut self, name: &Name) {
        let Some(node) = self.state.nodes.get(name).cloned() else { return };
        let computers = self.machines_of(name);
        self.retire(&node);
        for computer in computers {
            let mut machine = self.new_machine(&computer.metadata.name, computer.status.mac);
            machine.spec.boot = BootPolicy::Image;
            machine.spec.plain_pxe = computer.spec.plain_pxe;
            self.put_machine(machine);
        }
        let message = format!("{name} was reset and is no node any more; its computer comes back as a new machine");
        self.info("node-reset", Kind::Node, name, message);
    }

    /// The machines that became this node.
    fn machines_of(&self, node: &Name) -> Vec<Machine> {
        let became = |decision: &Decision| matches!(decision, Decision::Approved { node: n, .. } if n == node);
        self.state.machines.values().filter(|machine| became(&machine.spec.decision)).cloned().collect()
    }
}

/// Whether nothing else of a disk has changed.
fn differ_by_ssh_keys(now: Option<&InstalledDisk>, before: Option<&InstalledDisk>) -> bool {
    let (Some(now), Some(before)) = (now, before) else { return false };
    now.ssh_keys != before.ssh_keys && InstalledDisk { ssh_keys: before.ssh_keys.clone(), ..now.clone() } == *before
}

fn voters(state: &State) -> usize {
    state.nodes.values().filter(|n| n.spec.voter).count()
}

/// As much of what a node says of its disk as the state keeps.
pub(crate) fn known_disk(said: &InstalledDisk) -> InstalledDisk {
    let mut disk = said.clone();
    disk.keys.truncate(MAX_KEY_SLOTS);
    disk.slots.truncate(2);
    for digest in disk.slots.iter_mut().filter_map(|image| image.digest.as_mut()) {
        *digest = known_part(digest);
    }
    if let Some(digest) = &mut disk.ssh_keys {
        *digest = known_part(digest);
    }
    let texts = [&mut disk.serial, &mut disk.disk, &mut disk.luks_uuid, &mut disk.host_key];
    for text in texts.into_iter().chain(disk.keys.iter_mut().map(|key| &mut key.label)) {
        *text = known_part(text);
    }
    disk
}
