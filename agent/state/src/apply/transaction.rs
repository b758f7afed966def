//! A copy of the state that a command changes, and the record of what it changed.

use meadow_model::event::{Event, Severity};
use meadow_model::machine::{Machine, MachineSpec, MachineStatus};
use meadow_model::node::Node;
use meadow_model::token::Token;
use meadow_model::{Kind, MacAddress, Metadata, Name, Problem, ProblemCode, Timestamp};

use crate::command::{MachineRef, Proposal};
use crate::limits::{MAX_EVENTS, MAX_STRANGERS_EVENTS, WARNING_INTERVAL_MS};
use crate::query::machine_name;
use crate::{Applied, Outcome, State};

pub(super) struct Transaction {
    pub(super) state: State,
    pub(super) at: Timestamp,
    pub(super) actor: String,
    pub(super) index: u64,
    changed: Vec<(Kind, Name)>,
    events: Vec<Event>,
}

impl Transaction {
    pub(super) fn new(state: State, index: u64, proposal: &Proposal) -> Self {
        Self { state, at: proposal.at, actor: proposal.actor.clone(), index, changed: Vec::new(), events: Vec::new() }
    }

    pub(super) fn finish(self, outcome: Outcome) -> (State, Applied) {
        (self.state, Applied { index: self.index, changed: self.changed, events: self.events, outcome })
    }

    pub(super) fn metadata(&self, name: &Name) -> Metadata {
        Metadata { name: name.clone(), revision: self.index, created: self.at }
    }

    /// Records that readers will find another resource than before.
    pub(super) fn touch(&mut self, kind: Kind, name: &Name) {
        if !self.changed.iter().any(|(k, n)| *k == kind && n == name) {
            self.changed.push((kind, name.clone()));
        }
    }

    /// Stores a machine; a new revision only where a reader sees more than a newer `last_seen`.
    pub(super) fn put_machine(&mut self, mut machine: Machine) {
        let name = machine.metadata.name.clone();
        if let Some(old) = self.state.machines.get(&name) {
            let mut same_but_seen = old.clone();
            same_but_seen.status.last_seen = machine.status.last_seen;
            if same_but_seen == machine {
                self.state.machines.insert(name, machine);
                return;
            }
        }
        machine.metadata.revision = self.index;
        self.touch(Kind::Machine, &name);
        self.state.machines.insert(name, machine);
    }

    /// Forgets a machine with all that belongs to it.
    pub(super) fn drop_machine(&mut self, name: &Name) {
        if self.state.machines.remove(name) {
            self.state.claims.remove(name);
            self.state.tickets.remove(name);
            self.touch(Kind::Machine, name);
        }
    }

    pub(super) fn put_node(&mut self, mut node: Node) {
        let name = node.metadata.name.clone();
        if self.state.nodes.get(&name) == Some(&node) {
            return;
        }
        node.metadata.revision = self.index;
        self.touch(Kind::Node, &name);
        self.state.nodes.insert(name, node);
    }

    pub(super) fn put_token(&mut self, mut token: Token) {
        let name = token.metadata.name.clone();
        token.metadata.revision = self.index;
        self.touch(Kind::Token, &name);
        self.state.tokens.insert(name, token);
    }

    /// A machine that nobody knew, not stored yet.
    pub(super) fn new_machine(&self, name: &Name, mac: Option<MacAddress>) -> Machine {
        Machine {
            kind: Kind::Machine,
            metadata: self.metadata(name),
            spec: MachineSpec::default(),
            status: MachineStatus { mac, last_seen: Some(self.at), ..MachineStatus::default() },
        }
    }

