//! Approval: names, numbers, addresses.

use meadow_model::boot::BootPolicy;
use meadow_model::machine::{Decision, MachinePhase};
use meadow_model::operation::OperationState;
use meadow_model::{Name, ProblemCode};
use meadow_state::command::{ClaimRecord, Command};
use meadow_state::{Applied, Outcome};

use crate::support::*;

fn operation(applied: Applied) -> Option<Name> {
    match applied.outcome {
        Outcome::Enrolling { operation, .. } => operation,
        other => panic!("not an enrolment but {other:?}"),
    }
}

#[test]
fn an_approved_machine_is_a_node() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    let generation = cluster.state.mesh_generation();
    let op = operation(cluster.ok(approve_as(&machine, "attic"))).expect("an operation");
    let node = cluster.node("attic");
    assert_eq!((node.spec.id, node.spec.fingerprint), (2, key(7)));
    assert!(node.spec.ephemeral && !node.spec.voter);
    assert_eq!(node.spec.macs, vec![mac(7)]);
    let mesh = cluster.state.cluster().expect("a cluster").spec.mesh;
    assert_eq!(node.spec.address, mesh.address(2));
    assert_eq!(cluster.state.mesh_generation(), generation + 1);
    let machine = cluster.machine(machine.as_str());
    assert_eq!(machine.status.phase, MachinePhase::Approved);
    assert!(matches!(&machine.spec.decision, Decision::Approved { by, .. } if by == "user ann"));
    assert_eq!(machine.spec.boot, BootPolicy::Image, "a node in RAM must boot from us again");
    let state = |cluster: &Cluster| cluster.state.operations().get(&op).map(|o| o.status.state);
    assert_eq!(state(&cluster), Some(OperationState::Running));
    cluster.ok(Command::NodeJoined { node: name("attic"), version: "0.1.0".to_owned() });
    assert_eq!(state(&cluster), Some(OperationState::Succeeded));
    assert_eq!(cluster.node("attic").status.version.as_deref(), Some("0.1.0"));
    let again = cluster.ok(Command::NodeJoined { node: name("attic"), version: "0.1.0".to_owned() });
    assert!(again.changed.is_empty() && again.events.is_empty());
}

#[test]
fn a_durable_node_keeps_its_own_boot_policy() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&durable(claim(7)));
    cluster.ok(approve(&machine));
    assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::Ignore);
}

#[test]
fn names_are_given_wanted_or_made() {
    let mut cluster = Cluster::new();
    let table = [
        (7, Some("wish"), None, "wish"),
        (8, Some("wish"), None, "node-3"),
        (9, None, Some("node-5"), "node-5"),
        (10, None, None, "node-5-2"),
        (11, Some("localhost"), None, "node-6"),
        (12, Some("wish"), Some("given"), "given"),
    ];
    for (number, wanted, given, expected) in table {
        let wish = ClaimRecord { wanted_name: wanted.map(name), ..claim(number) };
        let (machine, _) = cluster.pending(&wish);
        cluster.ok(given.map_or_else(|| approve(&machine), |given| approve_as(&machine, given)));
        assert!(cluster.state.nodes().contains(&name(expected)), "{expected}");
    }
}

#[test]
fn approving_again_is_the_same_and_otherwise_is_refused() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    let other = cluster.pending(&claim(8)).0;
    assert_eq!(cluster.refused(approve_as(&machine, "seed")), ProblemCode::AlreadyExists);
    assert_eq!(cluster.refused(approve_as(&machine, "localhost")), ProblemCode::AlreadyExists);
    let first = operation(cluster.ok(approve_as(&machine, "attic")));
    for again in [approve(&machine), approve_as(&machine, "attic")] {
        let applied = cluster.ok(again);
        assert!(applied.changed.is_empty());
        assert_eq!(operation(applied), first);
    }
    assert_eq!(cluster.refused(approve_as(&machine, "cellar")), ProblemCode::Conflict);
    assert_eq!(cluster.refused(approve_as(&other, "attic")), ProblemCode::AlreadyExists);
    assert_eq!(cluster.refused(approve(&name("nobody"))), ProblemCode::NotFound);
    cluster.ok(see(9));
    assert_eq!(cluster.refused(approve(&name("m-525400000009"))), ProblemCode::Conflict, "it never asked");
}

#[test]
fn a_rejection_can_be_taken_back_and_a_stale_revision_is_refused() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    let stale = cluster.machine(machine.as_str()).metadata.revision;
    cluster.ok(reject(&machine));
    let with = |if_match| Command::Approve { machine: machine.clone(), node: None, replaces: None, if_match };
    assert_eq!(cluster.refused(with(Some(stale))), ProblemCode::RevisionMismatch);
    let fresh = cluster.machine(machine.as_str()).metadata.revision;
    cluster.ok(with(Some(fresh)));
    assert!(cluster.state.nodes().contains(&name("node-2")));
}

#[test]
fn numbers_are_never_used_again() {
    let mut cluster = Cluster::new();
    for number in 7..10 {
        let (machine, _) = cluster.pending(&claim(number));
        cluster.ok(approve_as(&machine, "attic"));
        assert_eq!(cluster.node("attic").spec.id, u64::from(number) - 5);
        cluster.ok(remove("attic"));
    }
}
