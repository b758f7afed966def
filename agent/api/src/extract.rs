//! What routes take out of requests; each refusal is a [`Failure`], never axum's plain text.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use meadow_model::problem::FieldError;
use meadow_model::{Name, Problem, ProblemCode};
use serde::de::DeserializeOwned;

use crate::problem::Failure;
use crate::{Identity, PeerAddress};

/// How long a body may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") && !kind.eq_ignore_ascii_case("application/merge-patch+json")
        {
            return Err(Failure::new(
                ProblemCode::BadRequest,
                "the body must be JSON, with Content-Type: application/json",
            ));
        }
        let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::Bytes::from_request(request, state))
            .await
            .map_err(|_| Failure::new(ProblemCode::BadRequest, "the body did not come in within 30 s"))?
            .map_err(|rejection| bad_body(&rejection))?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Failure::new(ProblemCode::BadRequest, error.to_string()))
    }
}

pub(crate) fn bad_body(rejection: &BytesRejection) -> Failure {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Failure::new(ProblemCode::TooLarge, "the body is larger than this route takes")
        }
        other => Failure::new(ProblemCode::BadRequest, other.body_text()),
    }
}

/// The query of the URL.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| Failure::new(ProblemCode::BadRequest, error.body_text()))
    }
}

/// The `{name}` in the path.
pub(crate) struct Subject(pub(crate) Name);

impl<S: Send + Sync> FromRequestParts<S> for Subject {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let axum::extract::Path(text) = axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Failure::new(ProblemCode::BadRequest, error.body_text()))?;
        Name::new(text).map(Self).map_err(|error| {
            let mut problem = Problem::new(ProblemCode::BadRequest, error.to_string());
            problem.fields.push(FieldError { field: "name".to_owned(), message: error.to_string() });
            problem.into()
        })
    }
}

/// Who asks and from where.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) address: Option<SocketAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let identity = parts.extensions.get::<Identity>().cloned().unwrap_or(Identity::Anonymous);
        let address = parts.extensions.get::<PeerAddress>().map(|peer| peer.0);
        Ok(Self { identity, address })
    }
}
