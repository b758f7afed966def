//! Enrolment: how a machine becomes a node.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use meadow_model::ProblemCode;
use meadow_model::enrolment::{Claim, ClaimReply, Hello, HelloReply};
use meadow_model::fingerprint::PublicKey;

use super::{Context, Reply};
use crate::extract::{self, Caller};
use crate::problem::Failure;

/// The first message: the machine commits to its nonce and hears the cluster's.
#[utoipa::path(post, path = "/v1/enrolment/hello", tag = "enrolment", request_body = Hello, responses(
    (status = 200, body = HelloReply),
))]
pub(super) async fn hello(
    State(backend): Context,
    caller: Caller,
    extract::Json(hello): extract::Json<Hello>,
) -> Reply<Json<HelloReply>> {
    let (key, from) = claimant(&caller)?;
    Ok(Json(backend.hello(key.fingerprint(), hello, from).await?))
}

/// The second message: the machine shows what it is and what it brought. May be sent again.
#[utoipa::path(post, path = "/v1/enrolment/claim", tag = "enrolment", request_body = Claim, responses(
    (status = 200, body = ClaimReply),
))]
pub(super) async fn claim(
    State(backend): Context,
    caller: Caller,
    extract::Json(claim): extract::Json<Claim>,
) -> Reply<Json<ClaimReply>> {
    let (key, from) = claimant(&caller)?;
    Ok(Json(backend.claim(key, claim, from).await?))
}

/// Where the caller's claim stands.
#[utoipa::path(get, path = "/v1/enrolment/claim", tag = "enrolment", responses((status = 200, body = ClaimReply)))]
pub(super) async fn claim_state(State(backend): Context, caller: Caller) -> Reply<Json<ClaimReply>> {
    let (key, _) = claimant(&caller)?;
    Ok(Json(backend.claim_state(key).await?))
}

/// The key of the caller and where it asks from.
fn claimant(caller: &Caller) -> Result<(PublicKey, SocketAddr), Failure> {
    let both = caller.identity.key().cloned().zip(caller.address);
    both.ok_or_else(|| Failure::new(ProblemCode::BadRequest, "enrolment goes over TLS with the machine's own key"))
}
