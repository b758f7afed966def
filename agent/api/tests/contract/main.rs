//! The API's contract, over the real state machine.

#![allow(clippy::disallowed_methods, reason = "a test reads and writes the document that it holds")]

mod disks;
mod images;
mod memory;
mod network;
mod pxe;
mod ssh_keys;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use meadow_api::{Identity, PeerAddress, Role, router};
use meadow_model::fingerprint::PublicKey;
use memory::Memory;
use serde_json::{Value, json};
use tower::ServiceExt;

/// An answer as a caller sees it.
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// A caller of the API.
struct Caller {
    router: Router,
    identity: Option<Identity>,
    from: Option<&'static str>,
}

impl Caller {
    fn user(memory: &Arc<Memory>, role: Role) -> Self {
        let identity = Some(Identity::User { name: "ann".to_owned(), role });
        Self { router: router(memory.clone()), identity, from: None }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Seen {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).expect("a request");
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        if let Some(from) = self.from {
            request.extensions_mut().insert(PeerAddress(from.parse().expect("an address")));
        }
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Seen { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Seen {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    async fn json(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Seen {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send(method, path, &all, Body::from(body.to_string())).await
    }
}

/// Method, path, headers, body, and the code of the problem.
type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn every_refusal_is_problem_json_with_a_next_step_and_the_request_id() {
    let (memory, machine) = Memory::with_pending_machine();
    let admin = Caller::user(&memory, Role::Admin);
    let path = format!("/v1/machines/{machine}");
    let json = ("content-type", "application/json");
    let huge = "x".repeat((1 << 20) + 1);
    let cases: [Case<'_>; 13] = [
        (Method::GET, "/v1/nothing", &[], "", "not-found"),
        (Method::GET, "/", &[], "", "not-found"),
        (Method::GET, "/v1/machines/none", &[], "", "not-found"),
        (Method::GET, "/v1/machines/NOT_A_NAME", &[], "", "bad-request"),
        (Method::GET, "/v1/machines/%ff", &[], "", "bad-request"),
        (Method::DELETE, "/v1/cluster", &[], "", "method-not-allowed"),
        (Method::GET, "/v1/machines?limit=abc", &[], "", "bad-request"),
        (Method::GET, "/v1/machines?limit=0", &[], "", "bad-request"),
        (Method::POST, "/v1/tokens", &[json], "{", "bad-request"),
        (Method::POST, "/v1/tokens", &[], "{}", "bad-request"),
        (Method::POST, "/v1/tokens", &[json], &huge, "too-large"),
        (Method::PATCH, &path, &[json], r#"{"spec":{"boot":"image"}}"#, "precondition-required"),
        (Method::PATCH, &path, &[json, ("if-match", "\"1\"")], r#"{"spec":{"boot":"sideways"}}"#, "bad-request"),
    ];
    for (method, path, headers, body, code) in cases {
        let seen = admin.send(method.clone(), path, headers, Body::from(body.to_owned())).await;
        assert_eq!(seen.code(), code, "{method} {path}: {}", seen.body);
        assert_eq!(seen.header("content-type"), "application/problem+json", "{method} {path}");
        assert_eq!(seen.body["status"], seen.status.as_u16(), "{method} {path}");
        assert_eq!(seen.body["request_id"], seen.header("x-request-id"), "{method} {path}");
        assert!(seen.body["hint"].as_str().is_some_and(|hint| hint.ends_with('.')), "{method} {path}");
    }
}

#[tokio::test]
async fn request_ids_are_echoed_unless_they_could_forge_a_log_line() {
    let admin = Caller::user(&Memory::with_cluster(), Role::Admin);
    let sane = admin.send(Method::GET, "/v1/health", &[("x-request-id", "run-7.1")], Body::empty()).await;
    assert_eq!(sane.header("x-request-id"), "run-7.1");
    let odd = admin.send(Method::GET, "/v1/health", &[("x-request-id", "a\" level=error")], Body::empty()).await;
    assert_eq!(odd.header("x-request-id").len(), 16);
}

#[tokio::test]
async fn callers_without_the_right_are_refused_before_anything_is_read() {
    let (memory, machine) = Memory::with_pending_machine();
    let approve = format!("/v1/machines/{machine}/approve");
    let callers = [
        (None, 401),
        (Some(Identity::Anonymous), 401),
        (Some(Identity::Key(PublicKey::from_der([1]))), 401),
        (Some(Identity::Node { name: memory::name("seed"), key: memory::seed_key() }), 403),
        (Some(Identity::User { name: "eve".to_owned(), role: Role::Viewer }), 403),
    ];
    for (identity, status) in callers {
        let caller = Caller { router: router(memory.clone()), identity, from: None };
        // The body is broken too: that must not be told to somebody who may not ask.
        let seen = caller.send(Method::POST, &approve, &[], Body::from("{")).await;
        assert_eq!(seen.status.as_u16(), status, "{:?}", caller.identity);
    }
    let anonymous = Caller { router: router(memory), identity: None, from: None };
    assert_eq!(anonymous.get("/v1/health").await.status, StatusCode::OK);
    assert_eq!(anonymous.get("/v1/openapi.json").await.body["openapi"], "3.1.0");
}

#[tokio::test]
async fn an_approval_is_an_operation_and_its_repetition_the_same_one() {
    let (memory, machine) = Memory::with_pending_machine();
    let operator = Caller::user(&memory, Role::Operator);
    let path = format!("/v1/machines/{machine}");
    let etag = operator.get(&path).await.header("etag").to_owned();
    let headers = [("if-match", etag.as_str()), ("idempotency-key", "k-1")];
    let first = operator.json(Method::POST, &format!("{path}/approve"), &headers, json!({"node": "node-7"})).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
    let again = operator.json(Method::POST, &format!("{path}/approve"), &headers, json!({"node": "node-7"})).await;
    assert_eq!((again.status, &again.body), (StatusCode::ACCEPTED, &first.body));
    let operation = operator.get(first.header("location")).await;
    assert_eq!(operation.body["status"]["state"], "running");
    let node = operator.get("/v1/nodes/node-7").await;
    assert_eq!(node.body["status"]["state"], "NotReady");
    let stale =
        operator.json(Method::POST, &format!("{path}/approve"), &[("if-match", etag.as_str())], json!({})).await;
    assert_eq!(stale.code(), "revision-mismatch");
}

#[tokio::test]
async fn a_patch_needs_the_etag_that_was_read_and_changes_only_what_it_names() {
    let (memory, machine) = Memory::with_pending_machine();
    let operator = Caller::user(&memory, Role::Operator);
    let path = format!("/v1/machines/{machine}");
    let before = operator.get(&path).await;
    let etag = before.header("etag").to_owned();
    let hold = json!({"spec": {"boot": "hold"}});
    let after = operator.json(Method::PATCH, &path, &[("if-match", &etag)], hold.clone()).await;
    assert_eq!(after.status, StatusCode::OK, "{}", after.body);
    assert_eq!((&after.body["spec"]["boot"], &after.body["spec"]["plain_pxe"]), (&json!("hold"), &json!(false)));
    assert_ne!(after.header("etag"), etag);
    let lost = operator.json(Method::PATCH, &path, &[("if-match", &etag)], json!({"spec": {"boot": "image"}})).await;
    assert_eq!((lost.status, lost.code()), (StatusCode::PRECONDITION_FAILED, "revision-mismatch"));
    for unknown in [json!({"spec": {"bot": "hold"}}), json!({"status": {}}), json!({"spec": {}, "x": 1})] {
        let seen = operator.json(Method::PATCH, &path, &[("if-match", "*")], unknown.clone()).await;
        assert_eq!(seen.code(), "bad-request", "{unknown}");
    }
}

#[tokio::test]
async fn a_machine_is_named_once() {
    let operator = Caller::user(&Memory::with_cluster(), Role::Operator);
    let new = json!({"mac": "52:54:00:00:00:01", "boot": "hold"});
    let key = [("idempotency-key", "k")];
    let first = operator.json(Method::POST, "/v1/machines", &key, new.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    assert_eq!(operator.get(first.header("location")).await.body["spec"]["boot"], "hold");
    let again = operator.json(Method::POST, "/v1/machines", &key, new.clone()).await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
    let other = json!({"mac": "52:54:00:00:00:01", "boot": "image"});
    for body in [new, other] {
        let seen = operator.json(Method::POST, "/v1/machines", &[], body).await;
        assert_eq!(seen.code(), "already-exists");
    }
}

#[tokio::test]
async fn a_machine_is_armed_by_a_mac_that_nobody_saw_yet() {
    let operator = Caller::user(&Memory::with_cluster(), Role::Operator);
    let body = json!({"machine": "52-54-00-AA-00-01", "node": "node-1", "ttl_s": 600});
    let armed = operator.json(Method::POST, "/v1/machines/arm", &[], body).await;
    assert_eq!(armed.status, StatusCode::OK, "{}", armed.body);
    assert_eq!(armed.body["spec"]["boot"], "image");
    assert_eq!(armed.body["spec"]["armed"]["node"], "node-1");
    for (body, field) in [
        (json!({"machine": "52-54-00-aa-00-01", "ttl_s": 1}), "/ttl_s"),
        (json!({"machine": "Not a name"}), "/machine"),
    ] {
        let seen = operator.json(Method::POST, "/v1/machines/arm", &[], body).await;
        assert_eq!(seen.body["fields"][0]["field"], field, "{}", seen.body);
    }
    let none = operator.json(Method::POST, "/v1/machines/arm", &[], json!({"machine": "m-none"})).await;
    assert_eq!(none.code(), "not-found");
}

#[tokio::test]
async fn a_tokens_text_is_shown_once_and_revoking_needs_the_etag() {
    let admin = Caller::user(&Memory::with_cluster(), Role::Admin);
    let new = admin.json(Method::POST, "/v1/tokens", &[], json!({"uses": 2})).await;
    assert_eq!(new.status, StatusCode::CREATED, "{}", new.body);
    let location = new.header("location").to_owned();
    let token = admin.get(&location).await;
    assert!(token.body.get("text").is_none() && !token.body.to_string().contains("meadow-join"));
    assert_eq!(token.body["spec"]["uses"], 2);
    let bare = admin.send(Method::DELETE, &location, &[], Body::empty()).await;
    assert_eq!(bare.status, StatusCode::PRECONDITION_REQUIRED);
    let done = admin.send(Method::DELETE, &location, &[("if-match", token.header("etag"))], Body::empty()).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    for bad in [json!({"uses": 0}), json!({"ttl_s": 1}), json!({"ttl_s": 99_999_999})] {
        assert_eq!(admin.json(Method::POST, "/v1/tokens", &[], bad).await.code(), "bad-request");
    }
}

#[tokio::test]
async fn the_last_voter_stays() {
    let admin = Caller::user(&Memory::with_cluster(), Role::Admin);
    let etag = admin.get("/v1/nodes/seed").await.header("etag").to_owned();
    let seen = admin.send(Method::DELETE, "/v1/nodes/seed", &[("if-match", &etag)], Body::empty()).await;
    assert_eq!(seen.code(), "last-voter");
}

#[tokio::test]
async fn a_report_counts_only_from_the_node_itself_over_the_mesh() {
    let memory = Memory::with_cluster();
    let report = json!({"version": "1", "unresolved": [], "reachable": [], "mesh_generation": 1, "handshakes": []});
    let address = {
        let admin = Caller::user(&memory, Role::Admin);
        let node = admin.get("/v1/nodes/seed").await;
        format!("[{}]:40000", node.body["spec"]["address"].as_str().expect("an address"))
    };
    let address: &'static str = Box::leak(address.into_boxed_str());
    let send_as = async |name: &str, key: PublicKey, from: Option<&'static str>| {
        let identity = Some(Identity::Node { name: memory::name(name), key });
        let node = Caller { router: router(memory.clone()), identity, from };
        node.json(Method::PUT, "/v1/nodes/seed/report", &[], report.clone()).await
    };
    let send = async |name: &str, from| send_as(name, memory::seed_key(), from).await;
    let good = send("seed", Some(address)).await;
    assert_eq!((good.status, &good.body["mesh"]["name"]), (StatusCode::OK, &json!("seed")), "{}", good.body);
    for (name, from) in [("seed", Some("192.0.2.9:40000")), ("seed", None), ("other", Some(address))] {
        assert_eq!(send(name, from).await.code(), "forbidden", "{name} {from:?}");
    }
    // Its name and address have passed on to another key since it connected.
    assert_eq!(send_as("seed", PublicKey::from_der([9]), Some(address)).await.code(), "node-revoked");
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged_and_tell_their_revision() {
    let memory = Memory::with_cluster();
    let operator = Caller::user(&memory, Role::Operator);
    for last in 1..=5 {
        let new =
            json!({"mac": format!("52:54:00:00:00:0{last}"), "boot": if last % 2 == 0 { "hold" } else { "image" }});
        assert_eq!(operator.json(Method::POST, "/v1/machines", &[], new).await.status, StatusCode::CREATED);
    }
    let first = operator.get("/v1/machines?filter=boot%3Dimage&sort=-mac&limit=2").await;
    let macs = |seen: &Seen| -> Vec<String> {
        let items = seen.body["items"].as_array().expect("items");
        items.iter().map(|item| item["status"]["mac"].as_str().expect("a MAC").to_owned()).collect()
    };
    assert_eq!(macs(&first), ["52:54:00:00:00:05", "52:54:00:00:00:03"]);
    assert!(first.body["revision"].as_u64().is_some_and(|revision| revision > 0) && first.body["version"] == 1);
    let next = first.body["next_page"].as_str().expect("a next page");
    let second = operator.get(&format!("/v1/machines?filter=boot%3Dimage&sort=-mac&limit=2&page={next}")).await;
    assert_eq!((macs(&second), second.body.get("next_page")), (vec!["52:54:00:00:00:01".to_owned()], None));
    let after = operator.get("/v1/events?since=3").await;
    let seqs: Vec<u64> =
        after.body["items"].as_array().expect("items").iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert!(!seqs.is_empty() && seqs.iter().all(|seq| *seq > 3), "{seqs:?}");
    let boots = operator.get("/v1/pxe/events?since=1&mac=52:54:00:00:00:01").await;
    assert_eq!(boots.body["items"].as_array().map(Vec::len), Some(1), "{}", boots.body);
}

#[tokio::test]
async fn an_ill_agent_says_so_with_503() {
    let memory = Memory::with_cluster();
    memory.set_ill("the disk is full");
    let anonymous = Caller { router: router(memory), identity: None, from: None };
    let seen = anonymous.get("/v1/health").await;
    assert_eq!((seen.status, &seen.body["why"][0]), (StatusCode::SERVICE_UNAVAILABLE, &json!("the disk is full")));
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let text = meadow_api::document::text();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).expect("docs/openapi.json can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "docs/openapi.json has drifted; look at the change and run this test with UPDATE=1");
}
