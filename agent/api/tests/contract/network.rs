//! Network settings of this computer and of nodes, and what a node's console may ask for its node.

use axum::body::Body;
use http::{Method, StatusCode};
use meadow_api::{Identity, Role, router};
use meadow_model::fingerprint::PublicKey;
use meadow_model::hardware::{Disk, Hardware};
use meadow_model::work::NodeTask;
use serde_json::json;

use crate::Caller;
use crate::memory::{Memory, name};

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let memory = Memory::with_node(Hardware::default());
    let admin = Caller::user(&memory, Role::Admin);
    assert_eq!(admin.get("/v1/self/network").await.body["lasts"], true);
    let wrong = json!({"networks": [{"card": "eth0", "address": "192.0.2.7/24"}]});
    let refused = admin.json(Method::POST, "/v1/self/network/try", &[], wrong).await;
    assert_eq!((refused.code(), &refused.body["fields"][0]["field"]), ("bad-request", &json!("/networks/0/card")));
    assert_eq!(admin.send(Method::POST, "/v1/self/network/confirm", &[], Body::empty()).await.code(), "conflict");
    assert_eq!(admin.send(Method::POST, "/v1/self/network/back", &[], Body::empty()).await.status, StatusCode::OK);
    let operator = Caller::user(&memory, Role::Operator);
    assert_eq!(operator.send(Method::POST, "/v1/self/network/back", &[], Body::empty()).await.code(), "forbidden");
}

#[tokio::test]
async fn a_nodes_settings_are_work_for_the_node() {
    let memory = Memory::with_node(Hardware::default());
    let admin = Caller::user(&memory, Role::Admin);
    let change = json!({"networks": [{"card": "eth0", "vlan": 7}]});
    let begun = admin.json(Method::POST, "/v1/nodes/attic/network/try", &[], change).await;
    assert_eq!((begun.status, &begun.body["spec"]["action"]), (StatusCode::ACCEPTED, &json!("try-network")));
    let work = memory.work.lock().expect("sound").remove(0);
    let NodeTask::TryNetwork(change) = work.task else { panic!("{work:?}") };
    assert_eq!((change.networks[0].card.as_str(), change.networks[0].vlan), ("eth0", Some(7)));
    let operator = Caller::user(&memory, Role::Operator);
    for verb in ["try", "confirm", "back"] {
        let path = format!("/v1/nodes/attic/network/{verb}");
        let body = json!({"networks": []});
        assert_eq!(operator.json(Method::POST, &path, &[], body).await.code(), "forbidden", "{path}");
    }
}

#[tokio::test]
async fn a_console_gets_what_concerns_its_own_node() {
    let disk = Disk { name: "vda".to_owned(), serial: Some("S1".to_owned()), size_bytes: 32 << 30, ..Disk::default() };
    let memory = Memory::with_node(Hardware { disks: vec![disk], ..Hardware::default() });
    let node = |of: &str| Caller {
        router: router(memory.clone()),
        identity: Some(Identity::Node { name: name(of), key: PublicKey::from_der([9]) }),
        from: None,
    };
    let own = node("attic");
    assert_eq!(own.get("/v1/nodes/attic").await.status, StatusCode::OK);
    let planned = own.json(Method::POST, "/v1/nodes/attic/install/plan", &[], json!({"serial": "S1"})).await;
    assert_eq!(planned.status, StatusCode::OK, "{}", planned.body);
    let begun = own.send(Method::POST, "/v1/nodes/attic/reboot", &[], Body::empty()).await;
    assert_eq!((begun.status, &begun.body["spec"]["actor"]), (StatusCode::ACCEPTED, &json!("node attic")));
    let operation = format!("/v1/operations/{}", begun.body["metadata"]["name"].as_str().expect("a name"));
    assert_eq!(own.get(&operation).await.status, StatusCode::OK);
    for path in ["/v1/nodes", "/v1/operations", "/v1/tokens", "/v1/machines", "/v1/nodes/seed"] {
        assert_eq!(own.get(path).await.code(), "forbidden", "{path}");
    }

    let other = node("cellar");
    assert_eq!(other.get("/v1/nodes/attic").await.code(), "forbidden");
    assert_eq!(other.get(&operation).await.code(), "not-found");
    assert_eq!(other.get(&format!("{operation}/answer")).await.code(), "not-found");
    let body = json!({"serial": "S1"});
    assert_eq!(other.json(Method::POST, "/v1/nodes/attic/install", &[], body).await.code(), "forbidden");
}
