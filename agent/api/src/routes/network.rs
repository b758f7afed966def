//! Network cards, of the computer whose agent is asked and of nodes: settings are tried, and go back by themselves unless
//! somebody confirms them.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use meadow_model::network::{NetworkChange, NetworkView};
use meadow_model::operation::{Operation, OperationSpec, OperationStatus};
use meadow_model::work::NodeTask;
use meadow_model::{Name, Resource};

use super::disks::{give, ready};
use super::{Context, Reply};
use crate::extract::{self, Caller, Subject};

/// How the network cards of this computer are set.
#[utoipa::path(get, path = "/v1/self/network", tag = "network", responses((status = 200, body = NetworkView)))]
pub(super) async fn get(State(backend): Context) -> Reply<Json<NetworkView>> {
    Ok(Json(backend.network().await?))
}

/// Sets network cards of this computer for a minute; without a confirmation the settings before come back then, also where
/// the agent or the whole computer fails meanwhile.
#[utoipa::path(post, path = "/v1/self/network/try", tag = "network", request_body = NetworkChange,
    responses((status = 200, body = NetworkView)))]
pub(super) async fn try_it(
    State(backend): Context,
    extract::Json(change): extract::Json<NetworkChange>,
) -> Reply<Json<NetworkView>> {
    Ok(Json(backend.try_network(change).await?))
}

/// Keeps the settings that are tried now.
#[utoipa::path(post, path = "/v1/self/network/confirm", tag = "network", responses((status = 200, body = NetworkView)))]
pub(super) async fn confirm(State(backend): Context) -> Reply<Json<NetworkView>> {
    Ok(Json(backend.end_network_trial(true).await?))
}

/// Brings the settings from before the trial back at once.
#[utoipa::path(post, path = "/v1/self/network/back", tag = "network", responses((status = 200, body = NetworkView)))]
pub(super) async fn back(State(backend): Context) -> Reply<Json<NetworkView>> {
    Ok(Json(backend.end_network_trial(false).await?))
}

/// Sets network cards of a node for a minute; without a confirmation the settings before come back then. The node checks the
/// fields; its status tells its cards.
#[utoipa::path(post, path = "/v1/nodes/{name}/network/try", tag = "nodes", params(("name" = String, Path)),
    request_body = NetworkChange, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn try_on_node(
    backend: Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(change): extract::Json<NetworkChange>,
) -> Reply<(StatusCode, Json<Operation>)> {
    hand(backend, &caller, &name, &headers, NodeTask::TryNetwork(change)).await
}

/// Keeps the network settings that a node tries now.
#[utoipa::path(post, path = "/v1/nodes/{name}/network/confirm", tag = "nodes", params(("name" = String, Path)),
    responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn confirm_on_node(
    backend: Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<(StatusCode, Json<Operation>)> {
    hand(backend, &caller, &name, &headers, NodeTask::ConfirmNetwork).await
}

/// Brings a node's network settings from before the trial back at once.
#[utoipa::path(post, path = "/v1/nodes/{name}/network/back", tag = "nodes", params(("name" = String, Path)),
    responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn back_on_node(
    backend: Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<(StatusCode, Json<Operation>)> {
    hand(backend, &caller, &name, &headers, NodeTask::NetworkBack).await
}

async fn hand(
    State(backend): Context,
    caller: &Caller,
    name: &Name,
    headers: &HeaderMap,
    task: NodeTask,
) -> Reply<(StatusCode, Json<Operation>)> {
    ready(&*backend, name)?;
    give(&*backend, caller, headers, name, task).await
}
