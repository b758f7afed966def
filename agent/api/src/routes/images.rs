//! Images: brought piece by piece, adopted, rolled out over the nodes, rolled back.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use meadow_model::image::{AdoptRequest, Image, ImageSpec, ImageStatus, IncomingImage, OfferedImage, RolloutRequest};
use meadow_model::operation::{Operation, OperationSpec, OperationStatus};
use meadow_model::resource::List;
use meadow_model::{Name, ProblemCode, Resource};
use meadow_state::Outcome;
use meadow_state::command::Command;
use serde::{Deserialize, Serialize};

use super::{Context, Reply, author, change, resource};
use crate::backend::Backend;
use crate::extract::{self, Caller, Query, Subject};
use crate::list::{Field, ListQuery};
use crate::problem::Failure;

/// How long a piece may take to come in, over a slow line.
const PIECE: Duration = Duration::from_secs(120);

/// Fields to filter and sort by.
const FIELDS: &[Field<Image>] = &[
    Field { name: "name", get: |i| (&i.metadata.name).into() },
    Field { name: "version", get: |i| i.spec.version.as_str().into() },
    Field { name: "date", get: |i| (&i.spec.date).into() },
    Field { name: "created", get: |i| (&i.metadata.created).into() },
];

/// The images that the cluster adopted, with the nodes that run each. Fields to filter and sort by: name, version, date,
/// created.
#[utoipa::path(get, path = "/v1/images", tag = "images", params(ListQuery), responses(
    (status = 200, body = List<Resource<ImageSpec, ImageStatus>>),
))]
pub(super) async fn list(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<Image>>> {
    let state = backend.state()?;
    resource::list_as(&*backend, &query, FIELDS, |state| state.images(), |image| with_nodes(&state, image))
}

/// One image.
#[utoipa::path(get, path = "/v1/images/{name}", tag = "images", params(("name" = String, Path)), responses(
    (status = 200, body = Resource<ImageSpec, ImageStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context, Subject(name): Subject) -> Reply<Response> {
    let state = backend.state()?;
    Ok(resource::shown(StatusCode::OK, &with_nodes(&state, find(&state, &name)?)))
}

/// Forgets an image and removes its files. Nodes that run it go on.
#[utoipa::path(delete, path = "/v1/images/{name}", tag = "images",
    params(("name" = String, Path), ("If-Match" = String, Header)), responses((status = 204)))]
pub(super) async fn remove(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<StatusCode> {
    let image = find(&*backend.state()?, &name)?.clone();
    let command = |if_match| Command::RemoveImage { name, if_match };
    let done = resource::delete(&*backend, &caller, &headers, image.metadata.revision, command).await?;
    backend.drop_image(image.spec.digest).await?;
    Ok(done)
}

/// Begins to bring an image, or goes on with it: what is still missing. It must be signed with the build key of the image
/// that the cluster boots machines with.
#[utoipa::path(post, path = "/v1/images/incoming", tag = "images", request_body = OfferedImage, responses(
    (status = 200, body = IncomingImage),
))]
pub(super) async fn offer(
    State(backend): Context,
    extract::Json(offered): extract::Json<OfferedImage>,
) -> Reply<Json<IncomingImage>> {
    Ok(Json(backend.offer_image(offered).await?))
}

/// Which piece of which file.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Piece {
    /// Digest of the image.
    digest: String,
    /// Name of the file in its manifest.
    name: String,
    /// The first byte of the piece.
    offset: u64,
}

/// How much of a file is there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Have {
    /// Bytes from its beginning.
    have: u64,
}

/// Brings a piece of a file, at most 1 MiB. A piece at 0 begins the file anew; every other one continues it.
#[utoipa::path(put, path = "/v1/images/incoming", tag = "images", params(Piece),
    request_body(content = String, content_type = "application/octet-stream"), responses((status = 200, body = Have)))]
pub(super) async fn piece(State(backend): Context, Query(piece): Query<Piece>, request: Request) -> Reply<Json<Have>> {
    let late = |_| Failure::new(ProblemCode::BadRequest, "the piece did not come in within 120 s");
    let body = tokio::time::timeout(PIECE, Bytes::from_request(request, &())).await.map_err(late)?;
    let body = body.map_err(|error| extract::bad_body(&error))?;
    let have = backend.put_image_piece(piece.digest, piece.name, piece.offset, body).await?;
    Ok(Json(Have { have }))
}

/// Adopts an image that was brought in full: from now on it can be rolled out.
#[utoipa::path(post, path = "/v1/images", tag = "images", request_body = AdoptRequest, responses(
    (status = 201, body = Resource<ImageSpec, ImageStatus>),
))]
pub(super) async fn adopt(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(request): extract::Json<AdoptRequest>,
) -> Reply<Response> {
    let applied = backend.adopt_image(request.digest, author(&caller, &headers)?).await?;
    let Outcome::Image { name } = applied.outcome else {
        return Err(Failure::new(ProblemCode::Internal, "an image was adopted as something else"));
    };
    let state = backend.state()?;
    Ok(resource::shown(StatusCode::CREATED, &with_nodes(&state, find(&state, &name)?)))
}

