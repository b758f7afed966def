//! The PXE server.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use meadow_model::MacAddress;
use meadow_model::boot::{BootEvent, PxeStatus};
use meadow_model::resource::List;
use meadow_state::command::Command;
use serde::{Deserialize, Serialize};

use super::{Context, Reply, author, change, out_of_range};
use crate::extract::{self, Caller, Query};
use crate::list::{Field, ListQuery, page};
use crate::wire::{OpenPxeRequest, PXE_OPEN_S};

/// Fields to filter and sort by.
const FIELDS: &[Field<BootEvent>] =
    &[Field { name: "seq", get: |e| e.seq.into() }, Field { name: "code", get: |e| (&e.code).into() }];

/// The state of the PXE server.
#[utoipa::path(get, path = "/v1/pxe", tag = "pxe", responses((status = 200, body = PxeStatus)))]
pub(super) async fn status(State(backend): Context) -> Json<PxeStatus> {
    Json(backend.pxe_status())
}

/// The query of the boot log beside that of every list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct BootEventsQuery {
    /// Only this machine.
    #[param(value_type = Option<String>)]
    mac: Option<MacAddress>,
    /// Only what came after the event with this `seq`.
    since: u64,
}

/// The boot log of this server, oldest first. Fields to filter and sort by: seq, code.
#[utoipa::path(get, path = "/v1/pxe/events", tag = "pxe", params(ListQuery, BootEventsQuery), responses(
    (status = 200, body = List<BootEvent>),
))]
pub(super) async fn events(
    State(backend): Context,
    Query(query): Query<ListQuery>,
    Query(BootEventsQuery { mac, since }): Query<BootEventsQuery>,
) -> Reply<Json<List<BootEvent>>> {
    let events = backend.pxe_events(mac, since);
    let revision = backend.state()?.revision();
    Ok(Json(page(events, &query, FIELDS, revision)?))
}

/// Boots every machine that asks, for a while.
#[utoipa::path(post, path = "/v1/pxe/open", tag = "pxe", request_body = OpenPxeRequest, responses(
    (status = 200, body = PxeStatus),
))]
pub(super) async fn open(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(request): extract::Json<OpenPxeRequest>,
) -> Reply<Json<PxeStatus>> {
    if !PXE_OPEN_S.contains(&request.for_s) {
        return Err(out_of_range("for_s", &PXE_OPEN_S));
    }
    let until = Some(backend.now().plus_seconds(request.for_s.into()));
    change(&*backend, author(&caller, &headers)?, Command::OpenPxe { until }).await?;
    Ok(Json(backend.pxe_status()))
}

/// Boots only the machines that were named.
#[utoipa::path(post, path = "/v1/pxe/close", tag = "pxe", responses((status = 200, body = PxeStatus)))]
pub(super) async fn close(State(backend): Context, caller: Caller, headers: HeaderMap) -> Reply<Json<PxeStatus>> {
    change(&*backend, author(&caller, &headers)?, Command::OpenPxe { until: None }).await?;
    Ok(Json(backend.pxe_status()))
}
