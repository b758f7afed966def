//! Events: what happened.

use axum::Json;
use axum::extract::State;
use meadow_model::event::Event;
use meadow_model::resource::List;
use serde::{Deserialize, Serialize};

use super::{Context, Reply, json_name};
use crate::extract::Query;
use crate::list::{Field, ListQuery, page};

/// Fields to filter and sort by.
const FIELDS: &[Field<Event>] = &[
    Field { name: "seq", get: |e| e.seq.into() },
    Field { name: "severity", get: |e| json_name(&e.severity).as_str().into() },
    Field { name: "code", get: |e| (&e.code).into() },
    Field { name: "kind", get: |e| json_name(&e.kind).as_str().into() },
    Field { name: "subject", get: |e| (&e.subject).into() },
    Field { name: "actor", get: |e| (&e.actor).into() },
];

/// The query of the events beside that of every list. (serde's `flatten` would read numbers as text.)
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only what came after the event with this `seq`.
    since: u64,
}

/// The newest thousand events, oldest first. Fields to filter and sort by: seq, severity, code, kind, subject, actor.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(ListQuery, EventsQuery), responses(
    (status = 200, body = List<Event>),
))]
pub(super) async fn list(
    State(backend): Context,
    Query(query): Query<ListQuery>,
    Query(EventsQuery { since }): Query<EventsQuery>,
) -> Reply<Json<List<Event>>> {
    let state = backend.state()?;
    let events = state.events().values().filter(|event| event.seq > since).cloned();
    Ok(Json(page(events, &query, FIELDS, state.revision())?))
}
