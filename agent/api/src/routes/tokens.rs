//! Join tokens.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use meadow_model::resource::List;
use meadow_model::token::{NewToken, Token, TokenRequest, TokenSpec, TokenStatus};
use meadow_model::{Name, Resource};
use meadow_state::command::Command;

use super::{Context, Reply, author, out_of_range, resource};
use crate::extract::{self, Caller, Query, Subject};
use crate::list::{Field, ListQuery};
use crate::wire::{TOKEN_MAX_USES, TOKEN_TTL_S};

/// Seconds that a token is valid where nobody says.
const DEFAULT_TTL_S: u32 = 600;

/// Fields to filter and sort by.
const FIELDS: &[Field<Token>] = &[
    Field { name: "name", get: |t| (&t.metadata.name).into() },
    Field { name: "expires", get: |t| (&t.spec.expires).into() },
    Field { name: "revoked", get: |t| (&t.spec.revoked).into() },
    Field { name: "created", get: |t| (&t.metadata.created).into() },
];

/// All tokens, without their secrets. Fields to filter and sort by: name, expires, revoked, created.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(ListQuery), responses(
    (status = 200, body = List<Resource<TokenSpec, TokenStatus>>),
))]
pub(super) async fn list(State(backend): Context, Query(query): Query<ListQuery>) -> Reply<Json<List<Token>>> {
    resource::list(&*backend, &query, FIELDS, |state| state.tokens())
}

/// One token, without its secret.
#[utoipa::path(get, path = "/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path)), responses(
    (status = 200, body = Resource<TokenSpec, TokenStatus>, headers(("ETag" = String))),
))]
pub(super) async fn get(State(backend): Context, Subject(name): Subject) -> Reply<Response> {
    let state = backend.state()?;
    Ok(resource::shown(StatusCode::OK, find(&state, &name)?))
}

/// Makes a token. Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenRequest, responses(
    (status = 201, body = NewToken, headers(("Location" = String))),
))]
pub(super) async fn create(
    State(backend): Context,
    caller: Caller,
    headers: HeaderMap,
    extract::Json(request): extract::Json<TokenRequest>,
) -> Reply<Response> {
    let ttl = request.ttl_s.unwrap_or(DEFAULT_TTL_S);
    if !TOKEN_TTL_S.contains(&ttl) {
        return Err(out_of_range("ttl_s", &TOKEN_TTL_S));
    }
    let uses = request.uses.unwrap_or(1);
    if !(1..=TOKEN_MAX_USES).contains(&uses) {
        return Err(out_of_range("uses", &(1..=TOKEN_MAX_USES)));
    }
    let expires = backend.now().plus_seconds(ttl.into());
    let new = backend.create_token(expires, uses, author(&caller, &headers)?).await?;
    let location = format!("/v1/tokens/{}", new.token.metadata.name);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(new)).into_response())
}

/// Takes a token back.
#[utoipa::path(delete, path = "/v1/tokens/{name}", tag = "tokens",
    params(("name" = String, Path), ("If-Match" = String, Header)), responses((status = 204)))]
pub(super) async fn revoke(
    State(backend): Context,
    caller: Caller,
    Subject(name): Subject,
    headers: HeaderMap,
) -> Reply<StatusCode> {
    let revision = find(&*backend.state()?, &name)?.metadata.revision;
    let command = |if_match| Command::RevokeToken { id: name, if_match };
    resource::delete(&*backend, &caller, &headers, revision, command).await
}

fn find<'s>(state: &'s meadow_state::State, name: &Name) -> Reply<&'s Token> {
    resource::find(state.tokens(), "token", name)
}
