//! Nodes' own disks: installing, keys, restarting.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use meadow_model::fingerprint::PublicKey;
use meadow_model::install::{InstallPlan, InstallRequest, Sealed};
use meadow_model::node::{Node, NodeState};
use meadow_model::operation::{Operation, OperationSpec, OperationStatus};
use meadow_model::work::{InstallTask, KeyTask, NodeTask, NodeWork};
use meadow_model::{Kind, Name, Problem, ProblemCode, Resource};
use meadow_plan::Refusal;
use meadow_state::Outcome;
use meadow_state::command::{Command, OperationEnd};

use super::nodes::{find, judged};
use super::operations::visible;
use super::{Context, Reply, author, change, machines};
use crate::Identity;
use crate::backend::Backend;
use crate::extract::{self, Caller, Subject};
use crate::problem::Failure;
use crate::wire::{DiskChoice, PlanMachineRequest};

/// What an installation would do to a disk of a node; nothing is changed.
#[utoipa::path(post, path = "/v1/nodes/{name}/install/plan", tag = "nodes", params(("name" = String, Path)),
    request_body = InstallRequest, responses((status = 200, body = InstallPlan)))]
pub(super) async fn plan(
    State(backend): Context,
    Subject(name): Subject,
    extract::Json(request): extract::Json<InstallRequest>,
) -> Reply<Json<InstallPlan>> {
    Ok(Json(planned(&ready(&*backend, &name)?, &request)?))
}

/// What an installation would do to a disk of a machine that is no node yet; nothing is changed.
#[utoipa::path(post, path = "/v1/machines/{name}/install/plan", tag = "machines", params(("name" = String, Path)),
    request_body = PlanMachineRequest, responses((status = 200, body = InstallPlan)))]
pub(super) async fn plan_machine(
    State(backend): Context,
    Subject(name): Subject,
    extract::Json(request): extract::Json<PlanMachineRequest>,
) -> Reply<Json<InstallPlan>> {
    let state = backend.state()?;
    let machine = machines::find(&state, &name)?;
    let unknown = || {
        let detail = format!("{name} has not told its hardware: it has to boot and ask to enrol first");
        Failure::new(ProblemCode::Conflict, detail)
    };
    let hardware = machine.status.hardware.as_ref().ok_or_else(unknown)?;
    let serial = match request.disk {
        DiskChoice::Serial(serial) => Ok(serial),
        DiskChoice::SmallestBlank => meadow_plan::install::smallest_blank(&name, hardware, request.mode)
            .map(|disk| disk.serial.clone().unwrap_or_default()),
    };
    let plan = serial.and_then(|serial| meadow_plan::install::plan(&name, hardware, &serial, request.mode));
    plan.map(Json).map_err(refused)
}

/// Installs a node onto one of its disks. `consent` is the hash of the plan that the caller has seen.
#[utoipa::path(post, path = "/v1/nodes/{name}/install", tag = "nodes", params(("name" = String, Path)),
    request_body = InstallRequest, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn install(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(request): extract::Json<InstallRequest>,
) -> Reply<(StatusCode, Json<Operation>)> {
    let plan = planned(&ready(&*backend, &name)?, &request)?;
    if request.consent.as_ref() != Some(&plan.hash) {
        let detail = format!("the plan for the disk {} has the hash {} now", plan.serial, plan.hash);
        return Err(Failure::new(ProblemCode::PlanChanged, detail));
    }
    let missing = |what: &str| Failure::new(ProblemCode::BadRequest, format!("{what} is missing"));
    let state = backend.state()?;
    let cluster = state.cluster().ok_or_else(|| missing("the cluster"))?;
    let task = InstallTask {
        plan,
        passphrase: request.passphrase.ok_or_else(|| missing("passphrase"))?,
        reply_to: request.reply_to.ok_or_else(|| missing("reply_to"))?,
        authorized_keys: cluster.spec.authorized_keys.clone(),
        cluster: cluster.metadata.name.to_string(),
        ca_fingerprint: cluster.spec.ca_fingerprint,
        network: request.network,
        reboot: request.reboot,
    };
    give(&*backend, &caller, &headers, &name, NodeTask::Install(Box::new(task))).await
}

/// Changes who can open a node's state.
#[utoipa::path(post, path = "/v1/nodes/{name}/keys", tag = "nodes", params(("name" = String, Path)),
    request_body = KeyTask, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn keys(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(task): extract::Json<KeyTask>,
) -> Reply<(StatusCode, Json<Operation>)> {
    let node = ready(&*backend, &name)?;
    if node.status.installed.is_none() {
        let detail = format!("{name} has no state on a disk; install it with `meadow node install {name}`");
        return Err(Failure::new(ProblemCode::Conflict, detail));
    }
    give(&*backend, &caller, &headers, &name, NodeTask::Keys(task)).await
}

