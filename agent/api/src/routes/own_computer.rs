//! What this very computer does for a person who stands at it: here and now, without operations, whether or not it is a node and
//! its cluster can be reached. The same over the cluster, for a node by its name, is in `rescue`.

use axum::Json;
use axum::extract::State;
use meadow_model::hardware::Disk;
use meadow_model::reset::{ResetDone, ResetPlan, ResetRequest};
use meadow_model::work::{StickUpdate, SupportTask};

use super::{Context, Reply};
use crate::extract;
use crate::wire::Said;

/// The disks of this very computer as they are now, whether or not it is a node: a stick that was just plugged in is there.
#[utoipa::path(get, path = "/v1/self/disks", tag = "agent", responses((status = 200, body = Vec<Disk>)))]
pub(super) async fn own_disks(State(backend): Context) -> Reply<Json<Vec<Disk>>> {
    Ok(Json(backend.own_disks().await?))
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
    responses((status = 200, body = ResetDone)))]
pub(super) async fn reset_self(
    State(backend): Context,
    extract::Json(request): extract::Json<ResetRequest>,
) -> Reply<Json<ResetDone>> {
    Ok(Json(backend.reset_self(request).await?))
}

/// Updates this very computer from a stick, whether or not its cluster can be reached, and restarts it.
#[utoipa::path(post, path = "/v1/self/update", tag = "agent", request_body = StickUpdate,
    responses((status = 200, body = Said)))]
pub(super) async fn update_self(
    State(backend): Context,
    extract::Json(update): extract::Json<StickUpdate>,
) -> Reply<Json<Said>> {
    Ok(Json(Said { message: backend.update_self(update).await? }))
}

/// Writes a support bundle of this very computer onto a stick, whether or not its cluster can be reached.
#[utoipa::path(post, path = "/v1/self/support", tag = "agent", request_body = SupportTask,
    responses((status = 200, body = Said)))]
pub(super) async fn support_self(
    State(backend): Context,
    extract::Json(task): extract::Json<SupportTask>,
) -> Reply<Json<Said>> {
    Ok(Json(Said { message: backend.support_self(task).await? }))
}
