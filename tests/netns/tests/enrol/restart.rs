//! A voter that was restarted: it still knows whom it let in, by nothing but the key of the connection.

use std::fs;

use meadow_model::ProblemCode;
use meadow_model::enrolment::ClaimReply;
use meadow_model::mesh::WireGuardKey;
use meadow_tests_netns::{Computer, Hardware, PlayedMachine, Site};
use serde_json::{Value, json};

use crate::support::{is_told_that_it_was_removed, remove, text, token};

const MACHINE: Hardware = Hardware { mac: "52:54:00:00:00:01", uuid: "11111111-2222-3333-4444-555555555501" };

const KEYS: [&str; 2] = ["identity.key", "wireguard.key"];

#[test]
fn a_node_whose_mesh_is_broken_learns_the_mesh_or_its_removal_over_the_lan() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed().expect("a seed");
    let mut desk = site.computer("desk", 3).expect("a computer");
    desk.start_agent(&mut site).expect("started");
    let (_, file) = token(&seed, "token", &[]);
    desk.join(&seed.address().to_string(), &file, &[]).expect("run").success().expect("joined");
    seed.wait_for_node("desk").expect("ready");
    let right = seed.json(&["node", "show", "seed"]).expect("a node")["spec"]["wireguard"].clone();

    desk.stop_agent();
    break_mesh(&desk);
    restart(&mut seed, &mut site);
    desk.start_agent(&mut site).expect("started");
    seed.wait_for_node("desk").expect("ready again");
    desk.until("the new view on its disk", |desk| Ok((key_of_seed(&membership(desk)) == &right).then_some(())))
        .expect("kept");

    desk.stop_agent();
    break_mesh(&desk);
    let keys = KEYS.map(|name| fs::read(desk.state_file(name)).expect("a key"));
    remove(&seed, "desk");
    restart(&mut seed, &mut site);
    desk.start_agent(&mut site).expect("started");
    is_told_that_it_was_removed(&mut desk);
    assert!(!desk.state_file("membership.json").exists(), "a removed node keeps its membership");

    // As it is where the agent was killed while it left.
    desk.stop_agent();
    for (name, bytes) in KEYS.iter().zip(keys) {
        fs::write(desk.state_file(name), bytes).expect("written");
    }
    desk.start_agent(&mut site).expect("started");
    let (_, file) = token(&seed, "again", &[]);
    let refused = desk.join(&seed.address().to_string(), &file, &[]).expect("run");
    refused.assert_refused(5, &["was removed"]);
    desk.join(&seed.address().to_string(), &file, &[]).expect("run").success().expect("joined with a new key");
}

#[test]
fn only_the_key_that_was_admitted_is_told_so() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed().expect("a seed");
    let lan = site.computer("phone", 9).expect("a computer");
    let machine = PlayedMachine::new(&MACHINE).expect("keys");
    let config = machine.boot_config(&lan, &seed).expect("told");
    let waiting = machine.enrol(&lan, &config, None).expect("network").expect("answered");
    let ClaimReply::Pending { machine: name, .. } = waiting else { panic!("not pending: {waiting:?}") };

    restart(&mut seed, &mut site);
    let standing = || machine.standing(&lan, &config).expect("network");
    assert!(matches!(standing(), Ok(ClaimReply::Pending { .. })), "{:?}", standing());
    let approve = ["machine", "approve", name.as_str(), "--node", "node-1", "--yes", "--no-wait"];
    seed.meadow(&approve).expect("run").success().expect("approved");
    restart(&mut seed, &mut site);
    let Ok(ClaimReply::Approved(admission)) = standing() else { panic!("not admitted: {:?}", standing()) };
    assert_eq!(admission.mesh.name.as_str(), "node-1");
    machine.identity_of(&admission).expect("a certificate of its own key");
    // The same hardware with another key is somebody else.
    let stranger = PlayedMachine::new(&MACHINE).expect("keys");
    let refused = stranger.standing(&lan, &config).expect("network").expect_err("unknown");
    assert_eq!(refused.code, ProblemCode::NotFound);

    remove(&seed, "node-1");
    restart(&mut seed, &mut site);
    assert_eq!(standing().expect_err("removed").code, ProblemCode::NodeRevoked);
}

fn restart(seed: &mut Computer, site: &mut Site) {
    seed.kill_agent().expect("killed");
    seed.start_agent(site).expect("started");
    seed.wait_for_node("seed").expect("ready");
}

/// Leaves the node a view of the mesh that is older than any and names another key for the seed: no packet gets through.
fn break_mesh(node: &Computer) {
    let mut membership = membership(node);
    membership["mesh"]["generation"] = json!(0);
    membership["mesh"]["peers"][0]["key"] = json!(WireGuardKey([9; 32]));
    fs::write(node.state_file("membership.json"), membership.to_string()).expect("written");
}

fn membership(node: &Computer) -> Value {
    let bytes = fs::read(node.state_file("membership.json")).expect("a membership");
    let membership: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(text(&membership, "/mesh/peers/0/name"), "seed");
    membership
}

fn key_of_seed(membership: &Value) -> &Value {
    &membership["mesh"]["peers"][0]["key"]
}
