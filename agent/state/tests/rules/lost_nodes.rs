//! Computers without durable state that come back with another key.

use meadow_model::ProblemCode;
use meadow_model::boot::LostState;
use meadow_model::node::NodeState;
use meadow_state::command::{ClaimRecord, Command, MachineRef};

use crate::support::*;

/// A cluster with the node `attic` on computer 7, in RAM, whose machine is `m-525400000007`.
fn with_attic() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ok(see(7));
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "attic"));
    cluster.ok(Command::NodeJoined { node: name("attic"), version: "0.1.0".to_owned() });
    cluster
}

#[test]
fn the_old_node_is_lost_and_the_new_machine_says_whom_it_looks_like() {
    let mut cluster = with_attic();
    let (machine, _) = cluster.pending(&claim_with_key(7, 70));
    assert_eq!(machine, name("m-4646464646"), "a machine of its own");
    assert_eq!(cluster.machine(machine.as_str()).status.hints, ["looks like attic (same MAC and serials)"]);
    let status = &cluster.node("attic").status;
    assert_eq!(status.state, NodeState::Lost);
    assert!(status.reason.as_ref().is_some_and(|r| r.contains("--replaces attic")), "{:?}", status.reason);
    assert_eq!(cluster.warnings("node-lost").len(), 1);
    assert_eq!(cluster.warnings("duplicate-mac").len(), 0, "one computer is no duplicate of itself");
    cluster.pending(&claim_with_key(7, 70));
    assert_eq!(cluster.warnings("node-lost").len(), 1);
}

#[test]
fn the_new_machine_takes_over_name_and_address_when_a_person_says_so() {
    let mut cluster = with_attic();
    let old = cluster.node("attic").clone();
    let (machine, _) = cluster.pending(&claim_with_key(7, 70));
    let wrong_name = Command::Approve {
        machine: machine.clone(),
        node: Some(name("other")),
        replaces: Some(name("attic")),
        if_match: None,
    };
    assert_eq!(cluster.refused(wrong_name), ProblemCode::BadRequest);
    cluster.ok(approve_replacing(&machine, "attic"));
    let new = cluster.node("attic");
    assert_eq!((new.spec.address, new.spec.fingerprint), (old.spec.address, key(70)));
    assert_ne!(new.spec.id, old.spec.id, "a number is never used again");
    assert_eq!(new.status.state, NodeState::NotReady);
    assert_eq!(cluster.state.nodes().len(), 2);
    assert!(cluster.state.revoked().contains(&key(7)));
    assert_eq!(cluster.claim(&claim(7)), Err(ProblemCode::NodeRevoked));
    assert_eq!(cluster.state.machines().len(), 1, "the old machine went with its node");
    assert!(cluster.ok(approve_replacing(&machine, "attic")).changed.is_empty(), "again is the same");
}

#[test]
fn a_ticket_armed_for_it_does_the_same_without_a_person() {
    let mut cluster = with_attic();
    cluster.ok(Command::Arm {
        machine: by_mac(7),
        ticket_hash: [9; 32],
        expires: start().plus_seconds(60),
        node: None,
        replaces: Some(name("attic")),
        if_match: None,
    });
    let address = cluster.node("attic").spec.address;
    let (machine, node) = cluster.admitted(&with_ticket(claim_with_key(7, 70), 9));
    assert_eq!((machine, node), (name("m-525400000007"), name("attic")));
    assert_eq!(cluster.node("attic").spec.address, address);
    assert_eq!(cluster.state.machines().len(), 1);
    let machine = cluster.machine("m-525400000007");
    assert_eq!(machine.spec.armed.as_ref().and_then(|a| a.bound), Some(key(70)));
    assert_eq!(cluster.admitted(&with_ticket(claim_with_key(7, 70), 9)).1, name("attic"), "its answer was lost");
}

#[test]
fn a_ticket_without_replaces_makes_a_new_node_and_the_lost_one_stays() {
    let mut cluster = with_attic();
    cluster.ok(arm(by_mac(7), 9));
    let (machine, node) = cluster.admitted(&with_ticket(claim_with_key(7, 70), 9));
    assert_eq!((machine, node), (name("m-525400000007"), name("node-3")));
    assert_eq!(cluster.node("attic").status.state, NodeState::Lost);
}

