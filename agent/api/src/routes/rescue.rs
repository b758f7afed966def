//! What helps a node that is to begin anew, or that is not well: work that the cluster gives it, as operations. What a person at
//! the very computer orders, without a cluster, is in `own_computer`.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use meadow_model::fingerprint::PublicKey;
use meadow_model::install::InstallMode;
use meadow_model::node::Node;
use meadow_model::operation::{Operation, OperationSpec, OperationState, OperationStatus};
use meadow_model::reset::{ResetPlan, ResetRequest};
use meadow_model::work::{NodeTask, Reinstall, StickUpdate, SupportTask};
use meadow_model::{Name, ProblemCode, Resource, action};
use meadow_state::command::{Command, OperationEnd};

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
    give(&*backend, &caller, &headers, &name, NodeTask::Reset(Box::new(plan))).await
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

/// Updates a node from a stick that somebody plugged in there. The image is tried once and kept when the node is as well
/// with it as before.
#[utoipa::path(post, path = "/v1/nodes/{name}/update", tag = "nodes", params(("name" = String, Path)),
    request_body = StickUpdate, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn update(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(update): extract::Json<StickUpdate>,
) -> Reply<(StatusCode, Json<Operation>)> {
    ready(&*backend, &name)?;
    give(&*backend, &caller, &headers, &name, NodeTask::UpdateFromStick(update)).await
}

/// Boots a node's computer over the network once and writes its system anew from there; the state stays as it is. The node
/// need not be well.
#[utoipa::path(post, path = "/v1/nodes/{name}/reinstall", tag = "nodes", params(("name" = String, Path)),
    request_body = Reinstall, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn reinstall(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(order): extract::Json<Reinstall>,
) -> Reply<(StatusCode, Json<Operation>)> {
    let state = backend.state()?;
    let installed = find(&state, &name)?.status.installed.as_ref();
    if installed.is_none_or(|disk| disk.mode != InstallMode::System) {
        let detail =
            format!("{name} does not boot from a disk of its own; install it with `meadow node install {name}`");
        return Err(Failure::new(ProblemCode::Conflict, detail));
    }
    give(&*backend, &caller, &headers, &name, NodeTask::Reinstall(order)).await
}

/// Calls a reinstallation off that has not begun: the node is left to its own disk again.
#[utoipa::path(delete, path = "/v1/nodes/{name}/reinstall", tag = "nodes", params(("name" = String, Path)),
    responses((status = 204)))]
pub(super) async fn call_off(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<StatusCode> {
    let state = backend.state()?;
    let wanted = |op: &&Operation| {
        op.spec.action == action::REINSTALL && op.spec.target == name && op.status.state == OperationState::Running
    };
    let running = state.operations().values().find(wanted).map(|op| op.metadata.name.clone());
    let none = || Failure::new(ProblemCode::NotFound, format!("no reinstallation of {name} waits"));
    let author = author(&caller, &headers)?;
    let end = OperationEnd::Failed { why: format!("called off by {}", author.actor) };
    let note =
        Command::NoteOperation { operation: running.ok_or_else(none)?, step: "called off".to_owned(), end: Some(end) };
    change(&*backend, author, note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes a support bundle, in which no secret is, onto a stick that somebody plugged into a node.
#[utoipa::path(post, path = "/v1/nodes/{name}/support", tag = "nodes", params(("name" = String, Path)),
    request_body = SupportTask, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn support(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(task): extract::Json<SupportTask>,
) -> Reply<(StatusCode, Json<Operation>)> {
    ready(&*backend, &name)?;
    give(&*backend, &caller, &headers, &name, NodeTask::Support(task)).await
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
    let plan = meadow_plan::reset::plan(&node.metadata.name, hardware, node.status.installed.as_ref(), &request.disks);
    plan.map_err(|refusal| Failure::new(ProblemCode::InstallRefused, refusal.to_string()))
}
