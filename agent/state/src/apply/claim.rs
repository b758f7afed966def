//! A machine asks to enrol.

use meadow_model::boot::LostState;
use meadow_model::hardware::Hardware;
use meadow_model::machine::{Decision, Machine, MachinePhase};
use meadow_model::node::{Node, NodeState};
use meadow_model::{Kind, Name, Problem, ProblemCode};

use super::admission::{all_macs, same_mesh_key};
use super::credential::Entitlement;
use super::transaction::{Transaction, bad_request, conflict, internal};
use crate::command::{ClaimRecord, Credential};
use crate::limits::{MAX_HARDWARE_BYTES, MAX_HINTS};
use crate::look_alike::{looks_like, shared_with, shares_mac};
use crate::query::{known_part, machine_rejected, node_revoked, waits_for_a_person};
use crate::state::ClaimKeys;
use crate::{Outcome, Standing};

impl Transaction {
    pub(super) fn claim(&mut self, claim: &ClaimRecord) -> Result<Outcome, Problem> {
        check_size(claim)?;
        if let Some(revocation) = self.state.revoked.get(&claim.fingerprint) {
            return Err(node_revoked(&revocation.node));
        }
        if let Some(node) = self.state.node_by_fingerprint(&claim.fingerprint).cloned() {
            return self.claim_of_a_node(node, claim);
        }
        let same_key = self.state.nodes.values().find(|n| n.spec.wireguard == claim.wireguard);
        if let Some(name) = same_key.map(|other| other.metadata.name.clone()) {
            return self.refuse(same_mesh_key(&name), Kind::Node, name.as_str());
        }
        if let Some(machine) = self.state.machine_by_fingerprint(&claim.fingerprint) {
            check_not_rejected(machine)?;
        }
        let entitlement = match (self.entitlement(claim), &claim.credential) {
            (Ok(entitlement), _) => entitlement,
            (Err(problem), Credential::Token(id)) => return self.refuse(problem, Kind::Token, id.as_str()),
            (Err(problem), _) => return Err(problem),
        };
        let is_new = self.state.machine_by_fingerprint(&claim.fingerprint).is_none();
        let name = self.record_claim(claim, &entitlement)?;
        let standing = self.decide(&name, entitlement)?;
        if let (true, Standing::Pending { reason }) = (is_new, &standing) {
            self.info("machine-pending", Kind::Machine, &name, format!("{name} asks to enrol: {reason}"));
        }
        Ok(Outcome::Claimed { machine: name, standing })
    }

    /// A node asks again: its answer was lost, or it has restarted.
    fn claim_of_a_node(&mut self, mut node: Node, claim: &ClaimRecord) -> Result<Outcome, Problem> {
        let name = node.metadata.name.clone();
        if node.spec.wireguard != claim.wireguard {
            let detail = format!("{name} came with another key in the mesh than the one it enrolled with");
            return self.refuse(Problem::new(ProblemCode::IdentityMismatch, detail), Kind::Node, name.as_str());
        }
        let machine = self.state.machine_by_fingerprint(&claim.fingerprint).cloned();
        let machine_name = machine.as_ref().map_or_else(|| name.clone(), |m| m.metadata.name.clone());
        if let Some(mut machine) = machine {
            self.fill(&mut machine, claim);
            node.spec.macs = all_macs(&machine);
            self.put_machine(machine);
        }
        node.status.hardware = Some(claim.hardware.clone());
        if claim.measures.is_some() {
            node.status.measures.clone_from(&claim.measures);
        }
        self.put_node(node);
        Ok(Outcome::Claimed { machine: machine_name, standing: Standing::Approved { node: name } })
    }

    /// Lists the machine with what it showed, and whatever an admin should know of it.
    fn record_claim(&mut self, claim: &ClaimRecord, entitlement: &Entitlement) -> Result<Name, Problem> {
        let known = self.state.machine_by_fingerprint(&claim.fingerprint).cloned();
        let is_new = known.is_none();
        if is_new {
            self.mark_lost(claim);
        }
        let mut machine = match known {
            Some(machine) => machine,
            None => self.machine_for_new_key(claim, entitlement)?,
        };
        let name = machine.metadata.name.clone();
        self.fill(&mut machine, claim);
        if is_new {
            for node in self.state.nodes.values().filter(|node| looks_like(claim, node)) {
                add_hint(&mut machine, format!("looks like {} (same MAC and serials)", node.metadata.name));
            }
        }
        if let Some(lost) = claim.lost.as_ref().filter(|_| is_new) {
            add_hint(&mut machine, self.was(lost));
        }
        if let Entitlement::Suspicious { hint, .. } = entitlement {
            add_hint(&mut machine, (*hint).to_owned());
        }
        let keys = ClaimKeys {
            wireguard: claim.wireguard,
            ephemeral: claim.ephemeral,
            wanted_name: claim.wanted_name.clone(),
        };
        self.state.claims.insert(name.clone(), keys);
        self.note_duplicates(&mut machine, claim);
        self.put_machine(machine);
        Ok(name)
    }

