//! Nodes and their reports.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use meadow_model::fingerprint::PublicKey;
use meadow_model::node::{Node, NodeReport, NodeSpec, NodeStatus};
use meadow_model::resource::List;
use meadow_model::work::ReportReply;
use meadow_model::{Name, ProblemCode, Resource};
use meadow_state::command::Command;

use super::{Context, Reply, resource};
use crate::backend::Backend;
use crate::extract::{self, Caller, Query, Subject};
use crate::list::{Field, ListQuery};
use crate::problem::Failure;

/// Fields to filter and sort by.
const FIELDS: &[Field<Node>] = &[
    Field { name: "name", get: |n| (&n.metadata.name).into() },
    Field { name: "id", get: |n| n.spec.id.into() },
    Field { name: "state", get: |n| (&n.status.state).into() },
    Field { name: "voter", get: |n| (&n.spec.voter).into() },
    Field { name: "ephemeral", get: |n| (&n.spec.ephemeral).into() },
    Field { name: "created", get: |n| (&n.metadata.created).into() },
];

/// All nodes, judged now. Fields to filter and sort by: name, id, state, voter, ephemeral, created.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(ListQuery), responses(
    (status = 200, body = List<Resource<NodeSpec, NodeStatus>>),
))]
pub(super) async fn list(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<Node>>> {
    resource::list_as(&*backend, &query, FIELDS, |state| state.nodes(), |node| judged(&*backend, node))
}

/// One node, judged now.
#[utoipa::path(get, path = "/v1/nodes/{name}", tag = "nodes", params(("name" = String, Path)), responses(
    (status = 200, body = Resource<NodeSpec, NodeStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context, Subject(name): Subject) -> Reply<Response> {
    let state = backend.state()?;
    Ok(resource::shown(StatusCode::OK, &judged(&*backend, find(&state, &name)?)))
}

/// Takes a node out of the cluster: its key is refused and it leaves the mesh.
#[utoipa::path(delete, path = "/v1/nodes/{name}", tag = "nodes",
    params(("name" = String, Path), ("If-Match" = String, Header)), responses((status = 204)))]
pub(super) async fn remove(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<StatusCode> {
    let revision = find(&*backend.state()?, &name)?.metadata.revision;
    let command = |if_match| Command::RemoveNode { node: name, if_match };
    resource::delete(&*backend, &caller, &headers, revision, command).await
}

/// A node tells how it is, over the mesh, and hears who is in the mesh.
#[utoipa::path(put, path = "/v1/nodes/{name}/report", tag = "nodes", params(("name" = String, Path)),
    request_body = NodeReport, responses((status = 200, body = ReportReply)))]
pub(super) async fn report(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    extract::Json(report): extract::Json<NodeReport>,
) -> Reply<Json<ReportReply>> {
    let state = backend.state()?;
    let node = find(&state, &name)?;
    if caller.identity.key().map(PublicKey::fingerprint) != Some(node.spec.fingerprint) {
        return Err(Failure::new(ProblemCode::NodeRevoked, format!("{name} is another computer now")));
    }
    // A report is evidence that the mesh works, so one that came another way is none.
    let from = caller.address.filter(|from| from.ip() == node.spec.address).ok_or_else(|| {
        Failure::new(
            ProblemCode::Forbidden,
            format!("a report of {name} must come over the mesh, from {}", node.spec.address),
        )
    })?;
    Ok(Json(backend.record_report(&name, report, from).await?))
}

pub(super) fn find<'s>(state: &'s meadow_state::State, name: &Name) -> Reply<&'s Node> {
    resource::find(state.nodes(), "node", name)
}

pub(super) fn judged(backend: &dyn Backend, node: &Node) -> Node {
    Node { status: backend.node_status(node), ..node.clone() }
}
