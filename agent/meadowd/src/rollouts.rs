//! Drives the rollout of an image, one small step after the other.

use std::sync::Arc;
use std::time::Duration;

use meadow_client::ARTIFACT_PORT;
use meadow_controllers::rollout::{Action, View};
use meadow_host::{Clock, SystemClock};
use meadow_model::node::{Node, NodeStatus};
use meadow_model::work::{NodeTask, NodeWork};
use meadow_model::{Kind, Name, Problem, ProblemCode};
use meadow_state::Outcome;
use meadow_state::command::{Command, OperationEnd, Proposal};
use tracing::warn;

use crate::backend::Voter;

/// How often it looks; a report comes every two seconds.
const PERIOD: Duration = Duration::from_secs(2);

/// Drives rollouts for ever.
pub(crate) async fn run(voter: Arc<Voter>) {
    loop {
        if voter.replica.is_leader()
            && let Err(problem) = step(&voter).await
        {
            warn!("the rollout does not go on: {problem}");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn step(voter: &Voter) -> Result<(), Problem> {
    let state = voter.replica.state();
    let Some(rollout) = state.rollout() else { return Ok(()) };
    let status = |node: &Node| (node.clone(), voter.live.status(node, &voter.me));
    let nodes: Vec<(Node, NodeStatus)> = state.nodes().values().map(status).collect();
    let view =
        View { state: &state, nodes: &nodes, leader: &voter.me, rollout, port: ARTIFACT_PORT, now: SystemClock.wall() };
    let operation = rollout.operation.clone();
    match view.next() {
        Action::Give { node, task } => give(voter, node, task).await,
        Action::Tell(step) => {
            let told = state.operations().get(&operation).and_then(|operation| operation.status.steps.last());
            if told.is_none_or(|told| told.message != step) {
                propose(voter, Command::NoteOperation { operation, step, end: None }).await?;
            }
            Ok(())
        }
        Action::End(end) => propose(voter, Command::EndRollout { operation, end }).await.map(drop),
    }
}

async fn give(voter: &Voter, node: Name, task: NodeTask) -> Result<(), Problem> {
    let step = "waits for the node to take it".to_owned();
    let action = task.action().to_owned();
    let start = Command::StartOperation { action, kind: Kind::Node, target: node.clone(), step };
    let Outcome::Operation { name: operation } = propose(voter, start).await? else {
        return Err(Problem::new(ProblemCode::Internal, "an operation began as something else"));
    };
    let Err(problem) = voter.mailbox.give(&node, NodeWork { operation: operation.clone(), task }) else {
        return Ok(());
    };
    let end = Some(OperationEnd::Failed { why: problem.detail.clone() });
    propose(voter, Command::NoteOperation { operation, step: "not handed over".to_owned(), end }).await?;
    Err(problem)
}

async fn propose(voter: &Voter, command: Command) -> Result<Outcome, Problem> {
    let proposal = Proposal { at: SystemClock.wall(), actor: "meadow".to_owned(), idempotency_key: None, command };
    Ok(voter.replica.propose(proposal).await?.into_result()?.outcome)
}
