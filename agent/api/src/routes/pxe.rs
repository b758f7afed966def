//! The PXE server.

use axum::Json;
use std::net::IpAddr;

use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck, PxeLease, PxeStatus};
use meadow_model::resource::List;
use meadow_model::{MacAddress, ProblemCode};
use meadow_state::command::Command;
use serde::{Deserialize, Serialize};

use super::{Context, Reply, author, change, out_of_range};
use crate::extract::{self, Caller, Query};
use crate::list::{Field, ListQuery, page};
use crate::problem::Failure;
use crate::wire::{CAPTURE_S, CapturePart, CaptureRequest, OpenPxeRequest, PXE_OPEN_S};

/// Fields to filter and sort by.
const FIELDS: &[Field<BootEvent>] =
    &[Field { name: "seq", get: |e| e.seq.into() }, Field { name: "code", get: |e| (&e.code).into() }];

const CHECK_FIELDS: &[Field<PxeCheck>] = &[
    Field { name: "name", get: |c| (&c.name).into() },
    Field { name: "ok", get: |c| if c.ok { "true" } else { "false" }.into() },
];
const LEASE_FIELDS: &[Field<PxeLease>] = &[
    Field { name: "address", get: |l| l.address.into() },
    Field { name: "mac", get: |l| l.mac.map(|mac| mac.to_string()).unwrap_or_default().as_str().into() },
    Field { name: "hostname", get: |l| l.hostname.clone().unwrap_or_default().as_str().into() },
    Field { name: "state", get: |l| (&l.state).into() },
    Field { name: "expires", get: |l| l.expires.map(|at| at.to_string()).unwrap_or_default().as_str().into() },
];
const BOOT_FIELDS: &[Field<MachineBoot>] = &[
    Field { name: "mac", get: |b| b.mac.to_string().as_str().into() },
    Field { name: "stage", get: |b| (&b.stage).into() },
    Field { name: "failed", get: |b| if b.failed { "true" } else { "false" }.into() },
];

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

/// How far the boot of each machine is that was seen, the one that was heard last first. Fields to filter and sort by:
/// mac, stage, failed.
#[utoipa::path(get, path = "/v1/pxe/boots", tag = "pxe", params(ListQuery), responses(
    (status = 200, body = List<MachineBoot>),
))]
pub(super) async fn boots(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<MachineBoot>>> {
    let revision = backend.state()?.revision();
    Ok(Json(page(backend.pxe_boots(), &query, BOOT_FIELDS, revision)?))
}

/// Everything that is known of the addresses that this server gives out. Fields to filter and sort by: address, mac,
/// hostname, state, expires.
#[utoipa::path(get, path = "/v1/pxe/leases", tag = "pxe", params(ListQuery), responses(
    (status = 200, body = List<PxeLease>),
))]
pub(super) async fn leases(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<PxeLease>>> {
    let revision = backend.state()?.revision();
    Ok(Json(page(backend.pxe_leases(), &query, LEASE_FIELDS, revision)?))
}

/// Ends the lease of an address. Its client does not hear of it, and may use the address until it asks again.
#[utoipa::path(delete, path = "/v1/pxe/leases/{address}", tag = "pxe", params(("address" = String, Path)),
    responses((status = 204)))]
pub(super) async fn release(State(backend): Context, Path(address): Path<String>) -> Reply<StatusCode> {
    let address = address.parse::<IpAddr>();
    let address = address.map_err(|_| Failure::new(ProblemCode::BadRequest, "address must be an IP address"))?;
    backend.release_lease(address).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks at everything that a boot over the network needs, in that order. Fields to filter and sort by: name, ok.
#[utoipa::path(get, path = "/v1/pxe/doctor", tag = "pxe", params(ListQuery), responses(
    (status = 200, body = List<PxeCheck>),
))]
pub(super) async fn doctor(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<PxeCheck>>> {
    let revision = backend.state()?.revision();
    // It starts programs of the system and waits for them.
    let checks = tokio::task::spawn_blocking(move || backend.pxe_checks()).await;
    let checks = checks.map_err(|error| Failure::new(ProblemCode::Internal, error.to_string()))?;
    Ok(Json(page(checks, &query, CHECK_FIELDS, revision)?))
}

/// Begins to capture what a machine and this server say to each other, in place of an earlier capture of it. What TCP
/// carries is left out.
#[utoipa::path(post, path = "/v1/pxe/captures", tag = "pxe", request_body = CaptureRequest, responses((status = 202)))]
pub(super) async fn capture(
    State(backend): Context,
    extract::Json(request): extract::Json<CaptureRequest>,
) -> Reply<StatusCode> {
    if !CAPTURE_S.contains(&request.for_s) {
        return Err(out_of_range("for_s", &CAPTURE_S));
    }
    backend.pxe_capture(request.mac, request.for_s)?;
    Ok(StatusCode::ACCEPTED)
}

/// Which part of which capture.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CaptureQuery {
    /// The machine.
    #[param(value_type = String)]
    mac: MacAddress,
    /// The first byte of the file that is wanted.
    #[serde(default)]
    from: usize,
}

/// What was captured of a machine so far.
#[utoipa::path(get, path = "/v1/pxe/captures", tag = "pxe", params(CaptureQuery), responses(
    (status = 200, body = CapturePart),
))]
pub(super) async fn captured(
    State(backend): Context,
    Query(CaptureQuery { mac, from }): Query<CaptureQuery>,
) -> Reply<Json<CapturePart>> {
    let nobody = || Failure::new(ProblemCode::NotFound, format!("nothing was captured of {mac}, or not any more"));
    backend.pxe_captured(mac, from).map(Json).ok_or_else(nobody)
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
