//! Waiting for work that takes a while.

use std::time::Duration;

use meadow_client::{Client, ClientError};
use meadow_model::ProblemCode;
use meadow_model::operation::{Operation, OperationState};

use crate::duration;
use crate::exit::{Exit, Failure};
use crate::output::say;

/// How often a running operation is looked at.
const POLL: Duration = Duration::from_millis(500);

/// Tells the steps of an operation until it has succeeded.
///
/// # Errors
/// With the operation's reason where it failed, and [`Exit::TimedOut`] where it has not ended after `timeout_s`.
pub(super) async fn until_done(client: &Client, operation: Operation, timeout_s: u32) -> anyhow::Result<Operation> {
    let name = operation.metadata.name.clone();
    let limit = Duration::from_secs(timeout_s.into());
    let ended = tokio::time::timeout(limit, follow(client, operation)).await.map_err(|_| {
        let waited = duration::short(timeout_s.into());
        Failure::new(Exit::TimedOut, format!("not done in {waited}, and goes on: meadow operation show {name}"))
    })??;
    if ended.status.state == OperationState::Failed {
        let why = ended.status.error.as_deref().unwrap_or("the operation tells no reason");
        return Err(Failure::new(Exit::Failed, format!("{why}; see `meadow operation show {name}`")).into());
    }
    Ok(ended)
}

/// Tells the steps of an operation until it ends. An agent that restarts meanwhile is waited for.
async fn follow(client: &Client, mut operation: Operation) -> anyhow::Result<Operation> {
    let (mut told, mut lost) = (0, false);
    loop {
        for step in operation.status.steps.iter().skip(told) {
            say(&format!("  {}  {}", step.time, step.message));
        }
        told = operation.status.steps.len();
        if operation.status.state != OperationState::Running {
            return Ok(operation);
        }
        tokio::time::sleep(POLL).await;
        match client.operation(&operation.metadata.name).await {
            Ok(newer) => (operation, lost) = (newer, false),
            Err(error) if may_come_back(&error) => {
                if !lost {
                    say(&format!("  {error} Trying again."));
                }
                lost = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the cluster may answer again in a moment.
fn may_come_back(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::NoAgent { .. } => true,
        ClientError::Problem(problem) => matches!(problem.code, ProblemCode::NoQuorum | ProblemCode::Unavailable),
        _ => false,
    }
}
