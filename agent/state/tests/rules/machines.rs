//! What the PXE server sees, and boot policies.

use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::machine::{Decision, MachinePhase};
use meadow_model::{MacAddress, ProblemCode};
use meadow_state::command::{Command, MachineRef};
use meadow_state::{BootChoice, MAX_UNDECIDED};

use crate::support::*;

#[test]
fn a_new_machine_is_listed_once() {
    let mut cluster = Cluster::new();
    let applied = cluster.ok(see(7));
    assert_eq!(applied.changed.len(), 1);
    let machine = cluster.machine("m-525400000007").clone();
    assert_eq!((machine.status.phase, machine.status.mac), (MachinePhase::Seen, Some(mac(7))));
    cluster.pass(5);
    let again = cluster.ok(see(7));
    assert!(again.changed.is_empty() && again.events.is_empty(), "unchanged but for the time");
    let seen = cluster.machine("m-525400000007");
    assert_eq!(seen.status.last_seen, Some(cluster.now));
    assert_eq!(seen.metadata.revision, machine.metadata.revision);
    assert_eq!(cluster.events("machine-seen"), 1);
}

#[test]
fn a_second_card_of_a_node_is_that_machine_and_of_a_stranger_is_not() {
    let mut cluster = Cluster::new();
    let mut two_cards = claim(7);
    two_cards.hardware.nics.extend(hardware(8).nics);
    let (machine, _) = cluster.pending(&two_cards);
    cluster.ok(see(8));
    assert!(cluster.state.machines().contains(&name("m-525400000008")), "a claim alone proves nothing");
    let mut cluster = Cluster::new();
    cluster.pending(&two_cards);
    cluster.ok(approve(&machine));
    cluster.ok(see(8));
    assert!(!cluster.state.machines().contains(&name("m-525400000008")));
}

#[test]
fn strangers_are_bounded_and_what_was_named_stays() {
    let mut cluster = Cluster::new();
    cluster.ok(set_boot(by_mac(1), BootPolicy::Hold));
    cluster.ok(arm(by_mac(2), 9));
    let (waiting, _) = cluster.pending(&claim(3));
    let strange = |n: usize| {
        let [a, b, c, d] = u32::try_from(n).expect("small").to_be_bytes();
        Command::SeeMachine { mac: MacAddress([2, 0, a, b, c, d]), arch: String::new(), architecture: None }
    };
    for n in 0..MAX_UNDECIDED + 10 {
        cluster.pass(1);
        cluster.ok(strange(n));
    }
    assert_eq!(cluster.state.machines().len(), MAX_UNDECIDED + 2);
    assert!(!cluster.state.machines().contains(&name("m-020000000000")), "the oldest is gone");
    for kept in ["m-525400000001", "m-525400000002", waiting.as_str(), "m-020000001009"] {
        assert!(cluster.state.machines().contains(&name(kept)), "{kept}");
    }
}

#[test]
fn boot_policy_is_set_by_name_or_mac() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.refused(set_boot(MachineRef::Name(name("m-1")), BootPolicy::Image)), ProblemCode::NotFound);
    cluster.ok(set_boot(by_mac(7), BootPolicy::Hold));
    assert_eq!(cluster.machine("m-525400000007").spec.boot, BootPolicy::Hold);
    let same = cluster.ok(set_boot(by_mac(7), BootPolicy::Hold));
    assert!(same.changed.is_empty() && same.events.is_empty());
    let revision = cluster.machine("m-525400000007").metadata.revision;
    let change = |if_match| Command::SetBoot {
        machine: by_mac(7),
        boot: BootPolicy::Image,
        plain_pxe: true,
        options: BootOptions::default(),
        if_match,
    };
    assert_eq!(cluster.refused(change(Some(revision + 1))), ProblemCode::RevisionMismatch);
    cluster.ok(change(Some(revision)));
    let choice = cluster.state.boot_choice(mac(7), cluster.now);
    assert_eq!(choice, BootChoice { policy: BootPolicy::Image, plain_pxe: true, image: None });
}

#[test]
fn the_window_boots_only_whom_nobody_decided_about() {
    let mut cluster = Cluster::new();
    cluster.ok(set_boot(by_mac(2), BootPolicy::LocalDisk));
    cluster.ok(see(3));
    cluster.ok(reject(&name("m-525400000003")));
    let policy = |cluster: &Cluster, last| cluster.state.boot_choice(mac(last), cluster.now).policy;
    let policies = |cluster: &Cluster| [1, 2, 3].map(|last| policy(cluster, last));
    use BootPolicy::{Ignore, Image, LocalDisk};
    assert_eq!(policies(&cluster), [Ignore, LocalDisk, Ignore]);
    let until = Some(cluster.now.plus_seconds(60));
    assert_eq!(cluster.ok(Command::OpenPxe { until }).changed.len(), 1);
    assert!(cluster.ok(Command::OpenPxe { until }).changed.is_empty());
    assert_eq!(policies(&cluster), [Image, LocalDisk, Ignore]);
    cluster.pass(60);
    assert_eq!(policies(&cluster), [Ignore, LocalDisk, Ignore], "closed by itself");
    assert_eq!(cluster.refused(Command::OpenPxe { until }), ProblemCode::BadRequest);
    cluster.ok(Command::OpenPxe { until: None });
}

