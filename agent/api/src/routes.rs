//! All routes, put together.

mod cluster;
mod disks;
mod enrolment;
mod events;
mod health;
mod images;
mod machines;
mod network;
mod nodes;
mod operations;
mod own_computer;
mod pxe;
mod rescue;
mod resource;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use http::{Method, Uri};
use meadow_model::problem::FieldError;
use meadow_model::{Problem, ProblemCode};
use meadow_state::command::{Command, Proposal};
use meadow_state::{Applied, State};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::backend::{Author, Backend};
use crate::extract::Caller;
use crate::problem::Failure;
use crate::{MAX_ANSWER, MAX_BODY, document, layers, precondition};

/// What every route has at hand.
type Context = axum::extract::State<Arc<dyn Backend>>;
/// What every route answers with.
type Reply<T> = Result<T, Failure>;

/// The API. Requests are to carry an [`Identity`](crate::Identity) and, from TCP, a
/// [`PeerAddress`](crate::PeerAddress) as extensions; without an identity the caller is anonymous.
pub fn router(backend: Arc<dyn Backend>) -> Router {
    let (routes, _) = documented().split_for_parts();
    routes
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_route)
        .layer(from_fn(layers::authorise))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(layers::identify))
        .with_state(backend)
}

/// The routes with what the code says of them.
pub(crate) fn documented() -> OpenApiRouter<Arc<dyn Backend>> {
    OpenApiRouter::with_openapi(document::skeleton())
        .routes(routes!(health::health))
        .routes(routes!(health::openapi))
        .routes(routes!(health::self_view))
        .routes(routes!(network::get))
        .routes(routes!(network::try_it))
        .routes(routes!(network::confirm))
        .routes(routes!(network::back))
        .routes(routes!(cluster::get, cluster::patch))
        .routes(routes!(machines::list, machines::create))
        .routes(routes!(machines::get, machines::patch))
        .routes(routes!(machines::approve))
        .routes(routes!(machines::reject))
        .routes(routes!(machines::arm))
        .routes(routes!(machines::wake))
        .routes(routes!(disks::plan_machine))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::get, nodes::remove))
        .routes(routes!(nodes::report))
        .routes(routes!(disks::plan))
        .routes(routes!(disks::install))
        .routes(routes!(disks::keys))
        .routes(routes!(disks::reboot))
        .routes(routes!(network::try_on_node))
        .routes(routes!(network::confirm_on_node))
        .routes(routes!(network::back_on_node))
        .routes(routes!(disks::answer, disks::put_answer).layer(DefaultBodyLimit::max(MAX_ANSWER)))
        .routes(routes!(rescue::plan_reset))
        .routes(routes!(rescue::reset))
        .routes(routes!(rescue::leave))
        .routes(routes!(own_computer::own_disks))
        .routes(routes!(own_computer::plan_own_reset))
        .routes(routes!(own_computer::reset_self))
        .routes(routes!(rescue::update))
        .routes(routes!(rescue::reinstall, rescue::call_off))
        .routes(routes!(rescue::support))
        .routes(routes!(own_computer::update_self))
        .routes(routes!(own_computer::support_self))
        .routes(routes!(images::list, images::adopt))
        .routes(routes!(images::get, images::remove))
        .routes(routes!(images::offer, images::piece))
        .routes(routes!(images::rollout))
        .routes(routes!(images::call_off))
        .routes(routes!(images::rollback))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::get, tokens::revoke))
        .routes(routes!(operations::list))
        .routes(routes!(operations::get))
        .routes(routes!(events::list))
        .routes(routes!(pxe::status))
        .routes(routes!(pxe::events))
        .routes(routes!(pxe::boots))
        .routes(routes!(pxe::leases))
        .routes(routes!(pxe::release))
        .routes(routes!(pxe::doctor))
        .routes(routes!(pxe::captured, pxe::capture))
        .routes(routes!(pxe::open))
        .routes(routes!(pxe::close))
        .routes(routes!(enrolment::hello))
        .routes(routes!(enrolment::claim, enrolment::claim_state))
}

async fn unknown_route(uri: Uri) -> Failure {
    Failure::new(ProblemCode::NotFound, format!("there is no route {}", shown(uri.path())))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let method: String = method.as_str().chars().take(20).collect();
    Failure::new(ProblemCode::MethodNotAllowed, format!("{} does not take {method}", shown(uri.path())))
}

/// A path as it may stand in an answer: not longer than a line.
fn shown(path: &str) -> String {
    path.chars().take(120).collect()
}

/// Who proposes what this request asks for.
fn author(caller: &Caller, headers: &http::HeaderMap) -> Reply<Author> {
    let actor = caller.identity.actor();
    let idempotency_key = precondition::idempotency_key(headers)?;
    Ok(Author { actor, idempotency_key })
}

/// Proposes `command` and returns its outcome with the state after it.
async fn change(backend: &dyn Backend, author: Author, command: Command) -> Reply<(Applied, Arc<State>)> {
    let Author { actor, idempotency_key } = author;
    let applied = backend.propose(Proposal { at: backend.now(), actor, idempotency_key, command }).await?;
    let applied = applied.into_result()?;
    Ok((applied, backend.state()?))
}

/// The problem of a resource that is not there.
fn missing(kind: &str, name: &meadow_model::Name) -> Failure {
    Failure::new(ProblemCode::NotFound, format!("there is no {kind} named {name}"))
}

/// The problem of a number that is too small or too large.
fn out_of_range(field: &str, range: &std::ops::RangeInclusive<u32>) -> Failure {
    let message = format!("it must be {} to {}", range.start(), range.end());
    let mut problem = Problem::new(ProblemCode::BadRequest, format!("{field}: {message}"));
    problem.fields.push(FieldError { field: format!("/{field}"), message });
    problem.into()
}

/// A value of a plain enumeration as JSON writes it, without the quotes.
fn json_name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