    /// Where a key goes that nobody knows: to the machine that was armed, or that was seen with this MAC address and
    /// carries no key yet; else it is a machine of its own. Two keys are never merged into one machine.
    fn machine_for_new_key(&mut self, claim: &ClaimRecord, entitlement: &Entitlement) -> Result<Machine, Problem> {
        if let Entitlement::Ticket { holder, .. } = entitlement {
            let armed = self.state.machines.get(holder).filter(|m| self.may_change_key(m));
            if let Some(machine) = armed {
                let mut machine = machine.clone();
                machine.spec.decision = Decision::Undecided;
                return Ok(machine);
            }
        }
        let seen = claim.mac.and_then(|mac| self.state.machine_first_seen_with(mac));
        if let Some(machine) = seen.filter(|m| m.status.fingerprint.is_none()) {
            check_not_rejected(machine)?;
            return Ok(machine.clone());
        }
        let name = Name::new(format!("m-{}", claim.fingerprint.short()))
            .map_err(|e| internal(&format!("a fingerprint made no name: {e}")))?;
        if self.state.machines.contains(&name) {
            return Err(conflict(format!("{name} is another machine; restart this one, so that it makes a new key")));
        }
        self.make_room_for_a_stranger()?;
        Ok(self.new_machine(&name, claim.mac))
    }

    /// Takes over what the machine shows of itself.
    fn fill(&self, machine: &mut Machine, claim: &ClaimRecord) {
        let status = &mut machine.status;
        status.fingerprint = Some(claim.fingerprint);
        status.code = Some(claim.code.clone());
        status.address = Some(claim.address);
        status.hardware = Some(claim.hardware.clone());
        if claim.measures.is_some() {
            status.measures.clone_from(&claim.measures);
        }
        status.mac = status.mac.or(claim.mac);
        status.last_seen = Some(self.at);
        if machine.spec.decision == Decision::Undecided {
            status.phase = MachinePhase::Pending;
        }
    }

    /// What a computer says that it was, for people to believe or not.
    fn was(&self, lost: &LostState) -> String {
        let plain = |text: &str| known_part(text).replace(char::is_control, " ");
        let (node, why) = (&lost.node, plain(&lost.why));
        let of = match (self.is_own(lost), self.state.nodes.get(node)) {
            (true, Some(known)) => format!("{node} of this cluster (node {})", known.spec.id),
            (true, None) => format!("{node} of this cluster, which is no node any more"),
            (false, _) => format!("{node} of another cluster, “{}”", plain(&lost.cluster)),
        };
        format!("it says that it was {of}, whose state is lost: {why}")
    }

    fn is_own(&self, lost: &LostState) -> bool {
        self.state.cluster.as_ref().is_some_and(|cluster| cluster.spec.ca_fingerprint == lost.ca_fingerprint)
    }

    /// A node without durable state whose computer comes with another key has lost its own; so has one whose computer
    /// says so.
    fn mark_lost(&mut self, claim: &ClaimRecord) {
        let said = claim.lost.as_ref().filter(|lost| self.is_own(lost)).map(|lost| &lost.node);
        let is_gone = |n: &Node| match said == Some(&n.metadata.name) {
            true => shares_mac(claim, n),
            false => n.spec.ephemeral && looks_like(claim, n),
        };
        let gone = |n: &&Node| n.status.state != NodeState::Lost && is_gone(n);
        let lost: Vec<Node> = self.state.nodes.values().filter(gone).cloned().collect();
        for mut node in lost {
            let name = node.metadata.name.clone();
            let reason = format!(
                "its computer came back with another key, {}; give that machine its place with `meadow machine approve \
                 MACHINE --replaces {name}`, or take it out with `meadow node remove {name}`",
                claim.fingerprint
            );
            node.status.state = NodeState::Lost;
            node.status.reason = Some(reason.clone());
            self.put_node(node);
            self.warn("node-lost", Kind::Node, name.as_str(), format!("{name} is lost: {reason}"));
        }
    }