/// Rolls an image out over all nodes that boot from their own disk, one after the other. A rollout that runs is over.
#[utoipa::path(post, path = "/v1/images/{name}/rollout", tag = "images", params(("name" = String, Path)),
    request_body = RolloutRequest, responses((status = 202, body = Resource<OperationSpec, OperationStatus>)))]
pub(super) async fn rollout(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
    extract::Json(request): extract::Json<RolloutRequest>,
) -> Reply<(StatusCode, Json<Operation>)> {
    let digest = find(&*backend.state()?, &name)?.spec.digest.clone();
    start(&*backend, &caller, &headers, digest, request).await
}

/// Brings all nodes back to the image that they ran before, which lies in their other slot.
#[utoipa::path(post, path = "/v1/images/rollback", tag = "images", request_body = RolloutRequest, responses(
    (status = 202, body = Resource<OperationSpec, OperationStatus>),
))]
pub(super) async fn rollback(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(request): extract::Json<RolloutRequest>,
) -> Reply<(StatusCode, Json<Operation>)> {
    let digest = before(&*backend.state()?)?;
    start(&*backend, &caller, &headers, digest, RolloutRequest { allow_older: true, ..request }).await
}

/// Ends the rollout that runs, where it is. The operation names the nodes that were left out; one that tries the image just
/// then goes back by itself.
#[utoipa::path(post, path = "/v1/images/call-off", tag = "images", responses(
    (status = 200, body = Resource<OperationSpec, OperationStatus>),
))]
pub(super) async fn call_off(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
) -> Reply<(StatusCode, Json<Operation>)> {
    let (_, Json(operation)) = rollout_by(&*backend, &caller, &headers, Command::CallOffRollout).await?;
    Ok((StatusCode::OK, Json(operation)))
}

async fn start(
    backend: &dyn Backend,
    caller: &Caller,
    headers: &HeaderMap,
    digest: String,
    request: RolloutRequest,
) -> Reply<(StatusCode, Json<Operation>)> {
    let RolloutRequest { allow_older, without_majority } = request;
    let command = Command::StartRollout { digest, allow_older, without_majority };
    rollout_by(backend, caller, headers, command).await
}

/// Carries out a command that gives the operation of a rollout.
async fn rollout_by(
    backend: &dyn Backend,
    caller: &Caller,
    headers: &HeaderMap,
    command: Command,
) -> Reply<(StatusCode, Json<Operation>)> {
    let (applied, state) = change(backend, author(caller, headers)?, command).await?;
    let Outcome::Operation { name } = applied.outcome else {
        return Err(Failure::new(ProblemCode::Internal, "a rollout began as something else"));
    };
    let gone = || Failure::new(ProblemCode::NotFound, format!("{name} is forgotten already"));
    let operation = state.operations().get(&name).cloned().ok_or_else(gone)?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}

/// The image before the one that was rolled out last: that of the other slot where a node runs the new one, and the
/// running one where it does not yet.
fn before(state: &meadow_state::State) -> Reply<String> {
    let conflict = |detail: String| Err(Failure::new(ProblemCode::Conflict, detail));
    let Some(last) = state.last_rollout() else {
        return conflict("nothing was rolled out yet, so there is nothing to go back from".to_owned());
    };
    let disks = state.nodes().values().filter_map(|node| node.status.installed.as_ref());
    let found: BTreeSet<&str> = disks
        .filter_map(|disk| {
            let running = disk.running?;
            let runs = disk.image_in(running)?;
            if runs == last.digest { disk.image_in(running.other()) } else { Some(runs) }
        })
        .collect();
    match found.iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok((**one).to_owned()),
        [] => conflict("no node has another image to go back to; roll one out with `meadow image rollout`".to_owned()),
        _ => conflict(
            "the nodes had different images before; name the one to go back to: `meadow image rollout NAME --allow-older`"
                .to_owned(),
        ),
    }
}

fn find<'s>(state: &'s meadow_state::State, name: &Name) -> Reply<&'s Image> {
    resource::find(state.images(), "image", name)
}

fn with_nodes(state: &meadow_state::State, image: &Image) -> Image {
    let mut image = image.clone();
    let runs = |node: &&meadow_model::node::Node| {
        let disk = node.status.installed.as_ref();
        disk.and_then(|disk| disk.image_in(disk.running?)) == Some(&image.spec.digest)
    };
    image.status.nodes = state.nodes().values().filter(runs).map(|node| node.metadata.name.clone()).collect();
    image
}
