//! What happens to every request before and after its route: request id, authorisation, problem bodies.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

use crate::Identity;
use crate::access;
use crate::problem::{Failure, render};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id (the caller's own, where it sent a sane one), echoes it and writes problems with it.
pub(crate) async fn identify(request: Request, next: Next) -> Response {
    let sent = request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(|id| is_sane(id));
    let id = sent.map_or_else(new_id, ToOwned::to_owned);
    let mut response = render(next.run(request).await, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(&REQUEST_ID, value);
    }
    response
}

/// Ids end up in logs: short, and nothing in them that could look like another line or field.
fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn new_id() -> String {
    let mut random = [0; 8];
    // Without entropy all ids would be zero, which is still an answer; nothing depends on them being unique.
    let _ = getrandom::fill(&mut random);
    data_encoding::HEXLOWER.encode(&random)
}

/// Refuses what the table in [`access`] does not allow.
pub(crate) async fn authorise(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // No entry: an unknown route or method. The router's fallback says so, and there is nothing behind it to protect.
    let Some(access) = path.as_deref().and_then(|path| access::of_route(request.method(), path)) else {
        return next.run(request).await;
    };
    let identity = request.extensions().get::<Identity>().unwrap_or(&Identity::Anonymous);
    let subject = path.as_deref().and_then(|template| subject(template, request.uri().path()));
    match access::check(access, identity, subject) {
        Ok(()) => next.run(request).await,
        Err(problem) => Failure::from(problem).into_response(),
    }
}

/// The part of `path` that stands where `template` has `{name}`.
fn subject<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    template.split('/').zip(path.split('/')).find(|(slot, _)| *slot == "{name}").map(|(_, part)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_stands_where_the_template_has_it() {
        assert_eq!(subject("/v1/nodes/{name}/report", "/v1/nodes/node-1/report"), Some("node-1"));
        assert_eq!(subject("/v1/nodes", "/v1/nodes"), None);
    }

    #[test]
    fn ids_that_could_forge_a_log_line_are_replaced() {
        for bad in ["", "a b", "a\nb", "a\"b", "ä", &"x".repeat(65)] {
            assert!(!is_sane(bad), "{bad:?}");
        }
        assert!(is_sane(&new_id()) && is_sane("req-1_2.3"));
    }
}
