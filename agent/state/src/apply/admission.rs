//! A machine becomes a node.

use std::net::Ipv6Addr;

use meadow_model::boot::BootPolicy;
use meadow_model::machine::{Decision, Machine, MachinePhase};
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::{Node, NodeSpec, NodeState, NodeStatus};
use meadow_model::{Fingerprint, Kind, MacAddress, Name, Problem, ProblemCode, enrolment};

use super::transaction::{Transaction, bad_request, check_revision, conflict, internal, not_found};
use crate::Outcome;
use crate::query::node_revoked;

/// Names that mean something else in every `/etc/hosts`.
const RESERVED: &[&str] = &["localhost"];

/// An admission that nothing stands against.
pub(super) struct Admission {
    name: Name,
    address: Ipv6Addr,
    fingerprint: Fingerprint,
    wireguard: WireGuardKey,
    ephemeral: bool,
    replaced: Option<Node>,
}

impl Transaction {
    pub(super) fn approve(
        &mut self,
        name: &Name,
        node: Option<&Name>,
        replaces: Option<&Name>,
        if_match: Option<u64>,
    ) -> Result<Outcome, Problem> {
        let mut machine = self.state.machines.get(name).ok_or_else(|| not_found("machine", name))?.clone();
        check_revision(&machine.metadata, if_match)?;
        if let Decision::Approved { node: is, .. } = &machine.spec.decision {
            if node.or(replaces).is_some_and(|wanted| wanted != is) {
                return Err(conflict(format!("{name} is the node {is} already")));
            }
            let operation = self.enrolment_of(is).map(|op| op.metadata.name.clone());
            return Ok(Outcome::Enrolling { machine: name.clone(), node: is.clone(), operation });
        }
        let admission = self.check_admission(&machine, node, replaces)?;
        if machine.spec.armed.take().is_some() {
            self.state.tickets.remove(name);
        }
        let by = self.actor.clone();
        let (node, operation) = self.admit(machine, admission, &by)?;
        Ok(Outcome::Enrolling { machine: name.clone(), node, operation: Some(operation) })
    }

    /// Whether `machine` can become a node, and which one.
    pub(super) fn check_admission(
        &self,
        machine: &Machine,
        node: Option<&Name>,
        replaces: Option<&Name>,
    ) -> Result<Admission, Problem> {
        let name = &machine.metadata.name;
        let (Some(fingerprint), Some(keys)) = (machine.status.fingerprint, self.state.claims.get(name)) else {
            return Err(conflict(format!(
                "{name} did not ask to enrol yet; boot it, or let its next boot in with `meadow machine arm {name}`"
            )));
        };
        if let Some(revocation) = self.state.revoked.get(&fingerprint) {
            return Err(node_revoked(&revocation.node));
        }
        let replaced = replaces.map(|replaces| self.replaceable(replaces, node)).transpose()?;
        let name = match (&replaced, node) {
            (Some(replaced), _) => replaced.metadata.name.clone(),
            (None, Some(node)) if self.is_free(node) => node.clone(),
            (None, Some(node)) => {
                return Err(Problem::new(ProblemCode::AlreadyExists, format!("the name {node} is taken")));
            }
            (None, None) => self.free_name(keys.wanted_name.as_ref())?,
        };
        if let Some(other) = self.state.nodes.values().find(|n| n.spec.wireguard == keys.wireguard) {
            return Err(same_mesh_key(&other.metadata.name));
        }
        let prefix = self.state.cluster.as_ref().map(|c| c.spec.mesh).ok_or_else(|| internal("no cluster"))?;
        Ok(Admission {
            address: replaced.as_ref().map_or_else(|| prefix.address(self.state.next_node), |old| old.spec.address),
            name,
            fingerprint,
            wireguard: keys.wireguard,
            ephemeral: keys.ephemeral,
            replaced,
        })
    }

