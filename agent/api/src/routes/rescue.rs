//! What helps a node that is to begin anew, or that is not well.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use meadow_model::fingerprint::PublicKey;
use meadow_model::node::Node;
use meadow_model::operation::{Operation, OperationSpec, OperationStatus};
use meadow_model::reset::{ResetPlan, ResetRequest};
use meadow_model::work::NodeTask;
use meadow_model::{Name, ProblemCode, Resource};
use meadow_state::command::Command;

use super::disks::{give, ready};
use super::nodes::find;
use super::{Context, Reply, author, change};
use crate::backend::Backend;
use crate::extract::{self, Caller, Subject};
use crate::problem::Failure;

/// What a factory reset of a node would erase; nothing is changed.
#[utoipa::path(post, path = "/v1/nodes/{name}/reset/plan", tag = "nodes", params(("name" = String, Path)),
    request_body = ResetRequest, responses((status = 200, body = ResetPlan)))]
pub(super) async fn plan_reset(
    State(backend): Context,
    Subject(name): Subject,
    extract::Json(request): extract::Json<ResetRequest>,
) -> Reply<Json<ResetPlan>> {
    Ok(Json(planned(&resettable(&*backend, &name)?, &request)?))
}

/// Erases a node's state for good and takes it out of the cluster; its computer comes back as a new machine. `consent` is
/// the hash of the plan that the caller has seen.
#[utoipa::path(post, path = "/v1/nodes/{name}/reset", tag = "nodes", params(("name" = String, Path)),
    request_body = ResetRequest, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn reset(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(request): extract::Json<ResetRequest>,
) -> Reply<(StatusCode, Json<Operation>)> {
    let plan = planned(&resettable(&*backend, &name)?, &request)?;
    if request.consent.as_ref() != Some(&plan.hash) {
        let detail = format!("the plan for the reset of {name} has the hash {} now", plan.hash);
        return Err(Failure::new(ProblemCode::PlanChanged, detail));
    }
    give(&*backend, &caller, &headers, &name, "reset", NodeTask::Reset(Box::new(plan))).await
}

/// A node says that it has erased itself: its key is refused from now on.
#[utoipa::path(post, path = "/v1/nodes/{name}/leave", tag = "nodes", params(("name" = String, Path)),
    responses((status = 204)))]
pub(super) async fn leave(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<StatusCode> {
    let state = backend.state()?;
    let node = find(&state, &name)?;
    if node.spec.voter || caller.identity.key().map(PublicKey::fingerprint) != Some(node.spec.fingerprint) {
        return Err(Failure::new(ProblemCode::Forbidden, format!("{name} can only be taken out by an admin")));
    }
    change(&*backend, author(&caller, &headers)?, Command::NodeReset { node: name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a factory reset of this very computer would erase; nothing is changed.
#[utoipa::path(post, path = "/v1/self/reset/plan", tag = "agent", request_body = ResetRequest,
    responses((status = 200, body = ResetPlan)))]
pub(super) async fn plan_own_reset(
    State(backend): Context,
    extract::Json(request): extract::Json<ResetRequest>,
) -> Reply<Json<ResetPlan>> {
    Ok(Json(backend.plan_own_reset(request).await?))
}

/// Erases the state of this very computer for good and restarts it, whether or not its cluster can be reached.
#[utoipa::path(post, path = "/v1/self/reset", tag = "agent", request_body = ResetRequest,
    responses((status = 200, body = ResetPlan)))]
pub(super) async fn reset_self(
    State(backend): Context,
    extract::Json(request): extract::Json<ResetRequest>,
) -> Reply<Json<ResetPlan>> {
    Ok(Json(backend.reset_self(request).await?))
}

/// A node that may be reset: none without which the cluster is gone.
fn resettable(backend: &dyn Backend, name: &Name) -> Reply<Node> {
    let state = backend.state()?;
    let voters = state.nodes().values().filter(|node| node.spec.voter).count();
    if find(&state, name)?.spec.voter && voters == 1 {
        let detail = format!("{name} holds the only copy of the cluster's state; with it the cluster would be gone");
        return Err(Failure::new(ProblemCode::LastVoter, detail));
    }
    ready(backend, name)
}

fn planned(node: &Node, request: &ResetRequest) -> Reply<ResetPlan> {
    let unknown = || Failure::new(ProblemCode::Conflict, "the node has not told its hardware");
    let hardware = node.status.hardware.as_ref().ok_or_else(unknown)?;
    let plan = meadow_plan::reset::plan(
        &node.metadata.name,
        hardware,
        node.status.installed.as_ref(),
        &request.disks,
    );
    plan.map_err(|refusal| Failure::new(ProblemCode::InstallRefused, refusal.to_string()))
}
