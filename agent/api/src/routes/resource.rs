//! What the routes of all kinds of resources share.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use meadow_model::resource::List;
use meadow_model::{Name, Resource};
use meadow_state::Table;
use meadow_state::command::Command;
use serde::Serialize;

use super::{Reply, author, change, missing};
use crate::backend::Backend;
use crate::extract::Caller;
use crate::list::{Field, ListQuery, page};
use crate::precondition::{self, etag};

/// The page that `query` asks for, of resources as they are in the state.
pub(super) fn list<T: Clone>(
    backend: &dyn Backend,
    query: &ListQuery,
    fields: &[Field<T>],
    table: impl FnOnce(&meadow_state::State) -> &Table<Name, T>,
) -> Reply<Json<List<T>>> {
    list_as(backend, query, fields, table, Clone::clone)
}

/// As [`list`], where what is shown is more than what the state holds.
pub(super) fn list_as<K: Ord, T, S>(
    backend: &dyn Backend,
    query: &ListQuery,
    fields: &[Field<S>],
    table: impl FnOnce(&meadow_state::State) -> &Table<K, T>,
    show: impl FnMut(&T) -> S,
) -> Reply<Json<List<S>>> {
    let state = backend.state()?;
    Ok(Json(page(table(&state).values().map(show), query, fields, state.revision())?))
}

/// The resource named `name` of a kind that people call `kind`.
pub(super) fn find<'s, T>(table: &'s Table<Name, T>, kind: &str, name: &Name) -> Reply<&'s T> {
    table.get(name).ok_or_else(|| missing(kind, name))
}

/// A resource with its `ETag`.
pub(super) fn shown<S: Serialize, T: Serialize>(status: StatusCode, resource: &Resource<S, T>) -> Response {
    (status, [(ETAG, etag(resource.metadata.revision))], Json(resource)).into_response()
}

/// Takes a resource away: `revision` is the one that it has, `command` says how.
pub(super) async fn delete(
    backend: &dyn Backend,
    caller: &Caller,
    headers: &HeaderMap,
    revision: u64,
    command: impl FnOnce(Option<u64>) -> Command,
) -> Reply<StatusCode> {
    let if_match = precondition::required(headers, revision)?;
    change(backend, author(caller, headers)?, command(if_match)).await?;
    Ok(StatusCode::NO_CONTENT)
}