#[test]
fn only_a_lost_node_is_replaced() {
    let mut cluster = with_attic();
    let (stranger, _) = cluster.pending(&claim(8));
    assert_eq!(cluster.refused(approve_replacing(&stranger, "attic")), ProblemCode::Conflict);
    assert_eq!(cluster.refused(approve_replacing(&stranger, "seed")), ProblemCode::Conflict);
    assert_eq!(cluster.refused(approve_replacing(&stranger, "nobody")), ProblemCode::NotFound);
    assert_eq!(cluster.node("attic").spec.fingerprint, key(7));
}

#[test]
fn another_mac_or_other_disks_are_another_computer() {
    let mut cluster = with_attic();
    let mut other_disk = claim_with_key(7, 70);
    other_disk.hardware.disks = hardware(8).disks;
    cluster.pending(&other_disk);
    let mut other_mac = claim_with_key(8, 71);
    other_mac.hardware.disks = hardware(7).disks;
    cluster.pending(&other_mac);
    assert_eq!(cluster.node("attic").status.state, NodeState::NotReady);
}

#[test]
fn a_durable_node_is_not_lost_by_a_look_alike() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&durable(claim(7)));
    cluster.ok(approve_as(&machine, "attic"));
    let (twin, _) = cluster.pending(&claim_with_key(7, 70));
    assert!(cluster.machine(twin.as_str()).status.hints.iter().any(|h| h.starts_with("looks like attic")));
    assert_eq!(cluster.node("attic").status.state, NodeState::NotReady);
}

#[test]
fn a_node_that_was_thought_lost_and_reports_is_back() {
    let mut cluster = with_attic();
    cluster.pending(&claim_with_key(7, 70));
    cluster.ok(Command::NodeJoined { node: name("attic"), version: "0.1.0".to_owned() });
    assert_eq!(cluster.node("attic").status.state, NodeState::NotReady, "judged by its reports again");
    assert_eq!(cluster.events("node-found"), 1);
    let machine = cluster.state.machine(&MachineRef::Name(name("m-4646464646"))).expect("still listed");
    assert_eq!(cluster.refused(approve_replacing(&machine.metadata.name.clone(), "attic")), ProblemCode::Conflict);
}

/// The key of this cluster's CA.
const OWN_CA: u8 = 100;

/// Computer 7 with a new key, whose disk says that it was this node.
fn says_it_was(node: &str, ca: u8) -> ClaimRecord {
    let lost = LostState {
        node: name(node),
        cluster: "home\u{1b}[2J".to_owned(),
        ca_fingerprint: key(ca),
        why: "both copies of the LUKS2 header are damaged".to_owned(),
    };
    ClaimRecord { lost: Some(lost), ..claim_with_key(7, 70) }
}

#[test]
fn a_computer_whose_state_is_lost_says_which_node_it_was_and_a_person_decides() {
    let mut cluster = Cluster::new();
    let (old, _) = cluster.pending(&durable(claim(7)));
    cluster.ok(approve_as(&old, "attic"));
    let (machine, _) = cluster.pending(&says_it_was("attic", OWN_CA));
    let hints = cluster.machine(machine.as_str()).status.hints.join("\n");
    let id = cluster.node("attic").spec.id;
    assert!(
        hints.contains(&format!("it was attic of this cluster (node {id}), whose state is lost: both copies")),
        "{hints}"
    );
    assert_eq!(cluster.node("attic").status.state, NodeState::Lost, "its name can be given away");
    let named =
        Command::Approve { machine: machine.clone(), node: Some(name("attic")), replaces: None, if_match: None };
    assert_eq!(cluster.refused(named), ProblemCode::AlreadyExists);
    cluster.ok(approve_replacing(&machine, "attic"));
    assert_eq!(cluster.claim(&durable(claim(7))), Err(ProblemCode::NodeRevoked));
}

#[test]
fn what_a_stranger_says_that_he_was_takes_nothing_from_a_node() {
    let mut cluster = Cluster::new();
    let (old, _) = cluster.pending(&durable(claim(7)));
    cluster.ok(approve_as(&old, "attic"));
    let elsewhere = ClaimRecord { lost: says_it_was("attic", OWN_CA).lost, ..claim(8) };
    cluster.pending(&elsewhere);
    assert_eq!(cluster.node("attic").status.state, NodeState::NotReady, "no card of it is there");
    let (machine, _) = cluster.pending(&says_it_was("attic", 99));
    let hints = cluster.machine(machine.as_str()).status.hints.join("\n");
    assert!(hints.contains("another cluster") && !hints.contains('\u{1b}'), "{hints}");
    assert_eq!(cluster.node("attic").status.state, NodeState::NotReady);
}
