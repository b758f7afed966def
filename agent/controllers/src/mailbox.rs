//! What a voter keeps for its nodes between their reports: work to hand out, and the answers that came back.
//!
//! In memory only. The work holds sealed secrets, which have no business on a disk; after a restart of the voter an
//! operation whose work was not taken yet fails, and says so.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use meadow_model::Name;
use meadow_model::action;
use meadow_model::install::Sealed;
use meadow_model::operation::{Operation, OperationState};
use meadow_model::work::{NodeTask, NodeWork, Reinstall, WorkEnd, WorkReport};
use meadow_model::{Kind, Problem, ProblemCode};
use meadow_state::State;
use meadow_state::command::{Command, OperationEnd};

/// Pieces of work that wait at once, over all nodes.
const MAX_WORK: usize = 1000;
/// Answers that wait to be fetched, and their bytes; a further one pushes out the oldest.
const MAX_ANSWERS: usize = 100;
const MAX_ANSWER_BYTES: usize = 32 << 20;
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
    fn has_work(&self, node: &Name, operation: &Name) -> bool {
        self.work.get(node).is_some_and(|work| work.iter().any(|work| work.operation == *operation))
    }

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

    /// What waits for a node, without what was called off meanwhile.
    #[must_use]
    pub fn work_for(&self, node: &Name, state: &State) -> Vec<NodeWork> {
        let work = self.locked(|inner| inner.work.get(node).cloned().unwrap_or_default());
        work.into_iter().filter(|work| runs(state, work)).collect()
    }

    fn has_work(&self, node: &Name, operation: &Name) -> bool {
        self.locked(|inner| inner.has_work(node, operation))
    }

    /// Keeps an answer that comes beside the report, for work that the node still has.
    ///
    /// # Errors
    /// `Conflict` where that is not so: a node cannot fill the memory with answers.
    pub fn put_answer(&self, node: &Name, operation: &Name, answer: Sealed) -> Result<(), Problem> {
        self.locked(|inner| {
            if !inner.has_work(node, operation) {
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
                && action::OF_NODES.contains(&op.spec.action.as_str())
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
            let waits = self.has_work(node, name);
            if !waits && operation.spec.action == action::REINSTALL {
                // A person may take long to start the node over the network, and there is no secret in it: given again. That
                // somebody agreed to an older image is not in the replicated state; where it counts the node says so.
                let task = NodeTask::Reinstall(Reinstall::default());
                let given = self.give(node, NodeWork { operation: name.clone(), task });
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
    pub fn settle(&self, node: &Name, reports: &[WorkReport], state: &State) {
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
            // What was called off has no end of the node's.
            inner.work.get_mut(node).into_iter().for_each(|work| work.retain(|work| runs(state, work)));
            inner.work.retain(|_, work| !work.is_empty());
        });
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn runs(state: &State, work: &NodeWork) -> bool {
    state.operations().get(&work.operation).is_some_and(|op| op.status.state == OperationState::Running)
}

fn note(operation: &Name, step: &str, end: Option<OperationEnd>) -> Command {
    Command::NoteOperation { operation: operation.clone(), step: step.to_owned(), end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("valid")
    }

    #[test]
    fn an_answer_is_taken_from_the_node_that_works_and_the_oldest_makes_room() {
        let (mailbox, node) = (Mailbox::default(), name("node-1"));
        let answer = || Sealed("A".repeat(6 << 20));
        for number in 1..=6 {
            let operation = name(&format!("op-{number}"));
            let none = mailbox.put_answer(&node, &operation, answer()).map_err(|problem| problem.code);
            assert_eq!(none, Err(ProblemCode::Conflict), "it was not asked for");
            mailbox.give(&node, NodeWork { operation: operation.clone(), task: NodeTask::Reboot }).expect("given");
            assert!(mailbox.put_answer(&name("node-2"), &operation, answer()).is_err(), "another node");
            mailbox.put_answer(&node, &operation, answer()).expect("kept");
            // The report that says so has no answer in it.
            let end = Some(WorkEnd::Done { answer: None });
            mailbox.settle(
                &node,
                &[WorkReport { operation, step: "done".to_owned(), percent: None, end }],
                &State::default(),
            );
        }
        assert_eq!(mailbox.answer(&name("op-1")), None, "32 MiB are enough");
        assert!((2..=6).all(|number| mailbox.answer(&name(&format!("op-{number}"))).is_some()));
    }
}
