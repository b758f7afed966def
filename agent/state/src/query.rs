//! Questions to the state.

use std::collections::BTreeSet;

use meadow_model::boot::BootPolicy;
use meadow_model::image::Image;
use meadow_model::install::InstalledDisk;
use meadow_model::machine::{Decision, Machine};
use meadow_model::mesh::{MeshPeer, MeshView};
use meadow_model::node::{Node, NodeDisks, NodeState};
use meadow_model::operation::{Operation, OperationState};
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Timestamp, ssh_key};

use crate::apply::{ENROL, known_disk};
use crate::command::MachineRef;
use crate::limits::MAX_TEXT;
use crate::{Standing, State};

/// What the PXE server does with a MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BootChoice<'s> {
    /// What the machine is told.
    pub policy: BootPolicy,
    /// Whether an iPXE in its ROM is treated as plain PXE.
    pub plain_pxe: bool,
    /// The adopted image that it boots where the policy boots one; `None`: the boot server's installed one.
    pub image: Option<&'s Image>,
}

impl State {
    /// The machine that `reference` means: by name, or the one that was first seen with the MAC address, or an
    /// approved one that has a card with it.
    ///
    /// The inventory of a machine that nobody approved is no evidence: a stranger could claim somebody else's address
    /// before that computer is seen.
    #[must_use]
    pub fn machine(&self, reference: &MachineRef) -> Option<&Machine> {
        match reference {
            MachineRef::Name(name) => self.machines.get(name),
            MachineRef::Mac(mac) => self
                .machine_first_seen_with(*mac)
                .or_else(|| self.machines.values().find(|m| is_approved(m) && has_card(m, *mac))),
        }
    }

    /// Among machines that all were first seen with this address, the one that is named after it.
    pub(crate) fn machine_first_seen_with(&self, mac: MacAddress) -> Option<&Machine> {
        let seen_with = |m: &&Machine| m.status.mac == Some(mac);
        let named = machine_name(mac).and_then(|name| self.machines.get(&name));
        named.filter(seen_with).or_else(|| self.machines.values().find(seen_with))
    }

    /// The machine with this identity.
    #[must_use]
    pub fn machine_by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&Machine> {
        self.machines.values().find(|m| m.status.fingerprint.as_ref() == Some(fingerprint))
    }

    /// The node with this identity.
    #[must_use]
    pub fn node_by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&Node> {
        self.nodes.values().find(|n| &n.spec.fingerprint == fingerprint)
    }

    /// Whether it is worth a [`Command::NodeJoined`](crate::command::Command::NodeJoined) that `node` reports, with an
    /// agent of this version: it was thought lost, its enrolment waits for its first report, or its agent is another one.
    #[must_use]
    pub fn is_news_of(&self, node: &Node, version: &str) -> bool {
        let name = &node.metadata.name;
        let waits = |op: &Operation| {
            op.status.state == OperationState::Running && op.spec.action == ENROL && op.spec.target == *name
        };
        node.status.state == NodeState::Lost
            || node.status.version.as_deref() != Some(&known_part(version))
            || self.operations.values().any(waits)
    }

    /// Whether it is worth a [`Command::SetNodeDisk`](crate::command::Command::SetNodeDisk) what `node` says of its disk.
    #[must_use]
    pub fn is_disk_news_of(&self, node: &Node, said: &NodeDisks) -> bool {
        node.status.installed != said.installed.as_ref().map(known_disk) || node.spec.ephemeral == said.durable
    }

    /// The admins' SSH keys where the record on this disk has others; `None` where it has them, or does not tell.
    #[must_use]
    pub fn ssh_keys_for(&self, disk: &InstalledDisk) -> Option<&[String]> {
        let keys = &self.cluster.as_ref()?.spec.authorized_keys;
        disk.ssh_keys.as_ref().filter(|told| **told != ssh_key::digest(keys)).map(|_| keys.as_slice())
    }

    /// The nodes with a disk of their own that have not told that the admins' newest SSH keys lie there.
    #[must_use]
    pub fn ssh_keys_behind(&self) -> Vec<Name> {
        let Some(cluster) = &self.cluster else { return Vec::new() };
        let newest = ssh_key::digest(&cluster.spec.authorized_keys);
        let is_behind =
            |node: &&Node| node.status.installed.as_ref().is_some_and(|disk| disk.ssh_keys.as_deref() != Some(&newest));
        self.nodes.values().filter(is_behind).map(|node| node.metadata.name.clone()).collect()
    }

    /// Where the claim of this key stands; `None` where it did not claim.
    ///
    /// # Errors
    /// [`ProblemCode::NodeRevoked`] or [`ProblemCode::MachineRejected`] where it was turned away.
    pub fn standing(&self, fingerprint: &Fingerprint) -> Result<Option<(Name, Standing)>, Problem> {
        if let Some(revocation) = self.revoked.get(fingerprint) {
            return Err(node_revoked(&revocation.node));
        }
        let Some(machine) = self.machine_by_fingerprint(fingerprint) else {
            let node = self.node_by_fingerprint(fingerprint).map(|n| n.metadata.name.clone());
            return Ok(node.map(|node| (node.clone(), Standing::Approved { node })));
        };
        let name = machine.metadata.name.clone();
        match &machine.spec.decision {
            Decision::Approved { node, .. } => Ok(Some((name, Standing::Approved { node: node.clone() }))),
            Decision::Rejected { by, .. } => Err(machine_rejected(&name, by)),
            Decision::Undecided => {
                let reason = waits_for_a_person(&name);
                Ok(Some((name, Standing::Pending { reason })))
            }
        }
    }

