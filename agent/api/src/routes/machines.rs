//! Machines: seen, named, approved, rejected, armed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use meadow_model::machine::{Machine, MachineSpec, MachineStatus};
use meadow_model::operation::{OperationSpec, OperationStatus};
use meadow_model::problem::FieldError;
use meadow_model::resource::List;
use meadow_model::{MacAddress, Name, Problem, ProblemCode, Resource};
use meadow_state::command::{Command, MachineRef};
use meadow_state::{Applied, Outcome};

use super::resource::{self, shown};
use super::{Context, Reply, author, change, missing, operations};
use crate::backend::Arm;
use crate::extract::{self, Caller, Query, Subject};
use crate::list::{Field, ListQuery};
use crate::precondition;
use crate::problem::Failure;
use crate::wire::{ApproveRequest, ArmRequest, MachinePatch, NewMachine, TICKET_DEFAULT_TTL_S, TICKET_TTL_S};

/// Fields to filter and sort by.
const FIELDS: &[Field<Machine>] = &[
    Field { name: "name", get: |m| (&m.metadata.name).into() },
    Field { name: "phase", get: |m| (&m.status.phase).into() },
    Field { name: "mac", get: |m| m.status.mac.map(|mac| mac.to_string()).unwrap_or_default().as_str().into() },
    Field { name: "boot", get: |m| super::json_name(&m.spec.boot).as_str().into() },
    Field { name: "created", get: |m| (&m.metadata.created).into() },
];

/// All machines. Fields to filter and sort by: name, phase, mac, boot, created.
#[utoipa::path(get, path = "/v1/machines", tag = "machines", params(ListQuery), responses(
    (status = 200, body = List<Resource<MachineSpec, MachineStatus>>),
))]
pub(super) async fn list(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<Machine>>> {
    resource::list(&*backend, &query, FIELDS, |state| state.machines())
}

/// One machine.
#[utoipa::path(get, path = "/v1/machines/{name}", tag = "machines", params(("name" = String, Path)), responses(
    (status = 200, body = Resource<MachineSpec, MachineStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context, Subject(name): Subject) -> Reply<Response> {
    let state = backend.state()?;
    Ok(shown(StatusCode::OK, find(&state, &name)?))
}

/// Names a machine by its MAC address before it was seen.
#[utoipa::path(post, path = "/v1/machines", tag = "machines", request_body = NewMachine, responses(
    (status = 201, body = Resource<MachineSpec, MachineStatus>, headers(("ETag" = String), ("Location" = String))),
))]
pub(super) async fn create(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(new): extract::Json<NewMachine>,
) -> Reply<Response> {
    let author = author(&caller, &headers)?;
    let machine = MachineRef::Mac(new.mac);
    let state = backend.state()?;
    if let Some(known) = state.machine(&machine) {
        // A repetition under its key is welcome as long as it says what is there.
        let same = known.spec.boot == new.boot
            && known.spec.plain_pxe == new.plain_pxe
            && known.spec.boot_options == new.boot_options;
        if !same || author.idempotency_key.is_none() {
            let detail = format!("{} is the machine {}", new.mac, known.metadata.name);
            return Err(Failure::new(ProblemCode::AlreadyExists, detail));
        }
    }
    let command = Command::SetBoot {
        machine,
        boot: new.boot,
        plain_pxe: new.plain_pxe,
        options: new.boot_options,
        if_match: None,
    };
    let (applied, state) = change(&*backend, author, command).await?;
    let machine = changed(&state, &applied)?;
    let location = format!("/v1/machines/{}", machine.metadata.name);
    Ok(([(LOCATION, location)], shown(StatusCode::CREATED, machine)).into_response())
}

/// Changes what the PXE server does with a machine.
#[utoipa::path(patch, path = "/v1/machines/{name}", tag = "machines",
    params(("name" = String, Path), ("If-Match" = String, Header)), request_body = MachinePatch,
    responses((status = 200, body = Resource<MachineSpec, MachineStatus>, headers(("ETag" = String)))))]
pub(super) async fn patch(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(patch): extract::Json<MachinePatch>,
) -> Reply<Response> {
    let state = backend.state()?;
    let machine = find(&state, &name)?;
    let if_match = precondition::required(&headers, machine.metadata.revision)?;
    let command = Command::SetBoot {
        machine: MachineRef::Name(name.clone()),
        boot: patch.spec.boot.unwrap_or(machine.spec.boot),
        plain_pxe: patch.spec.plain_pxe.unwrap_or(machine.spec.plain_pxe),
        options: patch.spec.boot_options.unwrap_or_else(|| machine.spec.boot_options.clone()),
        // The fields that the patch leaves out come from what was read here, so nothing may come in between.
        if_match: if_match.or(Some(machine.metadata.revision)),
    };
    let (_, state) = change(&*backend, author(&caller, &headers)?, command).await?;
    Ok(shown(StatusCode::OK, find(&state, &name)?))
}

