//! The cluster.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use meadow_model::cluster::{Cluster, ClusterSpec, ClusterStatus};
use meadow_model::machine::MachinePhase;
use meadow_model::node::NodeState;
use meadow_model::{ProblemCode, Resource};

use super::{Context, Reply, resource};
use crate::problem::Failure;

/// The cluster and how it is.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", responses(
    (status = 200, body = Resource<ClusterSpec, ClusterStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context) -> Reply<Response> {
    let state = backend.state()?;
    let cluster = state.cluster().ok_or_else(|| {
        Failure::new(ProblemCode::NotFound, "this agent has no cluster yet; make one with `meadow init`")
    })?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let ready = state.nodes().values().filter(|node| backend.node_status(node).state == NodeState::Ready).count();
    let pending = state.machines().values().filter(|m| m.status.phase == MachinePhase::Pending).count();
    let status = ClusterStatus {
        leader: backend.leader(),
        ready: count(ready),
        nodes: count(state.nodes().len()),
        pending: count(pending),
        warnings: backend.warnings(),
    };
    Ok(resource::shown(StatusCode::OK, &Cluster { status, ..cluster.clone() }))
}