    /// What the PXE server does with this address at time `now`. An open window boots every machine that nobody
    /// decided about; a machine that was rejected is left alone.
    #[must_use]
    pub fn boot_choice(&self, mac: MacAddress, now: Timestamp) -> BootChoice<'_> {
        let machine = self.machine(&MachineRef::Mac(mac));
        let plain_pxe = machine.is_some_and(|m| m.spec.plain_pxe);
        let named = machine.map(|m| m.spec.boot_options.once.unwrap_or(m.spec.boot)).unwrap_or_default();
        let open = self.cluster.as_ref().and_then(|c| c.spec.pxe_open_until).is_some_and(|until| now < until);
        let policy = match machine.map(|m| &m.spec.decision) {
            Some(Decision::Rejected { .. }) => BootPolicy::Ignore,
            _ if named == BootPolicy::Ignore && open => BootPolicy::Image,
            _ => named,
        };
        let options = machine.map(|m| &m.spec.boot_options);
        let image = options.and_then(|options| match options.once {
            Some(_) => options.once_image.as_ref(),
            None => options.image.as_ref(),
        });
        BootChoice { policy, plain_pxe, image: image.and_then(|name| self.images.get(name)) }
    }

    /// The machine that is to boot this adopted image, or is to keep booting it; `None` where no machine does.
    #[must_use]
    pub fn machine_with_image(&self, image: &Name) -> Option<&Machine> {
        let wants = |m: &&Machine| {
            let options = &m.spec.boot_options;
            [&options.image, &options.once_image].into_iter().flatten().any(|wanted| wanted == image)
        };
        self.machines.values().find(wants)
    }

    /// Digests of the adopted images that machines are to boot.
    #[must_use]
    pub fn images_to_boot(&self) -> BTreeSet<String> {
        let options = self.machines.values().map(|m| &m.spec.boot_options);
        let names = options.flat_map(|options| [&options.image, &options.once_image]).flatten();
        names.filter_map(|name| self.images.get(name)).map(|image| image.spec.digest.clone()).collect()
    }

    /// Serial number of the disk on which the node that this machine became keeps its state; `None` where it keeps none.
    #[must_use]
    pub fn state_disk(&self, mac: MacAddress) -> Option<&str> {
        self.node_of(mac)?.status.installed.as_ref().map(|disk| disk.serial.as_str())
    }

    /// The node that this machine became; `None` where it is none, or none any more.
    #[must_use]
    pub fn node_of(&self, mac: MacAddress) -> Option<&Node> {
        let Decision::Approved { node, .. } = &self.machine(&MachineRef::Mac(mac))?.spec.decision else { return None };
        self.nodes.get(node)
    }

    /// SHA-256 of the ticket that the machine with this address may be given at time `now`: armed, not expired, not
    /// yet bound to a key.
    #[must_use]
    pub fn open_ticket(&self, mac: MacAddress, now: Timestamp) -> Option<&[u8; 32]> {
        let machine = self.machine(&MachineRef::Mac(mac))?;
        let armed = machine.spec.armed.as_ref()?;
        (armed.bound.is_none() && now < armed.expires).then(|| self.tickets.get(&machine.metadata.name)).flatten()
    }

    /// The mesh as `node` is to see it; `None` where there is no such node.
    #[must_use]
    pub fn mesh_view(&self, node: &Name) -> Option<MeshView> {
        let own = self.nodes.get(node)?;
        let peers = self.nodes.values().filter(|peer| peer.metadata.name != *node).map(|peer| MeshPeer {
            name: peer.metadata.name.clone(),
            key: peer.spec.wireguard,
            address: peer.spec.address,
            endpoint: peer.status.endpoint,
            reports: peer.spec.voter,
        });
        Some(MeshView {
            generation: self.mesh_generation,
            name: node.clone(),
            address: own.spec.address,
            peers: peers.collect(),
        })
    }
}

/// What a machine is called that is known by its MAC address. `None` never happens: the letters are all allowed.
pub(crate) fn machine_name(mac: MacAddress) -> Option<Name> {
    Name::new(format!("m-{}", mac.to_string().replace(':', ""))).ok()
}

/// As much of a text from outside as the state keeps.
pub(crate) fn known_part(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

pub(crate) fn is_approved(machine: &Machine) -> bool {
    matches!(machine.spec.decision, Decision::Approved { .. })
}

fn has_card(machine: &Machine, mac: MacAddress) -> bool {
    machine.status.hardware.as_ref().is_some_and(|h| h.nics.iter().any(|nic| nic.mac == mac))
}

pub(crate) fn waits_for_a_person(machine: &Name) -> String {
    format!("compare the fingerprint and code on its console, then run `meadow machine approve {machine}`")
}

pub(crate) fn node_revoked(node: &Name) -> Problem {
    Problem::new(ProblemCode::NodeRevoked, format!("this key was node {node}, which was removed or replaced"))
}

pub(crate) fn machine_rejected(machine: &Name, by: &str) -> Problem {
    Problem::new(ProblemCode::MachineRejected, format!("{machine} was rejected by {by}"))
}
