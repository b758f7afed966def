//! Installing nodes: a plan first, then consent to that very plan.

use axum::body::Body;
use http::{Method, StatusCode};
use meadow_api::{Identity, Role, router};
use meadow_model::Kind;
use meadow_model::fingerprint::PublicKey;
use meadow_model::hardware::{Disk, Hardware};
use meadow_model::install::Sealed;
use meadow_model::work::{KeyTask, NodeTask};
use meadow_state::Outcome;
use meadow_state::command::{Command, OperationEnd};
use serde_json::{Value, json};

use crate::Caller;
use crate::memory::{Memory, name, seed_key};

fn hardware() -> Hardware {
    let disk = Disk {
        name: "vda".to_owned(),
        serial: Some("S1".to_owned()),
        size_bytes: 32 << 30,
        signature: Some("ntfs".to_owned()),
        ..Disk::default()
    };
    Hardware { disks: vec![disk], ..Hardware::default() }
}

async fn plan(admin: &Caller, serial: &str) -> (StatusCode, Value) {
    let seen = admin.json(Method::POST, "/v1/nodes/attic/install/plan", &[], json!({"serial": serial})).await;
    (seen.status, seen.body)
}

#[tokio::test]
async fn what_is_done_is_what_was_consented_to() {
    let memory = Memory::with_node(hardware());
    let admin = Caller::user(&memory, Role::Admin);
    let (status, plan) = plan(&admin, "S1").await;
    assert_eq!(status, StatusCode::OK, "{plan}");
    assert!(plan["loses"].to_string().contains("ntfs"), "{plan}");
    assert!(memory.work.lock().expect("sound").is_empty(), "a plan changes nothing");

    let key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
    let request = |consent: &Value| json!({"serial": "S1", "consent": consent, "passphrase": "AAAA", "reply_to": key});
    for stale in [Value::Null, json!("0".repeat(64))] {
        let refused = admin.json(Method::POST, "/v1/nodes/attic/install", &[], request(&stale)).await;
        assert_eq!(refused.code(), "plan-changed");
    }
    let headers = [("idempotency-key", "one")];
    let begun = admin.json(Method::POST, "/v1/nodes/attic/install", &headers, request(&plan["hash"])).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.body);
    let again = admin.json(Method::POST, "/v1/nodes/attic/install", &headers, request(&plan["hash"])).await;
    assert_eq!(again.body["metadata"]["name"], begun.body["metadata"]["name"], "{}", again.body);
    let second = admin.json(Method::POST, "/v1/nodes/attic/install", &[], request(&plan["hash"])).await;
    assert_eq!(second.code(), "conflict", "one installation at a time");

    let work = memory.work.lock().expect("sound");
    let [work] = work.as_slice() else { panic!("{work:?}") };
    assert_eq!(begun.body["metadata"]["name"], work.operation.as_str());
    let NodeTask::Install(task) = &work.task else { panic!("{work:?}") };
    assert_eq!((task.plan.hash.as_str(), task.cluster.as_str()), (plan["hash"].as_str().expect("a hash"), "home"));
}

#[tokio::test]
async fn refusals_say_why() {
    let memory = Memory::with_node(hardware());
    let admin = Caller::user(&memory, Role::Admin);
    let (status, refused) = plan(&admin, "S2").await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("install-refused")));
    let seed = admin.json(Method::POST, "/v1/nodes/seed/install/plan", &[], json!({"serial": "S1"})).await;
    assert_eq!(seed.code(), "conflict", "the first node is somebody's own system");
    let keys = admin.json(Method::POST, "/v1/nodes/attic/keys", &[], json!({"change": "remove", "slot": 1})).await;
    assert_eq!(keys.code(), "conflict", "it has no state on a disk");
    let operator = Caller::user(&memory, Role::Operator);
    let wipe = json!({"serial": "S1", "consent": "x"});
    assert_eq!(operator.json(Method::POST, "/v1/nodes/attic/install", &[], wipe).await.code(), "forbidden");
}

#[tokio::test]
async fn an_old_recovery_key_ends_by_an_order_of_its_own() {
    let memory = Memory::with_node(hardware());
    let installed = Some(Box::new(crate::images::updated()));
    memory.apply(Command::SetNodeDisk { node: name("attic"), installed, durable: true });
    let key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
    let new = json!({"change": "new-recovery-key", "existing": "AAAA", "reply_to": key});
    let end = json!({"change": "end-older-recovery-keys", "kept": "BBBB"});
    let operator = Caller::user(&memory, Role::Operator);
    assert_eq!(operator.json(Method::POST, "/v1/nodes/attic/keys", &[], end.clone()).await.code(), "forbidden");
    let admin = Caller::user(&memory, Role::Admin);
    for order in [new, end] {
        let begun = admin.json(Method::POST, "/v1/nodes/attic/keys", &[], order).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.body);
        let (operation, step) = (name(begun.body["metadata"]["name"].as_str().expect("a name")), String::new());
        memory.apply(Command::NoteOperation { operation, step, end: Some(OperationEnd::Succeeded) });
    }
    let work = memory.work.lock().expect("sound");
    let [NodeTask::Keys(new), NodeTask::Keys(end)] = [&work[0].task, &work[1].task] else { panic!("{work:?}") };
    assert!(matches!(new, KeyTask::NewRecoveryKey { .. }), "{new:?}");
    assert_eq!(*end, KeyTask::EndOlderRecoveryKeys { kept: Sealed("BBBB".to_owned()) });
}

