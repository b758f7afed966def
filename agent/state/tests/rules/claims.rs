//! Machines that ask to enrol.

use meadow_model::hardware::{Measure, Measures};
use meadow_model::machine::MachinePhase;
use meadow_model::mesh::WireGuardKey;
use meadow_model::{MacAddress, ProblemCode};
use meadow_state::command::{ClaimRecord, Command};
use meadow_state::{MAX_HARDWARE_BYTES, Standing};

use crate::support::*;

#[test]
fn a_claim_waits_for_a_person_and_is_listed() {
    let mut cluster = Cluster::new();
    let (machine, reason) = cluster.pending(&claim(7));
    assert_eq!(machine, name("m-0707070707"));
    assert!(reason.contains("meadow machine approve m-0707070707"), "{reason}");
    let status = &cluster.machine("m-0707070707").status;
    assert_eq!((status.phase, status.fingerprint), (MachinePhase::Pending, Some(key(7))));
    assert_eq!((status.mac, status.address), (Some(mac(7)), Some(claim(7).address)));
    assert_eq!(cluster.events("machine-pending"), 1);
    let standing = cluster.state.standing(&key(7)).expect("not turned away");
    assert_eq!(standing.map(|(machine, _)| machine), Some(machine));
    assert_eq!(cluster.state.standing(&key(8)), Ok(None));
}

#[test]
fn a_claim_goes_to_the_machine_that_was_seen_with_its_mac() {
    let mut cluster = Cluster::new();
    cluster.ok(see(7));
    assert_eq!(cluster.pending(&claim(7)).0, name("m-525400000007"));
    assert_eq!(cluster.state.machines().len(), 1);
}

#[test]
fn asking_again_shows_the_newest_code_and_nothing_else_happens() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    let events = cluster.state.events().len();
    let same = cluster.ok(Command::Claim(Box::new(claim(7))));
    assert!(same.changed.is_empty() && same.events.is_empty());
    let mut newer = claim(7);
    newer.code = claim(9).code;
    newer.address = claim(9).address;
    let measures = Measures { cpu_single: Measure::of_samples(&[1.0]), ..Measures::default() };
    newer.measures = Some(measures.clone());
    assert_eq!(cluster.ok(Command::Claim(Box::new(newer.clone()))).changed.len(), 1);
    assert_eq!(cluster.machine(machine.as_str()).status.code, Some(newer.code.clone()));
    newer.measures = None;
    cluster.pending(&newer);
    assert_eq!(cluster.machine(machine.as_str()).status.measures, Some(measures), "a measure is not forgotten");
    assert_eq!(cluster.state.events().len(), events);
}

#[test]
fn a_node_that_asks_again_goes_on() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "node-7"));
    let generation = cluster.state.mesh_generation();
    assert_eq!(cluster.admitted(&claim(7)), (machine, name("node-7")));
    assert_eq!(cluster.state.nodes().len(), 2);
    assert_eq!(cluster.state.mesh_generation(), generation);
    // The first node has no machine, and goes on as well.
    let first = ClaimRecord { wireguard: WireGuardKey([1; 32]), ..claim(1) };
    assert_eq!(cluster.admitted(&first), (name("seed"), name("seed")));
}

#[test]
fn a_known_node_with_another_mesh_key_is_refused_with_a_warning_a_minute() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "node-7"));
    let other = ClaimRecord { wireguard: WireGuardKey([99; 32]), ..claim(7) };
    for _ in 0..3 {
        assert_eq!(cluster.claim(&other), Err(ProblemCode::IdentityMismatch));
    }
    assert_eq!(cluster.warnings("identity-mismatch").len(), 1);
    cluster.pass(60);
    assert_eq!(cluster.claim(&other), Err(ProblemCode::IdentityMismatch));
    assert_eq!(cluster.warnings("identity-mismatch").len(), 2);
    assert_eq!(cluster.node("node-7").spec.wireguard, claim(7).wireguard);
}

#[test]
fn a_strange_key_with_the_mesh_key_of_a_node_is_refused() {
    let mut cluster = Cluster::new();
    let thief = ClaimRecord { wireguard: WireGuardKey([1; 32]), ..claim(7) };
    assert_eq!(cluster.claim(&thief), Err(ProblemCode::IdentityMismatch));
    assert!(cluster.state.machines().is_empty());
    // Two that wait may not both come in with it.
    let twin = ClaimRecord { wireguard: claim(7).wireguard, ..claim(8) };
    let (first, _) = cluster.pending(&claim(7));
    let (second, _) = cluster.pending(&twin);
    cluster.ok(approve(&first));
    assert_eq!(cluster.refused(approve(&second)), ProblemCode::IdentityMismatch);
}

#[test]
fn a_removed_node_is_told_so() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "node-7"));
    cluster.ok(remove("node-7"));
    assert_eq!(cluster.claim(&claim(7)), Err(ProblemCode::NodeRevoked));
    assert_eq!(cluster.state.standing(&key(7)).map_err(|p| p.code), Err(ProblemCode::NodeRevoked));
    assert!(cluster.state.machines().is_empty(), "its machine went with it");
}

#[test]
fn an_inventory_that_is_no_computers_is_refused() {
    let mut cluster = Cluster::new();
    let mut large = claim(7);
    large.hardware.product = Some("x".repeat(MAX_HARDWARE_BYTES));
    assert_eq!(cluster.claim(&large), Err(ProblemCode::BadRequest));
    let mut large = claim(7);
    large.measures =
        Some(Measures { fsync_us: Measure::missing("x".repeat(MAX_HARDWARE_BYTES)), ..Measures::default() });
    assert_eq!(cluster.claim(&large), Err(ProblemCode::BadRequest));
    assert!(cluster.state.machines().is_empty());
}

#[test]
fn a_machine_without_cards_can_claim() {
    let mut cluster = Cluster::new();
    let mut bare = claim(7);
    bare.mac = None;
    bare.hardware.nics.clear();
    let (machine, _) = cluster.pending(&bare);
    cluster.ok(approve(&machine));
    assert_eq!(cluster.node("node-2").spec.macs, Vec::<MacAddress>::new());
    assert!(matches!(cluster.claim(&bare), Ok((_, Standing::Approved { .. }))));
}