    fn replaceable(&self, replaces: &Name, node: Option<&Name>) -> Result<Node, Problem> {
        let old = self.state.nodes.get(replaces).ok_or_else(|| not_found("node", replaces))?;
        if node.is_some_and(|node| node != replaces) {
            return Err(bad_request(format!(
                "a machine that replaces {replaces} takes over its name; leave the name away"
            )));
        }
        if old.status.state != NodeState::Lost {
            return Err(conflict(format!(
                "{replaces} is not lost; if its computer is gone, take it out with `meadow node remove {replaces}` and \
                 approve this machine with that name"
            )));
        }
        Ok(old.clone())
    }

    fn is_free(&self, name: &Name) -> bool {
        !self.state.nodes.contains(name) && !RESERVED.contains(&name.as_str())
    }

    /// The wanted name, or the first free one of `node-4`, `node-4-2`, … where 4 is the node's number.
    fn free_name(&self, wanted: Option<&Name>) -> Result<Name, Problem> {
        if let Some(wanted) = wanted.filter(|name| self.is_free(name)) {
            return Ok(wanted.clone());
        }
        let id = self.state.next_node;
        // One more candidate than there are nodes: one of them is free.
        let candidates = (1..=self.state.nodes.len() + 1).map(|n| match n {
            1 => format!("node-{id}"),
            n => format!("node-{id}-{n}"),
        });
        candidates
            .filter_map(|text| Name::new(text).ok())
            .find(|name| self.is_free(name))
            .ok_or_else(|| internal("no free name for a node"))
    }

    /// Makes `machine` a node and stores both. `by` is who decided.
    pub(super) fn admit(
        &mut self,
        mut machine: Machine,
        admission: Admission,
        by: &str,
    ) -> Result<(Name, Name), Problem> {
        let Admission { name, address, fingerprint, wireguard, ephemeral, replaced } = admission;
        if let Some(old) = &replaced {
            self.hand_over(&mut machine, old);
        }
        let id = self.state.next_node;
        self.state.next_node += 1;
        self.state.mesh_generation += 1;
        self.put_node(Node {
            kind: Kind::Node,
            metadata: self.metadata(&name),
            spec: NodeSpec { id, fingerprint, wireguard, address, voter: false, ephemeral, macs: all_macs(&machine) },
            status: NodeStatus {
                hardware: machine.status.hardware.clone(),
                measures: machine.status.measures.clone(),
                ..NodeStatus::default()
            },
        });
        let machine_name = machine.metadata.name.clone();
        machine.spec.decision = Decision::Approved { node: name.clone(), by: by.to_owned(), at: self.at };
        machine.status.phase = MachinePhase::Approved;
        if ephemeral && machine.spec.boot == BootPolicy::Ignore {
            // A node that lives in RAM comes back only if we boot it again.
            machine.spec.boot = BootPolicy::Image;
        }
        self.put_machine(machine);
        let operation = self.start_enrolment(&name, format!("{machine_name} was approved by {by}"))?;
        self.info("node-approved", Kind::Node, &name, format!("{machine_name} was approved by {by} and is {name} now"));
        Ok((name, operation))
    }

    /// Takes a lost node out, so that `machine` can have its name and address.
    fn hand_over(&mut self, machine: &mut Machine, old: &Node) {
        let name = &old.metadata.name;
        // The computer may still be listed as the machine that became the old node: it stays, with its new key.
        machine.spec.decision = Decision::Undecided;
        self.put_machine(machine.clone());
        self.end_enrolment(name, "another key took the node over before its first report", true);
        self.retire(old);
        let message =
            format!("{} takes over the name and address of {name}; the old key is refused", machine.metadata.name);
        self.info("node-replaced", Kind::Node, name, message);
    }
}

pub(super) fn all_macs(machine: &Machine) -> Vec<MacAddress> {
    let mut macs = machine.status.hardware.as_ref().map(enrolment::macs).unwrap_or_default();
    macs.extend(machine.status.mac);
    macs.sort_unstable();
    macs.dedup();
    macs
}

pub(super) fn same_mesh_key(node: &Name) -> Problem {
    Problem::new(
        ProblemCode::IdentityMismatch,
        format!("its key in the mesh is the one of {node}, and its identity is another"),
    )
}
