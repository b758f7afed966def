//! The admins' SSH keys.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, StatusCode};
use meadow_api::Role;
use meadow_model::hardware::Hardware;
use meadow_state::command::Command;
use serde_json::{Value, json};

use crate::Caller;
use crate::images::updated;
use crate::memory::{Memory, name};

const ANN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home";
const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----\n";

fn patch(keys: &Value) -> Value {
    json!({"spec": {"authorized_keys": keys}})
}

#[tokio::test]
async fn they_are_changed_by_who_has_read_them() {
    let memory = Memory::with_node(Hardware::default());
    let installed = Some(Box::new(updated()));
    memory.apply(Command::SetNodeDisk { node: name("attic"), installed, durable: true });
    let admin = Caller::user(&memory, Role::Admin);
    let read = admin.get("/v1/cluster").await;
    assert_eq!(
        (&read.body["spec"]["authorized_keys"], &read.body["status"]["ssh_keys_behind"]),
        (&json!([]), &json!(["attic"]))
    );
    let etag = read.header("etag").to_owned();

    let body = patch(&json!([format!("  {ANN}\n")]));
    let blind = admin.json(Method::PATCH, "/v1/cluster", &[], body.clone()).await;
    assert_eq!(blind.code(), "precondition-required");
    let changed = admin.json(Method::PATCH, "/v1/cluster", &[("if-match", &etag)], body.clone()).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!(changed.body["spec"]["authorized_keys"], json!([ANN]));
    assert_eq!(changed.body["status"]["ssh_keys_behind"], json!(["attic"]));
    assert_ne!(changed.header("etag"), etag);
    let late = admin.json(Method::PATCH, "/v1/cluster", &[("if-match", &etag)], patch(&json!([]))).await;
    assert_eq!(late.code(), "revision-mismatch");
    let nothing = admin.json(Method::PATCH, "/v1/cluster", &[("if-match", "*")], json!({"spec": {}})).await;
    assert_eq!((nothing.status, &nothing.body["spec"]), (StatusCode::OK, &changed.body["spec"]));

    for role in [Role::Viewer, Role::Operator] {
        let caller = Caller::user(&memory, role);
        let refused = caller.json(Method::PATCH, "/v1/cluster", &[("if-match", "*")], patch(&json!([]))).await;
        assert_eq!(refused.code(), "forbidden");
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_never_repeated_or_proposed() {
    let memory = Memory::with_cluster();
    let admin = Caller::user(&memory, Role::Admin);
    let before = revision(&memory);
    let other = ANN.replace("ann@home", "the same again");
    let cases = [
        (json!([ANN, PRIVATE]), "/spec/authorized_keys/1", "private key"),
        (json!([ANN, other]), "/spec/authorized_keys/1", "already"),
        (json!(["ssh-dss AAAA ann"]), "/spec/authorized_keys/0", "Dropbear"),
        (json!(vec![ANN; 65]), "", "65"),
        (json!(PRIVATE), "", "list"),
        (json!([[PRIVATE]]), "", "list"),
    ];
    for (keys, field, why) in cases {
        let seen = admin.json(Method::PATCH, "/v1/cluster", &[("if-match", "*")], patch(&keys)).await;
        assert_eq!(seen.code(), "bad-request", "{}", seen.body);
        assert!(seen.body["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{}", seen.body);
        assert_eq!(seen.body["fields"][0]["field"].as_str().unwrap_or_default(), field, "{}", seen.body);
        assert!(!seen.body.to_string().contains("b3Blbn"), "{}", seen.body);
    }
    let headers = [("content-type", "application/json"), ("if-match", "*")];
    let raw = admin.send(Method::PATCH, "/v1/cluster", &headers, Body::from(PRIVATE)).await;
    assert!(raw.code() == "bad-request" && !raw.body.to_string().contains("b3Blbn"), "{}", raw.body);
    assert_eq!(revision(&memory), before, "a proposal lies in a log");
}

fn revision(memory: &Arc<Memory>) -> u64 {
    meadow_api::Backend::state(&**memory).expect("a state").revision()
}
