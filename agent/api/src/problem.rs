//! Problems as answers.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use meadow_model::{Problem, ProblemCode};

/// A [`Problem`] on its way out. The body is written by [`render`], which knows the request's id.
#[derive(Clone, Debug)]
pub(crate) struct Failure(pub(crate) Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl Failure {
    /// A problem with this code and detail.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a response that carries a [`Failure`], as RFC 9457 section 3 has it.
pub(crate) fn render(mut response: Response, request_id: &str) -> Response {
    let Some(Failure(mut problem)) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    problem.request_id = Some(request_id.to_owned());
    if problem.status >= 500 {
        tracing::warn!(request_id, code = %problem.code, detail = %problem.detail, "request failed");
    }
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, body.into())
}