/// Lets a machine become a node. The answer is the operation; it succeeds once the node has joined.
#[utoipa::path(post, path = "/v1/machines/{name}/approve", tag = "machines",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = ApproveRequest,
    responses((status = 202, body = Resource<OperationSpec, OperationStatus>, headers(("Location" = String)))))]
pub(super) async fn approve(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(request): extract::Json<ApproveRequest>,
) -> Reply<Response> {
    let if_match = precondition::optional(&headers, find(&*backend.state()?, &name)?.metadata.revision)?;
    let command = Command::Approve { machine: name, node: request.node, replaces: request.replaces, if_match };
    let (applied, state) = change(&*backend, author(&caller, &headers)?, command).await?;
    operations::accepted(&state, &applied)
}

/// Turns a machine away.
#[utoipa::path(post, path = "/v1/machines/{name}/reject", tag = "machines",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Resource<MachineSpec, MachineStatus>, headers(("ETag" = String)))))]
pub(super) async fn reject(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<Response> {
    let if_match = precondition::optional(&headers, find(&*backend.state()?, &name)?.metadata.revision)?;
    let command = Command::Reject { machine: name.clone(), if_match };
    let (_, state) = change(&*backend, author(&caller, &headers)?, command).await?;
    Ok(shown(StatusCode::OK, find(&state, &name)?))
}

/// Arms the next boot of a machine: the first key that comes with its ticket is approved by itself.
#[utoipa::path(post, path = "/v1/machines/arm", tag = "machines", params(("If-Match" = Option<String>, Header)),
    request_body = ArmRequest,
    responses((status = 200, body = Resource<MachineSpec, MachineStatus>, headers(("ETag" = String)))))]
pub(super) async fn arm(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(request): extract::Json<ArmRequest>,
) -> Reply<Response> {
    let ttl = request.ttl_s.unwrap_or(TICKET_DEFAULT_TTL_S);
    if !TICKET_TTL_S.contains(&ttl) {
        return Err(super::out_of_range("ttl_s", &TICKET_TTL_S));
    }
    let machine = reference(&request.machine)?;
    let state = backend.state()?;
    let known = state.machine(&machine);
    if let (MachineRef::Name(name), None) = (&machine, known) {
        return Err(missing("machine", name));
    }
    let if_match = precondition::optional(&headers, known.map_or(0, |m| m.metadata.revision))?;
    let expires = backend.now().plus_seconds(ttl.into());
    let arm = Arm { machine, expires, node: request.node, replaces: request.replaces, if_match };
    let applied = backend.arm(arm, author(&caller, &headers)?).await?;
    let state = backend.state()?;
    Ok(shown(StatusCode::OK, changed(&state, &applied)?))
}

/// Switches a machine on that is off, if its firmware lets it be woken by its network card (Wake-on-LAN).
#[utoipa::path(post, path = "/v1/machines/{name}/wake", tag = "machines", params(("name" = String, Path)),
    responses((status = 202)))]
pub(super) async fn wake(State(backend): Context, Subject(name): Subject) -> Reply<StatusCode> {
    let state = backend.state()?;
    let status = &find(&state, &name)?.status;
    // A machine that has not told its cards was seen by one at least.
    let cards = status.hardware.as_ref().map(meadow_model::enrolment::macs).unwrap_or_default();
    let all: std::collections::BTreeSet<MacAddress> = cards.into_iter().chain(status.mac).collect();
    if all.is_empty() {
        return Err(Failure::new(ProblemCode::Conflict, format!("{name} has no network card that anybody has seen")));
    }
    all.into_iter().try_for_each(|mac| backend.wake(mac))?;
    Ok(StatusCode::ACCEPTED)
}

/// A machine by its name or MAC address. No name has a colon and no MAC with hyphens is likely to be one, so a text
/// that reads as a MAC is one.
fn reference(text: &str) -> Result<MachineRef, Failure> {
    if let Ok(mac) = text.parse::<MacAddress>() {
        return Ok(MachineRef::Mac(mac));
    }
    Name::new(text).map(MachineRef::Name).map_err(|error| {
        let mut problem = Problem::new(ProblemCode::BadRequest, "machine must be a machine's name or a MAC address");
        problem.fields.push(FieldError { field: "/machine".to_owned(), message: error.to_string() });
        problem.into()
    })
}

pub(super) fn find<'s>(state: &'s meadow_state::State, name: &Name) -> Reply<&'s Machine> {
    resource::find(state.machines(), "machine", name)
}

/// The machine that a command was about.
fn changed<'s>(state: &'s meadow_state::State, applied: &Applied) -> Reply<&'s Machine> {
    match &applied.outcome {
        Outcome::Machine { name } => find(state, name),
        _ => Err(Failure::new(ProblemCode::Internal, "the state machine did not tell which machine it changed")),
    }
}
