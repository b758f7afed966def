//! Operations: work that takes a while.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use meadow_model::operation::{Operation, OperationSpec, OperationStatus};
use meadow_model::resource::List;
use meadow_model::{Kind, Name, ProblemCode, Resource};
use meadow_state::{Applied, Outcome};

use super::{Context, Reply, json_name, missing, resource};
use crate::Identity;
use crate::extract::{Caller, Query, Subject};
use crate::list::{Field, ListQuery};
use crate::problem::Failure;

/// Fields to filter and sort by.
const FIELDS: &[Field<Operation>] = &[
    Field { name: "name", get: |o| (&o.metadata.name).into() },
    Field { name: "state", get: |o| json_name(&o.status.state).as_str().into() },
    Field { name: "action", get: |o| (&o.spec.action).into() },
    Field { name: "target", get: |o| (&o.spec.target).into() },
    Field { name: "created", get: |o| (&o.metadata.created).into() },
];

/// All operations. Fields to filter and sort by: name, state, action, target, created.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", params(ListQuery), responses(
    (status = 200, body = List<Resource<OperationSpec, OperationStatus>>),
))]
pub(super) async fn list(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<Operation>>> {
    resource::list(&*backend, &query, FIELDS, |state| state.operations())
}

/// One operation with its steps.
#[utoipa::path(get, path = "/v1/operations/{name}", tag = "operations", params(("name" = String, Path)), responses(
    (status = 200, body = Resource<OperationSpec, OperationStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context, caller: Caller, Subject(name): Subject) -> Reply<Response> {
    let state = backend.state()?;
    Ok(resource::shown(StatusCode::OK, visible(&state, &caller, &name)?))
}

/// An operation, where the caller may see it: a node sees those on itself and no others.
pub(super) fn visible<'s>(state: &'s meadow_state::State, caller: &Caller, name: &Name) -> Reply<&'s Operation> {
    let operation = resource::find(state.operations(), "operation", name)?;
    let spec = &operation.spec;
    match &caller.identity {
        Identity::Node { name: node, .. } if spec.kind != Kind::Node || spec.target != *node => {
            Err(missing("operation", name))
        }
        _ => Ok(operation),
    }
}

/// The answer to a request that started work: the operation to follow.
pub(super) fn accepted(state: &meadow_state::State, applied: &Applied) -> Reply<Response> {
    let Outcome::Enrolling { operation: Some(name), .. } = &applied.outcome else {
        return Err(Failure::new(ProblemCode::Conflict, "this was done so long ago that its operation is forgotten"));
    };
    let operation = resource::find(state.operations(), "operation", name)?;
    let location = format!("/v1/operations/{name}");
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(operation)).into_response())
}