    /// The machine that an admin names, or a new one where the MAC address is new.
    pub(super) fn find_or_new(&self, reference: &MachineRef) -> Result<Machine, Problem> {
        match (self.state.machine(reference), reference) {
            (Some(machine), _) => Ok(machine.clone()),
            (None, MachineRef::Name(name)) => Err(not_found("machine", name)),
            (None, MachineRef::Mac(mac)) => {
                let name = machine_name(*mac).ok_or_else(|| internal("a MAC address made no name"))?;
                if self.state.machines.contains(&name) {
                    return Err(conflict(format!("{name} is another machine than the one with {mac}")));
                }
                Ok(self.new_machine(&name, Some(*mac)))
            }
        }
    }

    /// Records something that is as it should be.
    pub(super) fn info(&mut self, code: &str, kind: Kind, subject: &Name, message: String) {
        self.record(Severity::Info, code, kind, subject.as_str(), message);
    }

    /// Records something that a person should look at; no more often than once a minute for one code and subject.
    pub(super) fn warn(&mut self, code: &str, kind: Kind, subject: &str, message: String) -> bool {
        let at = self.at;
        // An event of the future was recorded before the clock was set back; it must not silence anybody until then.
        let recent = |event: &&Event| event.time <= at && at.millis_since(event.time) < WARNING_INTERVAL_MS;
        let same = |event: &Event| event.code == code && event.kind == kind && event.subject == subject;
        if self.state.events.values().rev().take_while(recent).any(same) {
            return false;
        }
        self.record(Severity::Warning, code, kind, subject, message);
        true
    }

    fn record(&mut self, severity: Severity, code: &str, kind: Kind, subject: &str, message: String) {
        self.state.next_event += 1;
        let event = Event {
            seq: self.state.next_event,
            time: self.at,
            severity,
            code: code.to_owned(),
            kind,
            subject: subject.to_owned(),
            actor: self.actor.clone(),
            message,
        };
        let from_a_stranger = is_of_a_stranger(&event);
        self.state.events.insert(event.seq, event.clone());
        if from_a_stranger {
            self.bound_strangers();
        }
        self.state.events.keep_newest(MAX_EVENTS);
        self.events.push(event);
    }

    /// What machines that nobody let in make happen takes at most half of the history: a stranger who comes with ever
    /// new addresses and keys must not push out what people did.
    fn bound_strangers(&mut self) {
        let mut of_strangers = self.state.events.values().filter(|event| is_of_a_stranger(event));
        let oldest = of_strangers.next().map(|event| event.seq);
        let others = of_strangers.count();
        if let Some(oldest) = oldest.filter(|_| others >= MAX_STRANGERS_EVENTS) {
            self.state.events.remove(&oldest);
        }
    }

    /// A refusal that leaves a warning behind, or a plain problem where that warning was recorded a moment ago.
    pub(super) fn refuse(&mut self, problem: Problem, kind: Kind, subject: &str) -> Result<Outcome, Problem> {
        let code = problem.code.as_str();
        if self.warn(code, kind, subject, format!("{}. {}", problem.detail, problem.hint)) {
            return Ok(Outcome::Refused { problem: Box::new(problem) });
        }
        Err(problem)
    }
}

/// Whether a machine caused the event that need not be a node, by its packets alone. One that a ticket or a token let in
/// is none: that is told of the node.
fn is_of_a_stranger(event: &Event) -> bool {
    let let_in = event.kind == Kind::Node && event.severity == Severity::Info;
    !let_in && (event.actor == "pxe" || event.actor.starts_with("machine "))
}

/// Checks an `If-Match` against a resource.
pub(super) fn check_revision(metadata: &Metadata, if_match: Option<u64>) -> Result<(), Problem> {
    match if_match {
        Some(expected) if expected != metadata.revision => Err(Problem::new(
            ProblemCode::RevisionMismatch,
            format!("{} has revision {}, not {expected}", metadata.name, metadata.revision),
        )),
        _ => Ok(()),
    }
}

pub(super) fn not_found(kind: &str, name: &Name) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is no {kind} {name}"))
}

pub(super) fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::Conflict, detail)
}

pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::BadRequest, detail)
}

pub(super) fn internal(detail: &str) -> Problem {
    Problem::new(ProblemCode::Internal, detail)
}