    /// Tells both sides where a computer has something in common with another that should be its own. Of many such only
    /// the first ones are told, as many as a machine has room for: a stranger may come with one address a thousand times.
    fn note_duplicates(&mut self, machine: &mut Machine, claim: &ClaimRecord) {
        let name = machine.metadata.name.clone();
        let lives = |other: &Machine| match &other.spec.decision {
            Decision::Approved { node, .. } => {
                self.state.nodes.get(node).is_some_and(|n| n.status.state != NodeState::Lost)
            }
            _ => true,
        };
        let others: Vec<_> = self
            .state
            .machines
            .values()
            .filter(|other| other.metadata.name != name && lives(other))
            .filter_map(|other| shared_with(claim, other).map(|shared| (other.metadata.name.clone(), shared)))
            .take(MAX_HINTS)
            .collect();
        for (other_name, shared) in others {
            let Some(mut other) = self.state.machines.get(&other_name).cloned() else { continue };
            let (here, there) = (shared.hint(other_name.as_str()), shared.hint(name.as_str()));
            if add_hint(machine, here.clone()) {
                self.warn(shared.event_code(), Kind::Machine, name.as_str(), format!("{name}: {here}"));
            }
            if add_hint(&mut other, there.clone()) {
                self.put_machine(other);
                self.warn(shared.event_code(), Kind::Machine, other_name.as_str(), format!("{other_name}: {there}"));
            }
        }
    }

    /// Lets the machine in where its credential is good, else has it wait for a person.
    fn decide(&mut self, name: &Name, entitlement: Entitlement) -> Result<Standing, Problem> {
        let machine = self.state.machines.get(name).cloned().ok_or_else(|| internal("the claim was not recorded"))?;
        match entitlement {
            Entitlement::Person(why) => Ok(wait(&machine, why)),
            Entitlement::Suspicious { reason, .. } => Ok(wait(&machine, Some(reason))),
            Entitlement::Ticket { holder, armed } => {
                match self.check_admission(&machine, armed.node.as_ref(), armed.replaces.as_ref()) {
                    Err(problem) => {
                        Ok(wait(&machine, Some(format!("its boot ticket is good, but {}", problem.detail))))
                    }
                    Ok(admission) => {
                        let fingerprint = machine.status.fingerprint;
                        let (node, _) = self.admit(machine, admission, "ticket")?;
                        if let Some(fingerprint) = fingerprint {
                            self.bind_ticket(&holder, fingerprint);
                        }
                        Ok(Standing::Approved { node })
                    }
                }
            }
            Entitlement::Token(mut token) => {
                let admission = self.check_admission(&machine, None, None)?;
                token.status.used += 1;
                let by = format!("token {}", token.metadata.name);
                self.put_token(*token);
                let (node, _) = self.admit(machine, admission, &by)?;
                Ok(Standing::Approved { node })
            }
        }
    }
}

/// The standing of a machine that a person has to decide about, for a special reason or just because.
fn wait(machine: &Machine, why: Option<String>) -> Standing {
    let next = waits_for_a_person(&machine.metadata.name);
    Standing::Pending { reason: why.map_or_else(|| next.clone(), |why| format!("{why}; {next}")) }
}

fn check_not_rejected(machine: &Machine) -> Result<(), Problem> {
    match &machine.spec.decision {
        Decision::Rejected { by, .. } => Err(machine_rejected(&machine.metadata.name, by)),
        _ => Ok(()),
    }
}

/// Adds a hint unless it is there already or there are enough; tells whether it did.
fn add_hint(machine: &mut Machine, hint: String) -> bool {
    let hints = &mut machine.status.hints;
    let add = hints.len() < MAX_HINTS && !hints.contains(&hint);
    if add {
        hints.push(hint);
    }
    add
}

/// Refuses inventories that are no computer's.
fn check_size(claim: &ClaimRecord) -> Result<(), Problem> {
    let too_large = |what: &str, size: usize| {
        Err(bad_request(format!("the {what} has {size} bytes, and at most {MAX_HARDWARE_BYTES} are taken")))
    };
    let size = json_size::<Hardware>(&claim.hardware)?;
    if size > MAX_HARDWARE_BYTES {
        return too_large("inventory", size);
    }
    match claim.measures.as_ref().map(json_size).transpose()? {
        Some(size) if size > MAX_HARDWARE_BYTES => too_large("list of measures", size),
        _ => Ok(()),
    }
}

fn json_size<T: serde::Serialize>(value: &T) -> Result<usize, Problem> {
    serde_json::to_vec(value)
        .map(|bytes| bytes.len())
        .map_err(|e| bad_request(format!("the inventory is unreadable: {e}")))
}
