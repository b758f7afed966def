//! The agent itself: health, its own view, this document.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use meadow_model::console::SelfView;

use super::Context;
use crate::document;
use crate::wire::Health;

/// Whether the agent does what it is there for.
#[utoipa::path(get, path = "/v1/health", tag = "agent", responses(
    (status = 200, body = Health),
    (status = 503, body = Health, description = "it does not, and why"),
))]
pub(super) async fn health(State(backend): Context) -> Response {
    let health = backend.health();
    let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// What the console of this computer shows.
#[utoipa::path(get, path = "/v1/self", tag = "agent", responses((status = 200, body = SelfView)))]
pub(super) async fn self_view(State(backend): Context) -> Json<SelfView> {
    Json(backend.self_view())
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "agent", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document::text())
}
