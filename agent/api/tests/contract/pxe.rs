//! The PXE server: its window, its leases, its numbers, and which image a machine boots.

use axum::body::Body;
use http::{Method, StatusCode};
use meadow_api::Role;
use serde_json::{Value, json};

use crate::memory::{self, Memory};
use crate::{Caller, Seen};

#[tokio::test]
async fn the_pxe_window_opens_for_a_while_and_closes() {
    let operator = Caller::user(&Memory::with_cluster(), Role::Operator);
    let open = operator.json(Method::POST, "/v1/pxe/open", &[], json!({"for_s": 3600})).await;
    let until = meadow_model::Timestamp::from_millis(memory::NOW).plus_seconds(3600).to_string();
    assert_eq!(open.body["open_until"], until, "{}", open.body);
    let closed = operator.send(Method::POST, "/v1/pxe/close", &[], Body::empty()).await;
    assert_eq!(closed.body["open_until"], Value::Null);
    for bad in [0, 86_401] {
        let seen = operator.json(Method::POST, "/v1/pxe/open", &[], json!({"for_s": bad})).await;
        assert_eq!(seen.code(), "bad-request");
    }
}

fn addresses(seen: &Seen) -> Vec<&str> {
    let items = seen.body["items"].as_array().expect("items");
    items.iter().filter_map(|item| item["address"].as_str()).collect()
}

#[tokio::test]
async fn leases_are_listed_by_address_and_ended_by_an_operator() {
    let memory = Memory::with_cluster();
    let viewer = Caller::user(&memory, Role::Viewer);
    let all = viewer.get("/v1/pxe/leases").await;
    assert_eq!(addresses(&all), ["192.0.2.9", "192.0.2.100"], "{}", all.body);
    let lease = &all.body["items"][0];
    assert_eq!(
        (&lease["state"], &lease["hostname"], &lease["reserved"]),
        (&json!("active"), &json!("host-9"), &json!(false))
    );
    let first = viewer.get("/v1/pxe/leases?limit=1").await;
    let next = first.body["next_page"].as_str().expect("a next page");
    assert_eq!(addresses(&viewer.get(&format!("/v1/pxe/leases?limit=1&page={next}")).await), ["192.0.2.100"]);
    let one = viewer.get("/v1/pxe/leases?filter=address%3D192.0.2.100").await;
    assert_eq!(addresses(&one), ["192.0.2.100"]);

    let end = |address: &str| format!("/v1/pxe/leases/{address}");
    let refused = viewer.send(Method::DELETE, &end("192.0.2.9"), &[], Body::empty()).await;
    assert_eq!(refused.code(), "forbidden");
    let operator = Caller::user(&memory, Role::Operator);
    let ended = operator.send(Method::DELETE, &end("192.0.2.9"), &[], Body::empty()).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(addresses(&viewer.get("/v1/pxe/leases?filter=state%3Dended").await), ["192.0.2.9"]);
    for (address, code) in [("192.0.2.77", "not-found"), ("host-9", "bad-request")] {
        let seen = operator.send(Method::DELETE, &end(address), &[], Body::empty()).await;
        assert_eq!(seen.code(), code, "{address}");
    }
}

#[tokio::test]
async fn the_status_has_the_counters() {
    let viewer = Caller::user(&Memory::with_cluster(), Role::Viewer);
    let status = viewer.get("/v1/pxe").await;
    assert_eq!(status.body["counters"]["dhcp_packets"], 7, "{}", status.body);
    assert_eq!(status.body["counters"]["tftp_bytes"], 0);
}

#[tokio::test]
async fn a_machine_boots_only_an_image_that_the_cluster_has_and_keeps_it_there() {
    let memory = Memory::with_cluster();
    let admin = Caller::user(&memory, Role::Admin);
    let with = |image: &str| json!({"mac": "52:54:00:00:00:07", "boot": "image", "boot_options": {"image": image}});
    let unknown = admin.json(Method::POST, "/v1/machines", &[], with("0-1-0-new")).await;
    assert_eq!((unknown.code(), unknown.status), ("not-found", StatusCode::NOT_FOUND), "{}", unknown.body);
    let adopted = admin.json(Method::POST, "/v1/images", &[], json!({"digest": "new"})).await;
    assert_eq!(adopted.status, StatusCode::CREATED, "{}", adopted.body);
    let named = admin.json(Method::POST, "/v1/machines", &[], with("0-1-0-new")).await;
    assert_eq!(named.body["spec"]["boot_options"]["image"], "0-1-0-new", "{}", named.body);
    let etag = adopted.header("etag").to_owned();
    let headers = [("if-match", etag.as_str())];
    let remove = || admin.send(Method::DELETE, "/v1/images/0-1-0-new", &headers, Body::empty());
    let kept = remove().await;
    assert_eq!(kept.code(), "conflict");
    assert!(kept.body["detail"].to_string().contains("meadow machine boot"), "{}", kept.body);
    let patch = json!({"spec": {"boot_options": {}}});
    let tag = named.header("etag").to_owned();
    let path = "/v1/machines/m-525400000007";
    let changed = admin.json(Method::PATCH, path, &[("if-match", &tag)], patch).await;
    assert_eq!(changed.body["spec"]["boot_options"], json!({}), "{}", changed.body);
    assert!(remove().await.status.is_success());
}