#[tokio::test]
async fn an_answer_is_for_whoever_may_install() {
    let memory = Memory::with_node(hardware());
    let path = "/v1/operations/op-0000000042/answer";
    assert_eq!(Caller::user(&memory, Role::Admin).get(path).await.body, "AAAA");
    assert_eq!(Caller::user(&memory, Role::Operator).get(path).await.code(), "forbidden");
    let gone = Caller::user(&memory, Role::Admin).get("/v1/operations/op-0000000043/answer").await;
    assert_eq!(gone.code(), "not-found");
}

#[tokio::test]
async fn a_large_answer_comes_from_the_node_that_works_and_from_nobody_else() {
    let memory = Memory::with_cluster();
    let start = Command::StartOperation {
        action: "keys".to_owned(),
        kind: Kind::Node,
        target: name("seed"),
        step: String::new(),
    };
    let Outcome::Operation { name: operation } = memory.apply(start).outcome else { panic!("an operation") };
    let path = format!("/v1/operations/{operation}/answer");
    let large = json!("A".repeat(5 << 20));
    let node = |named: &str, key| {
        let identity = Some(Identity::Node { name: name(named), key });
        Caller { router: router(memory.clone()), identity, from: None }
    };
    let own = node("seed", seed_key()).json(Method::PUT, &path, &[], large.clone()).await;
    assert_eq!(own.status, StatusCode::NO_CONTENT, "{}", own.body);
    assert_eq!(memory.answers.lock().expect("sound").len(), 1);
    let stranger = PublicKey::from_der([7]);
    for (caller, code) in [
        (node("seed", stranger.clone()), "node-revoked"),
        (node("attic", stranger), "not-found"),
        (Caller::user(&memory, Role::Admin), "forbidden"),
    ] {
        assert_eq!(caller.json(Method::PUT, &path, &[], large.clone()).await.code(), code);
    }
    let endless = json!("A".repeat(7 << 20));
    assert_eq!(node("seed", seed_key()).json(Method::PUT, &path, &[], endless).await.code(), "too-large");
    assert_eq!(memory.answers.lock().expect("sound").len(), 1);
}

#[tokio::test]
async fn a_restart_is_work_too() {
    let memory = Memory::with_node(hardware());
    let operator = Caller::user(&memory, Role::Operator);
    let begun = operator.send(Method::POST, "/v1/nodes/attic/reboot", &[], Body::empty()).await;
    assert_eq!((begun.status, &begun.body["spec"]["action"]), (StatusCode::ACCEPTED, &json!("reboot")));
    assert_eq!(memory.work.lock().expect("sound")[0].task, NodeTask::Reboot);
}

#[tokio::test]
async fn a_reset_needs_consent_and_never_takes_the_last_voter() {
    let memory = Memory::with_node(hardware());
    let admin = Caller::user(&memory, Role::Admin);
    let plan = admin.json(Method::POST, "/v1/nodes/attic/reset/plan", &[], json!({"disks": ["S1"]})).await;
    assert_eq!(plan.status, StatusCode::OK, "{}", plan.body);
    assert!(plan.body["wipes"].to_string().contains("ntfs"), "{}", plan.body);
    let stale = json!({"disks": [], "consent": plan.body["hash"]});
    let refused = admin.json(Method::POST, "/v1/nodes/attic/reset", &[], stale).await;
    assert_eq!(refused.code(), "plan-changed", "consent for a disk is none for another set of disks");
    let seed = admin.json(Method::POST, "/v1/nodes/seed/reset", &[], json!({})).await;
    assert_eq!(seed.code(), "last-voter");
    let operator = Caller::user(&memory, Role::Operator);
    let agreed = json!({"disks": ["S1"], "consent": plan.body["hash"]});
    assert_eq!(operator.json(Method::POST, "/v1/nodes/attic/reset", &[], agreed.clone()).await.code(), "forbidden");
    let begun = admin.json(Method::POST, "/v1/nodes/attic/reset", &[], agreed).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.body);
    let work = memory.work.lock().expect("sound");
    assert!(matches!(&work[0].task, NodeTask::Reset(task) if task.wipes.len() == 1), "{work:?}");
}

#[tokio::test]
async fn a_computer_that_is_somebodys_own_resets_nothing() {
    let memory = Memory::with_node(hardware());
    let admin = Caller::user(&memory, Role::Admin);
    for path in ["/v1/self/reset/plan", "/v1/self/reset"] {
        assert_eq!(admin.json(Method::POST, path, &[], json!({})).await.code(), "conflict");
    }
}

#[tokio::test]
async fn what_a_stick_brings_is_work_and_a_reinstallation_can_be_called_off() {
    let memory = Memory::with_node(hardware());
    let admin = Caller::user(&memory, Role::Admin);
    let stick = json!({"stick": "S2"});
    for (path, action) in [("update", "update"), ("support", "support")] {
        let begun = admin.json(Method::POST, &format!("/v1/nodes/attic/{path}"), &[], stick.clone()).await;
        assert_eq!(
            (begun.status, &begun.body["spec"]["action"]),
            (StatusCode::ACCEPTED, &json!(action)),
            "{}",
            begun.body
        );
    }
    let alone = admin.json(Method::POST, "/v1/nodes/attic/reinstall", &[], json!({"allow_older": true})).await;
    assert_eq!(alone.code(), "conflict", "it has no system on a disk");
    let nothing = admin.send(Method::DELETE, "/v1/nodes/attic/reinstall", &[], Body::empty()).await;
    assert_eq!(nothing.code(), "not-found");
    let operator = Caller::user(&memory, Role::Operator);
    assert_eq!(operator.json(Method::POST, "/v1/nodes/attic/update", &[], stick).await.code(), "forbidden");
}