#[test]
fn rejecting_turns_a_machine_away_until_it_is_armed_or_approved() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(arm(MachineRef::Name(machine.clone()), 9));
    cluster.ok(reject(&machine));
    assert!(cluster.ok(reject(&machine)).changed.is_empty(), "again is nothing new");
    assert!(cluster.machine(machine.as_str()).spec.armed.is_none(), "disarmed");
    assert_eq!(cluster.claim(&claim(7)), Err(ProblemCode::MachineRejected));
    assert_eq!(cluster.state.standing(&key(7)).map_err(|p| p.code), Err(ProblemCode::MachineRejected));
    assert_eq!(cluster.claim(&with_ticket(claim(7), 9)), Err(ProblemCode::MachineRejected));
    cluster.ok(arm(MachineRef::Name(machine.clone()), 9));
    assert_eq!(cluster.machine(machine.as_str()).spec.decision, Decision::Undecided);
    cluster.admitted(&with_ticket(claim(7), 9));
    assert_eq!(cluster.refused(reject(&machine)), ProblemCode::Conflict, "a node is removed, not rejected");
}

#[test]
fn a_machine_that_was_only_seen_can_be_rejected_by_its_mac() {
    let mut cluster = Cluster::new();
    cluster.ok(see(7));
    cluster.ok(reject(&name("m-525400000007")));
    assert_eq!(cluster.claim(&claim(7)), Err(ProblemCode::MachineRejected));
}

#[test]
fn arming_is_checked() {
    let mut cluster = Cluster::new();
    let armed = |node: Option<&str>, replaces: Option<&str>, seconds| Command::Arm {
        machine: by_mac(7),
        ticket_hash: [9; 32],
        expires: start().plus_seconds(seconds),
        node: node.map(name),
        replaces: replaces.map(name),
        if_match: None,
    };
    let table = [
        (armed(None, None, 0), ProblemCode::BadRequest),
        (armed(Some("seed"), None, 60), ProblemCode::AlreadyExists),
        (armed(None, Some("nobody"), 60), ProblemCode::NotFound),
        (armed(Some("other"), Some("seed"), 60), ProblemCode::BadRequest),
    ];
    for (command, code) in table {
        assert_eq!(cluster.refused(command), code);
    }
    assert!(cluster.state.machines().is_empty(), "a refusal creates nothing");
    cluster.ok(armed(Some("node-7"), None, 60));
    assert_eq!(cluster.machine("m-525400000007").spec.boot, BootPolicy::Image);
    assert_eq!(cluster.state.open_ticket(mac(7), cluster.now), Some(&[9; 32]));
    assert_eq!(cluster.refused(arm(by_mac(8), 9)), ProblemCode::Conflict, "one ticket, one machine");
    cluster.pass(60);
    assert_eq!(cluster.state.open_ticket(mac(7), cluster.now), None, "expired");
}

#[test]
fn what_a_machine_gets_once_comes_before_its_policy_and_ends_when_it_was_taken() {
    let mut cluster = Cluster::new();
    let options =
        |once, script: Option<&str>| BootOptions { once, script: script.map(str::to_owned), ..BootOptions::default() };
    let set = |boot, options| Command::SetBoot { machine: by_mac(7), boot, plain_pxe: false, options, if_match: None };
    cluster.ok(set(BootPolicy::LocalDisk, options(Some(BootPolicy::Image), None)));
    let choice = |cluster: &Cluster| cluster.state.boot_choice(mac(7), start()).policy;
    assert_eq!(choice(&cluster), BootPolicy::Image);
    cluster.ok(Command::BootedOnce { mac: mac(7) });
    assert_eq!(choice(&cluster), BootPolicy::LocalDisk);
    cluster.ok(Command::BootedOnce { mac: mac(7) });
    assert_eq!(choice(&cluster), BootPolicy::LocalDisk);
    for (boot, options) in [
        (BootPolicy::Image, options(Some(BootPolicy::Hold), None)),
        (BootPolicy::Image, BootOptions { once_image: Some(name("old")), ..BootOptions::default() }),
        (BootPolicy::Script, options(None, None)),
        (BootPolicy::Image, options(Some(BootPolicy::Script), None)),
        (BootPolicy::Script, options(None, Some("echo no first line"))),
        (BootPolicy::Image, BootOptions { kernel_arguments: "a || shell".to_owned(), ..BootOptions::default() }),
    ] {
        assert_eq!(cluster.refused(set(boot, options)), ProblemCode::BadRequest);
    }
}
