//! Operations: work that takes a while, and how it ended.

use meadow_model::action::{REINSTALL, RESET};
use meadow_model::boot::BootPolicy;
use meadow_model::operation::{Operation, OperationSpec, OperationState, OperationStatus, OperationStep};
use meadow_model::{Kind, Name, Problem};

use super::transaction::{Transaction, conflict, internal, not_found};
use crate::Outcome;
use crate::command::OperationEnd;
use crate::limits::{MAX_OPERATIONS, MAX_REASON, MAX_STEPS, MAX_TEXT};

/// The action of the operation that lasts from an approval to the node's first report.
pub(crate) const ENROL: &str = "enrol";

impl Transaction {
    /// Starts an operation that nobody else runs on this target.
    pub(super) fn start_work(
        &mut self,
        action: &str,
        kind: Kind,
        target: &Name,
        step: &str,
    ) -> Result<Outcome, Problem> {
        if kind == Kind::Node && !self.state.nodes.contains(target) {
            return Err(not_found("node", target));
        }
        let action = shortened(action, MAX_TEXT);
        if let Some(running) = self.newest(&action, kind, target).filter(|op| is_running(op)) {
            let name = &running.metadata.name;
            return Err(conflict(format!("{name} does that already for {target}; wait until it has ended")));
        }
        let operation = self.start_operation(&action, kind, target, shortened(step, MAX_REASON))?;
        if action == REINSTALL && kind == Kind::Node {
            self.set_boot_of(target, BootPolicy::Image);
        }
        Ok(Outcome::Operation { name: operation })
    }

    /// Adds a step to a running operation, or ends it. One that has ended stays as it ended: who reports may repeat
    /// himself.
    pub(super) fn note_operation(
        &mut self,
        name: &Name,
        step: &str,
        end: Option<&OperationEnd>,
    ) -> Result<Outcome, Problem> {
        let mut operation = self.state.operations.get(name).cloned().ok_or_else(|| not_found("operation", name))?;
        if !is_running(&operation) {
            return Ok(Outcome::Done);
        }
        let step = shortened(step, MAX_REASON);
        let steps = &mut operation.status.steps;
        if steps.last().is_none_or(|last| last.message != step) && steps.len() < MAX_STEPS {
            steps.push(OperationStep { time: self.at, message: step });
        }
        if let Some(end) = end {
            operation.status.state = match end {
                OperationEnd::Succeeded => OperationState::Succeeded,
                OperationEnd::Failed { why } => {
                    operation.status.error = Some(shortened(why, MAX_REASON));
                    OperationState::Failed
                }
            };
            operation.status.ended = Some(self.at);
        }
        let was_reset = operation.spec.action == RESET && operation.status.state == OperationState::Succeeded;
        let was_reinstalled = operation.spec.action == REINSTALL && end.is_some();
        let target = operation.spec.target.clone();
        self.put_operation(operation);
        if was_reset {
            self.forget_reset_node(&target);
        }
        if was_reinstalled {
            self.set_boot_of(&target, BootPolicy::LocalDisk);
        }
        Ok(Outcome::Done)
    }

    /// Nobody will say how the work of a node ended that is gone.
    pub(super) fn abandon_work_of(&mut self, node: &Name) {
        let of_node = |op: &&Operation| {
            is_running(op) && op.spec.action != ENROL && op.spec.kind == Kind::Node && op.spec.target == *node
        };
        let running: Vec<Operation> = self.state.operations.values().filter(of_node).cloned().collect();
        for operation in running {
            self.fail_operation(operation, format!("{node} was removed from the cluster meanwhile"));
        }
    }

    /// Ends a running operation without a step of its own.
    pub(super) fn fail_operation(&mut self, mut operation: Operation, why: String) {
        operation.status.state = OperationState::Failed;
        operation.status.error = Some(why);
        operation.status.ended = Some(self.at);
        self.put_operation(operation);
    }

    /// Starts the operation that ends with the node's first report.
    pub(super) fn start_enrolment(&mut self, node: &Name, step: String) -> Result<Name, Problem> {
        self.start_operation(ENROL, Kind::Node, node, step)
    }

    /// Ends the running enrolment of `node`, if there is one, with or without an error.
    pub(super) fn end_enrolment(&mut self, node: &Name, message: &str, failed: bool) -> bool {
        let Some(mut operation) = self.enrolment_of(node).filter(|op| is_running(op)).cloned() else {
            return false;
        };
        operation.status.steps.push(OperationStep { time: self.at, message: message.to_owned() });
        operation.status.state = if failed { OperationState::Failed } else { OperationState::Succeeded };
        operation.status.error = failed.then(|| message.to_owned());
        operation.status.ended = Some(self.at);
        self.put_operation(operation);
        true
    }

    /// The newest enrolment of `node`.
    pub(super) fn enrolment_of(&self, node: &Name) -> Option<&Operation> {
        self.newest(ENROL, Kind::Node, node)
    }

    fn newest(&self, action: &str, kind: Kind, target: &Name) -> Option<&Operation> {
        let wanted = |op: &&Operation| op.spec.action == action && op.spec.kind == kind && op.spec.target == *target;
        self.state.operations.values().rev().find(wanted)
    }

    pub(super) fn start_operation(
        &mut self,
        action: &str,
        kind: Kind,
        target: &Name,
        step: String,
    ) -> Result<Name, Problem> {
        self.state.next_operation += 1;
        let name = Name::new(format!("op-{:010}", self.state.next_operation))
            .map_err(|e| internal(&format!("the operation's number made no name: {e}")))?;
        let operation = Operation {
            kind: Kind::Operation,
            metadata: self.metadata(&name),
            spec: OperationSpec { action: action.to_owned(), kind, target: target.clone(), actor: self.actor.clone() },
            status: OperationStatus {
                steps: vec![OperationStep { time: self.at, message: step }],
                ..OperationStatus::default()
            },
        };
        self.put_operation(operation);
        // Nobody would hear how one that runs ended, nor end it: a rollout lasts as long as its operation.
        self.state.operations.keep_newest_but(MAX_OPERATIONS, |operation| !is_running(operation));
        Ok(name)
    }

    fn put_operation(&mut self, mut operation: Operation) {
        let name = operation.metadata.name.clone();
        if self.state.operations.get(&name) == Some(&operation) {
            return;
        }
        operation.metadata.revision = self.index;
        self.touch(Kind::Operation, &name);
        self.state.operations.insert(name, operation);
    }
}

fn is_running(operation: &Operation) -> bool {
    operation.status.state == OperationState::Running
}

fn shortened(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
