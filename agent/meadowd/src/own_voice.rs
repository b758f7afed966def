//! Requests of this computer's console about this node, passed on to a voter with the node's own certificate (decision 9).

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use meadow_client::{Client, ClientError};
use meadow_model::{Name, Problem, ProblemCode};

/// A plan and two sealed secrets have some KiB.
const LARGEST: usize = 64 << 10;

/// A node and its way to the voters.
type Speaker = (Name, Arc<Client>);

/// The node that this computer is, while it is one.
#[derive(Clone, Default)]
pub(crate) struct OwnVoice(Arc<Mutex<Option<Speaker>>>);

impl OwnVoice {
    /// This computer is that node now; `None`: none.
    pub(crate) fn set(&self, node: Option<Speaker>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }

    fn node(&self) -> Option<Speaker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes on what a node may ask of the cluster for itself; everything else is answered here.
pub(crate) async fn pass_on(State(voice): State<OwnVoice>, request: Request, next: Next) -> Response {
    let Some((node, client)) = voice.node() else { return next.run(request).await };
    if !is_of(request.method(), request.uri().path(), node.as_str()) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return refused(&Problem::new(ProblemCode::BadRequest, "the request is too long"));
    };
    match client.pass_on(Request::from_parts(head, body)).await {
        Ok((status, body)) => {
            let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
            (status, [(CONTENT_TYPE, kind)], Body::from(body)).into_response()
        }
        Err(ClientError::Problem(problem)) => refused(&problem),
        Err(error) => refused(&Problem::new(ProblemCode::Unavailable, error.to_string())),
    }
}

fn refused(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, [(CONTENT_TYPE, "application/problem+json")], Json(problem)).into_response()
}

/// Whether `path` is one of the few that a node asks for itself.
fn is_of(method: &Method, path: &str, node: &str) -> bool {
    let own = path.strip_prefix("/v1/nodes/").and_then(|rest| rest.strip_prefix(node));
    let operation = path.strip_prefix("/v1/operations/");
    match (method, own, operation) {
        (&Method::GET, Some(""), _) => true,
        (&Method::POST, Some("/install" | "/install/plan" | "/reboot"), _) => true,
        (&Method::GET, _, Some(rest)) => {
            let name = rest.strip_suffix("/answer").unwrap_or(rest);
            Name::new(name).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_speaks_for_its_own_node_only() {
        let may = |method: Method, path: &str| is_of(&method, path, "node-1");
        for path in ["/v1/nodes/node-1", "/v1/operations/op-1", "/v1/operations/op-1/answer"] {
            assert!(may(Method::GET, path), "{path}");
        }
        for path in ["/v1/nodes/node-1/install", "/v1/nodes/node-1/install/plan", "/v1/nodes/node-1/reboot"] {
            assert!(may(Method::POST, path), "{path}");
        }
        for path in
            ["/v1/nodes", "/v1/nodes/node-2", "/v1/nodes/node-12", "/v1/operations", "/v1/operations/a/b", "/v1/tokens"]
        {
            assert!(!may(Method::GET, path), "{path}");
        }
        for path in
            ["/v1/nodes/node-2/install", "/v1/nodes/node-1/keys", "/v1/nodes/node-1", "/v1/machines/m-1/approve"]
        {
            assert!(!may(Method::POST, path), "{path}");
        }
        assert!(!may(Method::DELETE, "/v1/nodes/node-1"));
    }
}
