//! The cluster.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use meadow_model::cluster::{Cluster, ClusterSpec, ClusterStatus};
use meadow_model::machine::MachinePhase;
use meadow_model::node::NodeState;
use meadow_model::problem::FieldError;
use meadow_model::ssh_key::{self, InvalidSshKeys};
use meadow_model::{Problem, ProblemCode, Resource};
use meadow_state::command::Command;

use super::{Context, Reply, author, change, resource};
use crate::backend::Backend;
use crate::extract::{self, Caller};
use crate::precondition;
use crate::problem::Failure;
use crate::wire::ClusterPatch;

/// The cluster and how it is.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", responses(
    (status = 200, body = Resource<ClusterSpec, ClusterStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context) -> Reply<Response> {
    let state = backend.state()?;
    Ok(shown(&*backend, &state, find(&state)?))
}

/// Changes the admins' SSH keys. Each node with a disk of its own writes them there once it hears of them; `ssh_keys_behind`
/// names those that have not yet.
#[utoipa::path(patch, path = "/v1/cluster", tag = "cluster", params(("If-Match" = String, Header)),
    request_body = ClusterPatch,
    responses((status = 200, body = Resource<ClusterSpec, ClusterStatus>, headers(("ETag" = String)))))]
pub(super) async fn patch(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(patch): extract::Json<ClusterPatch>,
) -> Reply<Response> {
    let state = backend.state()?;
    let cluster = find(&state)?;
    let if_match = precondition::required(&headers, cluster.metadata.revision)?;
    let Some(keys) = patch.spec.authorized_keys else { return Ok(shown(&*backend, &state, cluster)) };
    // Before it is proposed: what is in the log of the voters is on their disks, be it refused or not.
    ssh_key::accept(&cluster.spec.authorized_keys, &keys).map_err(refused)?;
    let (_, state) = change(&*backend, author(&caller, &headers)?, Command::SetSshKeys { keys, if_match }).await?;
    Ok(shown(&*backend, &state, find(&state)?))
}

fn find(state: &meadow_state::State) -> Reply<&Cluster> {
    state.cluster().ok_or_else(|| {
        Failure::new(ProblemCode::NotFound, "this agent has no cluster yet; make one with `meadow init`")
    })
}

fn shown(backend: &dyn Backend, state: &meadow_state::State, cluster: &Cluster) -> Response {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let ready = state.nodes().values().filter(|node| backend.node_status(node).state == NodeState::Ready).count();
    let pending = state.machines().values().filter(|m| m.status.phase == MachinePhase::Pending).count();
    let status = ClusterStatus {
        leader: backend.leader(),
        ready: count(ready),
        nodes: count(state.nodes().len()),
        pending: count(pending),
        warnings: backend.warnings(),
        ssh_keys_behind: state.ssh_keys_behind(),
    };
    resource::shown(StatusCode::OK, &Cluster { status, ..cluster.clone() })
}

fn refused(why: InvalidSshKeys) -> Failure {
    let mut problem = Problem::new(ProblemCode::BadRequest, why.to_string());
    if let InvalidSshKeys::Key { number, .. } | InvalidSshKeys::Twice { number } = why {
        let field = format!("/spec/authorized_keys/{}", number - 1);
        problem.fields.push(FieldError { field, message: why.to_string() });
    }
    problem.into()
}
