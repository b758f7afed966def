//! Boot tickets.

use meadow_model::ProblemCode;
use meadow_model::boot::BootPolicy;
use meadow_model::machine::Decision;
use meadow_state::command::{Command, MachineRef};

use crate::support::*;

#[test]
fn the_first_key_with_the_ticket_is_approved_by_itself() {
    let mut cluster = Cluster::new();
    cluster.ok(arm(by_mac(7), 9));
    let (machine, node) = cluster.admitted(&with_ticket(claim(7), 9));
    assert_eq!((machine.as_str(), node.as_str()), ("m-525400000007", "node-2"));
    let machine = cluster.machine("m-525400000007");
    assert!(matches!(&machine.spec.decision, Decision::Approved { by, .. } if by == "ticket"));
    assert_eq!(machine.spec.boot, BootPolicy::Image, "it boots the image again next time");
    assert_eq!(machine.spec.armed.as_ref().and_then(|a| a.bound), Some(key(7)));
    assert_eq!(cluster.state.open_ticket(mac(7), cluster.now), None, "nobody is given it again");
    assert_eq!(cluster.state.operations().len(), 1);
    assert_eq!(cluster.admitted(&with_ticket(claim(7), 9)).1, name("node-2"), "the same answer again");
    assert_eq!(cluster.state.nodes().len(), 2);
}

#[test]
fn an_armed_machine_gets_the_name_that_was_given() {
    let mut cluster = Cluster::new();
    let expires = start().plus_seconds(60);
    let (ticket_hash, node) = ([9; 32], Some(name("attic")));
    cluster.ok(Command::Arm { machine: by_mac(7), ticket_hash, expires, node, replaces: None, if_match: None });
    assert_eq!(cluster.admitted(&with_ticket(claim(7), 9)).1, name("attic"));
}

#[test]
fn a_second_key_revokes_the_ticket_and_waits_for_a_person() {
    let mut cluster = Cluster::new();
    cluster.ok(arm(by_mac(7), 9));
    cluster.admitted(&with_ticket(claim(7), 9));
    let (second, reason) = cluster.pending(&with_ticket(claim_with_key(8, 70), 9));
    assert!(reason.contains("used by another key"), "{reason}");
    assert!(cluster.machine(second.as_str()).status.hints.iter().any(|h| h.contains("used by another key")));
    assert_eq!(cluster.warnings("ticket-reused").len(), 1);
    assert_eq!(cluster.machine("m-525400000007").spec.armed, None, "revoked");
    let (_, reason) = cluster.pending(&with_ticket(claim_with_key(9, 90), 9));
    assert!(reason.contains("unknown or was revoked"), "{reason}");
    assert_eq!(cluster.admitted(&with_ticket(claim(7), 9)).1, name("node-2"), "the first key stays a node");
}

#[test]
fn a_ticket_that_is_unknown_or_has_expired_does_not_help() {
    let mut cluster = Cluster::new();
    let (_, reason) = cluster.pending(&with_ticket(claim(8), 1));
    assert!(reason.contains("unknown"), "{reason}");
    cluster.ok(arm(by_mac(7), 9));
    cluster.pass(600);
    let (_, reason) = cluster.pending(&with_ticket(claim(7), 9));
    assert!(reason.contains("expired"), "{reason}");
    assert_eq!(cluster.state.nodes().len(), 1);
}

#[test]
fn a_machine_that_waits_already_is_let_in_by_a_ticket() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(arm(MachineRef::Name(machine.clone()), 9));
    // It has restarted in between and made a new key: the computer was named, and it is the same.
    let (same, node) = cluster.admitted(&with_ticket(claim_with_key(7, 70), 9));
    assert_eq!((same, node), (machine.clone(), name("node-2")));
    assert_eq!(cluster.machine(machine.as_str()).status.fingerprint, Some(key(70)));
    assert_eq!(cluster.node("node-2").spec.wireguard.0, [70; 32]);
}

#[test]
fn a_ticket_for_the_machine_of_a_durable_node_makes_another_machine() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&durable(claim(7)));
    cluster.ok(approve_as(&machine, "node-7"));
    cluster.ok(arm(MachineRef::Name(machine.clone()), 9));
    let (other, node) = cluster.admitted(&with_ticket(claim_with_key(7, 70), 9));
    assert_ne!(other, machine, "the node's key is never overwritten");
    assert_eq!(node, name("node-3"));
    assert_eq!(cluster.machine(machine.as_str()).status.fingerprint, Some(key(7)));
}

#[test]
fn a_ticket_whose_name_was_taken_meanwhile_waits_for_a_person() {
    let mut cluster = Cluster::new();
    let (expires, node) = (start().plus_seconds(60), Some(name("attic")));
    let ticket_hash = [9; 32];
    cluster.ok(Command::Arm { machine: by_mac(7), ticket_hash, expires, node, replaces: None, if_match: None });
    let (other, _) = cluster.pending(&claim(8));
    cluster.ok(approve_as(&other, "attic"));
    let (machine, reason) = cluster.pending(&with_ticket(claim(7), 9));
    assert!(reason.contains("attic is taken"), "{reason}");
    assert_eq!(cluster.refused(approve_as(&machine, "attic")), ProblemCode::AlreadyExists);
    cluster.ok(approve_as(&machine, "cellar"));
    assert_eq!(cluster.machine(machine.as_str()).spec.armed, None, "a person's decision disarms");
}
