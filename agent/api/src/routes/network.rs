//! The network cards of the computer whose agent is asked: settings are tried, and go back by themselves unless somebody
//! confirms them.

use axum::Json;
use axum::extract::State;
use meadow_model::network::{NetworkChange, NetworkView};

use super::{Context, Reply};
use crate::extract;

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
