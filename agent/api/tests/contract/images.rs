//! Images: brought piece by piece, adopted, rolled out, rolled back.

use axum::body::Body;
use http::{Method, StatusCode};
use meadow_api::Role;
use meadow_model::hardware::Hardware;
use meadow_model::image::SlotImage;
use meadow_model::install::{BootSlot, InstallMode, InstalledDisk};
use meadow_state::command::Command;
use serde_json::json;

use crate::Caller;
use crate::memory::{Memory, name};

/// A node that runs `new` from slot b and has `old` in slot a.
pub(crate) fn updated() -> InstalledDisk {
    let image = |slot, digest: &str| SlotImage { slot, digest: Some(digest.to_owned()) };
    InstalledDisk {
        serial: "S1".to_owned(),
        disk: "vda".to_owned(),
        mode: InstallMode::System,
        luks_uuid: "u".to_owned(),
        host_key: "SHA256:x".to_owned(),
        host_key_sealed: false,
        keys: Vec::new(),
        running: Some(BootSlot::B),
        blessed: Some(BootSlot::B),
        slots: vec![image(BootSlot::A, "old"), image(BootSlot::B, "new")],
        tried: None,
        went_back_from: None,
        ssh_keys: None,
    }
}

async fn adopt(admin: &Caller, digest: &str) {
    let adopted = admin.json(Method::POST, "/v1/images", &[], json!({"digest": digest})).await;
    assert_eq!(adopted.status, StatusCode::CREATED, "{}", adopted.body);
}

#[tokio::test]
async fn an_image_is_brought_in_pieces_and_adopted() {
    let memory = Memory::with_cluster();
    let admin = Caller::user(&memory, Role::Admin);
    let offer = json!({"manifest": "{}", "signature": "new"});
    let incoming = admin.json(Method::POST, "/v1/images/incoming", &[], offer.clone()).await;
    assert_eq!(incoming.body["missing"][0]["name"], "initrd", "{}", incoming.body);
    let path = "/v1/images/incoming?digest=new&name=initrd&offset=1";
    let piece = admin.send(Method::PUT, path, &[], Body::from("abc")).await;
    assert_eq!((piece.status, piece.body["have"].as_u64()), (StatusCode::OK, Some(4)), "{}", piece.body);
    let large = admin.send(Method::PUT, path, &[], Body::from(vec![0; (1 << 20) + 1])).await;
    assert_eq!(large.code(), "too-large");
    let nowhere = admin.send(Method::PUT, "/v1/images/incoming?digest=new", &[], Body::empty()).await;
    assert_eq!(nowhere.code(), "bad-request");
    adopt(&admin, "new").await;
    let listed = admin.send(Method::GET, "/v1/images", &[], Body::empty()).await;
    assert_eq!(listed.body["items"][0]["spec"]["version"], "0.1.0-new", "{}", listed.body);

    let viewer = Caller::user(&memory, Role::Viewer);
    assert_eq!(viewer.json(Method::POST, "/v1/images/incoming", &[], offer).await.code(), "forbidden");
    assert_eq!(viewer.send(Method::PUT, path, &[], Body::empty()).await.code(), "forbidden");
}

#[tokio::test]
async fn a_rollback_finds_the_image_before() {
    let memory = Memory::with_node(Hardware::default());
    let admin = Caller::user(&memory, Role::Admin);
    let rollback = || admin.json(Method::POST, "/v1/images/rollback", &[], json!({}));
    assert!(rollback().await.body["detail"].to_string().contains("nothing was rolled out"));
    adopt(&admin, "new").await;
    let unknown = admin.json(Method::POST, "/v1/images/none/rollout", &[], json!({})).await;
    assert_eq!(unknown.code(), "not-found");
    let rollout = admin.json(Method::POST, "/v1/images/0-1-0-new/rollout", &[], json!({})).await;
    assert_eq!(rollout.status, StatusCode::ACCEPTED, "{}", rollout.body);
    assert!(rollback().await.body["detail"].to_string().contains("no node has another image"));

    let installed = Some(Box::new(updated()));
    memory.apply(Command::SetNodeDisk { node: name("attic"), installed, durable: true });
    let listed = admin.send(Method::GET, "/v1/images", &[], Body::empty()).await;
    assert_eq!(listed.body["items"][0]["status"]["nodes"], json!(["attic"]), "{}", listed.body);
    let back = rollback().await;
    assert_eq!(back.status, StatusCode::ACCEPTED, "{}", back.body);
    let state = meadow_api::Backend::state(&*memory).expect("there");
    assert_eq!(state.rollout().map(|rollout| rollout.digest.as_str()), Some("old"));
    let first = rollout.body["metadata"]["name"].as_str().expect("a name");
    let first = admin.send(Method::GET, &format!("/v1/operations/{first}"), &[], Body::empty()).await;
    assert_eq!(first.body["status"]["state"], "failed", "{}", first.body);

    let call_off = || admin.send(Method::POST, "/v1/images/call-off", &[], Body::empty());
    let called_off = call_off().await;
    assert_eq!(called_off.status, StatusCode::OK, "{}", called_off.body);
    assert!(called_off.body["status"]["error"].to_string().contains("left out: attic"), "{}", called_off.body);
    assert_eq!(call_off().await.code(), "conflict", "none runs any more");
}