/// Restarts a node.
#[utoipa::path(post, path = "/v1/nodes/{name}/reboot", tag = "nodes", params(("name" = String, Path)),
    responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn reboot(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<(StatusCode, Json<Operation>)> {
    ready(&*backend, &name)?;
    give(&*backend, &caller, &headers, &name, NodeTask::Reboot).await
}

/// The sealed secret that a node answered an operation with. It is kept in memory for a while.
#[utoipa::path(get, path = "/v1/operations/{name}/answer", tag = "operations", params(("name" = String, Path)),
    responses((status = 200, body = Sealed)))]
pub(super) async fn answer(State(backend): Context, caller: Caller, Subject(name): Subject) -> Reply<Json<Sealed>> {
    if matches!(caller.identity, Identity::Node { .. }) {
        visible(&*backend.state()?, &caller, &name)?;
    }
    let none = || Failure::new(ProblemCode::NotFound, format!("{name} has no answer, or not any more"));
    backend.operation_answer(&name).map(Json).ok_or_else(none)
}

/// A node's answer to an operation that it works on, where it is too large for a report. The node's own report says that the
/// work has ended.
#[utoipa::path(put, path = "/v1/operations/{name}/answer", tag = "operations", params(("name" = String, Path)),
    request_body = Sealed, responses((status = 204)))]
pub(super) async fn put_answer(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    extract::Json(answer): extract::Json<Sealed>,
) -> Reply<StatusCode> {
    let state = backend.state()?;
    let operation = visible(&state, &caller, &name)?;
    let node = find(&state, &operation.spec.target)?;
    if caller.identity.key().map(PublicKey::fingerprint) != Some(node.spec.fingerprint) {
        return Err(Failure::new(ProblemCode::NodeRevoked, format!("{} is another computer now", node.metadata.name)));
    }
    backend.put_operation_answer(&node.metadata.name, &name, answer)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A node that takes work: it reports, and its disks are Meadow's to change.
pub(super) fn ready(backend: &dyn Backend, name: &Name) -> Reply<Node> {
    let node = judged(backend, find(&*backend.state()?, name)?);
    if node.spec.voter {
        let detail = format!("{name} runs on a system of its own, which Meadow does not change");
        return Err(Failure::new(ProblemCode::Conflict, detail));
    }
    if node.status.state != NodeState::Ready {
        let reason = node.status.reason.as_deref().unwrap_or("it does not report");
        return Err(Failure::new(ProblemCode::Conflict, format!("{name} is not ready to take work: {reason}")));
    }
    Ok(node)
}

fn planned(node: &Node, request: &InstallRequest) -> Reply<InstallPlan> {
    let unknown = || Failure::new(ProblemCode::Conflict, "the node has not told its hardware");
    let hardware = node.status.hardware.as_ref().ok_or_else(unknown)?;
    let plan = meadow_plan::install::plan(&node.metadata.name, hardware, &request.serial, request.mode);
    plan.map_err(refused)
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(ProblemCode::InstallRefused, refusal.to_string())
}

pub(super) async fn give(
    backend: &dyn Backend,
    caller: &Caller,
    headers: &HeaderMap,
    node: &Name,
    task: NodeTask,
) -> Reply<(StatusCode, Json<Operation>)> {
    let step = "waits for the node to take it".to_owned();
    let start =
        Command::StartOperation { action: task.action().to_owned(), kind: Kind::Node, target: node.clone(), step };
    let author = author(caller, headers)?;
    let repeated = author.idempotency_key.is_some();
    let (applied, state) = change(backend, author.clone(), start).await?;
    let Outcome::Operation { name } = applied.outcome else {
        return Err(Failure::new(ProblemCode::Internal, "an operation began as something else"));
    };
    // A repetition finds the operation of the first time, whose work was handed over then.
    if !repeated || !applied.changed.is_empty() {
        hand_over(backend, author, node, NodeWork { operation: name.clone(), task }).await?;
    }
    let gone = || Failure::new(ProblemCode::NotFound, format!("{name} is forgotten already"));
    let operation = state.operations().get(&name).cloned().ok_or_else(gone)?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}

async fn hand_over(
    backend: &dyn Backend,
    mut author: crate::backend::Author,
    node: &Name,
    work: NodeWork,
) -> Reply<()> {
    let operation = work.operation.clone();
    let Err(problem) = backend.give_work(node, work) else { return Ok(()) };
    author.idempotency_key = None;
    let end = OperationEnd::Failed { why: problem.detail.clone() };
    let note = Command::NoteOperation { operation, step: "not handed over".to_owned(), end: Some(end) };
    change(backend, author, note).await?;
    Err(Failure::from(Problem::clone(&problem)))
}
