//! What a voter keeps for its nodes between their reports: work to hand out, and the answers that came back.
//!
//! In memory only. The work holds sealed secrets, which have no business on a disk; after a restart of the voter an
//! operation whose work was not taken yet fails, and says so.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use meadow_model::Name;
use meadow_model::install::Sealed;
use meadow_model::operation::{Operation, OperationState};
use meadow_model::work::{NodeTask, NodeWork, WorkEnd, WorkReport};
use meadow_model::{Kind, Problem, ProblemCode};
use meadow_state::State;
use meadow_state::command::{Command, OperationEnd};

/// Pieces of work that wait at once, over all nodes.
const MAX_WORK: usize = 1000;
/// Answers that wait to be fetched, and their bytes; a further one pushes out the oldest.
const MAX_ANSWERS: usize = 100;
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// Actions whose work a node does.
const ACTIONS: [&str; 13] = [
    INSTALL,
    KEYS,
    REBOOT,
    RESET,
    REINSTALL,
    UPDATE,
    SUPPORT,
    WRITE_IMAGE,
    TRY_IMAGE,
    BLESS_IMAGE,
    TRY_NETWORK,
    CONFIRM_NETWORK,
    NETWORK_BACK,
];

/// The action of an installation.
pub const INSTALL: &str = "install";
/// The action of a change of key slots.
pub const KEYS: &str = "keys";
/// The action of a restart.
pub const REBOOT: &str = "reboot";
/// The action of a factory reset.
pub const RESET: &str = "reset";
/// The action of a reinstallation from the network.
pub const REINSTALL: &str = "reinstall";
/// The action of an update from a stick.
pub const UPDATE: &str = "update";
/// The action of writing a support bundle.
pub const SUPPORT: &str = "support";

/// The action of trying network settings.
pub const TRY_NETWORK: &str = "try-network";
/// The action of keeping network settings.
pub const CONFIRM_NETWORK: &str = "confirm-network";
/// The action of taking network settings back.
pub const NETWORK_BACK: &str = "network-back";

/// The action of writing an image into the slot that does not run.
pub const WRITE_IMAGE: &str = "write-image";
/// The action of restarting into an image once.
pub const TRY_IMAGE: &str = "try-image";
/// The action of keeping the image that runs.
pub const BLESS_IMAGE: &str = "bless-image";
/// The last step of work that went with the memory of a voter.
pub(crate) const LOST: &str = "lost";

/// Work and answers.
#[derive(Debug, Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    work: BTreeMap<Name, Vec<NodeWork>>,
    /// By operation, whose names sort by age.
    answers: BTreeMap<Name, Sealed>,
}

impl Inner {
    fn keep(&mut self, operation: &Name, answer: Sealed) {
        self.answers.insert(operation.clone(), answer);
        let bytes = |answers: &BTreeMap<Name, Sealed>| answers.values().map(|answer| answer.0.len()).sum::<usize>();
        while self.answers.len() > MAX_ANSWERS || (self.answers.len() > 1 && bytes(&self.answers) > MAX_ANSWER_BYTES) {
            self.answers.pop_first();
        }
    }
}

impl Mailbox {
    /// Keeps work for a node until the node says how it ended.
    ///
    /// # Errors
    /// `Conflict` where too much waits already.
    pub fn give(&self, node: &Name, work: NodeWork) -> Result<(), Problem> {
        self.locked(|inner| {
            if inner.work.values().map(Vec::len).sum::<usize>() >= MAX_WORK {
                return Err(Problem::new(ProblemCode::Conflict, "too much work waits for nodes that do not take it"));
            }
            inner.work.entry(node.clone()).or_default().push(work);
            Ok(())
        })
    }

    /// What waits for a node.
    #[must_use]
    pub fn work_for(&self, node: &Name) -> Vec<NodeWork> {
        self.locked(|inner| inner.work.get(node).cloned().unwrap_or_default())
    }

    /// Keeps an answer that comes beside the report, for work that the node still has.
    ///
    /// # Errors
    /// `Conflict` where that is not so: a node cannot fill the memory with answers.
    pub fn put_answer(&self, node: &Name, operation: &Name, answer: Sealed) -> Result<(), Problem> {
        self.locked(|inner| {
            let waits = inner.work.get(node).is_some_and(|work| work.iter().any(|work| work.operation == *operation));
            if !waits {
                let detail = format!("{operation} waits for no answer of {node}; ask for it again");
                return Err(Problem::new(ProblemCode::Conflict, detail));
            }
            inner.keep(operation, answer);
            Ok(())
        })
    }

    /// The answer that a node gave to an operation.
    #[must_use]
    pub fn answer(&self, operation: &Name) -> Option<Sealed> {
        self.locked(|inner| inner.answers.get(operation).cloned())
    }

    /// Takes in what a node reports of its work: the commands that bring the operations up to date.
    pub fn take(&self, node: &Name, reports: &[WorkReport], state: &State) -> Vec<Command> {
        let of_node = |op: &&Operation| {
            op.status.state == OperationState::Running
                && op.spec.kind == Kind::Node
                && op.spec.target == *node
                && ACTIONS.contains(&op.spec.action.as_str())
        };
        state
            .operations()
            .values()
            .filter(of_node)
            .filter_map(|operation| self.news(node, reports, operation))
            .collect()
    }

    fn news(&self, node: &Name, reports: &[WorkReport], operation: &Operation) -> Option<Command> {
        let name = &operation.metadata.name;
        let Some(report) = reports.iter().find(|report| report.operation == *name) else {
            let waits = self.work_for(node).iter().any(|work| work.operation == *name);
            if !waits && operation.spec.action == REINSTALL {
                // A person may take long to start the node over the network, and there is no secret in it: given again.
                let given = self.give(node, NodeWork { operation: name.clone(), task: NodeTask::Reinstall });
                return given.err().map(|problem| note(name, &problem.detail, None));
            }
            let why = "the agent that kept this work restarted before the node took it; ask for it again".to_owned();
            let lost = || note(name, LOST, Some(OperationEnd::Failed { why }));
            return (!waits).then(lost);
        };
        let end = report.end.as_ref().map(|end| match end {
            WorkEnd::Done { .. } => OperationEnd::Succeeded,
            WorkEnd::Failed { why } => OperationEnd::Failed { why: why.clone() },
        });
        let told = operation.status.steps.last().is_some_and(|step| step.message == report.step);
        (!told || end.is_some()).then(|| note(name, &report.step, end))
    }

    /// Forgets the work whose end is in the state by now, and keeps its answers for those who asked.
    pub fn settle(&self, node: &Name, reports: &[WorkReport]) {
        self.locked(|inner| {
            for report in reports {
                let Some(end) = &report.end else { continue };
                let Some(work) = inner.work.get_mut(node) else { continue };
                let before = work.len();
                work.retain(|work| work.operation != report.operation);
                // Only what was asked for is kept: a node cannot fill the memory with answers.
                if let WorkEnd::Done { answer: Some(answer) } = end
                    && work.len() < before
                {
                    inner.keep(&report.operation, answer.clone());
                }
            }
            inner.work.retain(|_, work| !work.is_empty());
        });
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn note(operation: &Name, step: &str, end: Option<OperationEnd>) -> Command {
    Command::NoteOperation { operation: operation.clone(), step: step.to_owned(), end }
}
