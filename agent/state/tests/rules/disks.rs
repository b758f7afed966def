//! Nodes' own disks, and the work that puts them there.

use meadow_model::boot::BootPolicy;
use meadow_model::install::{InstallMode, InstalledDisk, KeyKind, KeySlot};
use meadow_model::node::NodeDisks;
use meadow_model::operation::OperationState;
use meadow_model::{Kind, Name, ProblemCode};
use meadow_state::command::{Command, OperationEnd};
use meadow_state::{MAX_OPERATIONS, Outcome};

use crate::support::*;

fn installed(mode: InstallMode) -> InstalledDisk {
    let key = KeySlot { slot: 0, kind: KeyKind::Passphrase, label: "x".repeat(1000), created: None };
    InstalledDisk {
        serial: "disk-7".to_owned(),
        disk: "vda".to_owned(),
        mode,
        luks_uuid: "u".to_owned(),
        host_key: "SHA256:x".to_owned(),
        host_key_sealed: false,
        keys: vec![key; 100],
        running: None,
        blessed: None,
        slots: Vec::new(),
        tried: None,
        went_back_from: None,
        ssh_keys: None,
    }
}

fn set_disk(node: &str, installed: Option<InstalledDisk>, durable: bool) -> Command {
    Command::SetNodeDisk { node: name(node), installed: installed.map(Box::new), durable }
}

fn start(action: &str, node: &str) -> Command {
    Command::StartOperation {
        action: action.to_owned(),
        kind: Kind::Node,
        target: name(node),
        step: "begins".to_owned(),
    }
}

fn note(operation: &Name, step: &str, end: Option<OperationEnd>) -> Command {
    Command::NoteOperation { operation: operation.clone(), step: step.to_owned(), end }
}

fn with_node() -> (Cluster, Name) {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "attic"));
    (cluster, machine)
}

fn started(cluster: &mut Cluster, action: &str) -> Name {
    match cluster.ok(start(action, "attic")).outcome {
        Outcome::Operation { name } => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_boots_from_its_disk_is_left_to_it() {
    let (mut cluster, machine) = with_node();
    cluster.ok(set_boot(by_mac(7), BootPolicy::Image));
    assert_eq!(cluster.state.state_disk(mac(7)), None);
    cluster.ok(set_disk("attic", Some(installed(InstallMode::StateOnly)), false));
    assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::Image, "it still boots over the network");
    assert_eq!(cluster.state.state_disk(mac(7)), Some("disk-7"));
    cluster.ok(set_disk("attic", Some(installed(InstallMode::System)), true));
    assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::LocalDisk);
    assert!(!cluster.node("attic").spec.ephemeral);
    assert_eq!(cluster.state.node_of(mac(7)).map(|node| &node.metadata.name), Some(&name("attic")));

    cluster.ok(set_boot(by_mac(7), BootPolicy::Image));
    let again = cluster.ok(set_disk("attic", Some(installed(InstallMode::System)), true));
    assert!(again.changed.is_empty(), "{again:?}");
    assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::Image, "a later wish of an admin stays");
    assert_eq!(cluster.events("node-disk"), 2);
}

#[test]
fn what_a_node_says_of_its_disk_is_bounded() {
    let (mut cluster, _) = with_node();
    cluster.ok(set_disk("attic", Some(installed(InstallMode::System)), true));
    let installed = Some(installed(InstallMode::System));
    let said = NodeDisks { installed, durable: true, ..NodeDisks::default() };
    assert!(!cluster.state.is_disk_news_of(cluster.node("attic"), &said), "said again it is no news");
    let gone = NodeDisks { installed: None, ..said };
    assert!(cluster.state.is_disk_news_of(cluster.node("attic"), &gone));
    let disk = cluster.node("attic").status.installed.clone().expect("there");
    assert!(disk.keys.len() <= 32 && disk.keys[0].label.len() <= 128);
    assert_eq!(cluster.refused(set_disk("nobody", None, false)), ProblemCode::NotFound);
}

#[test]
fn one_piece_of_work_of_a_kind_runs_on_a_node() {
    let (mut cluster, _) = with_node();
    let operation = started(&mut cluster, "install");
    assert_eq!(cluster.refused(start("install", "attic")), ProblemCode::Conflict);
    started(&mut cluster, "keys");
    assert_eq!(cluster.refused(start("install", "nobody")), ProblemCode::NotFound);

    for _ in 0..2 {
        cluster.ok(note(&operation, "writes the root", None));
    }
    let why = "the disk vanished".to_owned();
    cluster.ok(note(&operation, "failed", Some(OperationEnd::Failed { why: why.clone() })));
    cluster.ok(note(&operation, "late", Some(OperationEnd::Succeeded)));
    let status = &cluster.state.operations().get(&operation).expect("there").status;
    assert_eq!((status.state, status.error.as_ref()), (OperationState::Failed, Some(&why)));
    let steps: Vec<_> = status.steps.iter().map(|step| step.message.as_str()).collect();
    assert_eq!(steps, ["begins", "writes the root", "failed"]);
    started(&mut cluster, "install");
}

#[test]
fn what_runs_is_kept_however_much_ends_meanwhile() {
    let (mut cluster, _) = with_node();
    let rollout = started(&mut cluster, "rollout");
    let mut first = None;
    for _ in 0..MAX_OPERATIONS {
        let operation = started(&mut cluster, "keys");
        cluster.ok(note(&operation, "done", Some(OperationEnd::Succeeded)));
        first.get_or_insert(operation);
    }
    let operations = cluster.state.operations();
    assert_eq!(operations.get(&rollout).map(|op| op.status.state), Some(OperationState::Running));
    assert!(
        operations.len() <= MAX_OPERATIONS && !operations.contains(&first.expect("one")),
        "the oldest that ended went"
    );
}

#[test]
fn the_work_of_a_removed_node_ends() {
    let (mut cluster, _) = with_node();
    cluster.ok(set_disk("attic", Some(installed(InstallMode::StateOnly)), false));
    let operation = started(&mut cluster, "install");
    cluster.ok(remove("attic"));
    assert_eq!(cluster.state.state_disk(mac(7)), None, "its computer waits for no disk of it");
    let status = &cluster.state.operations().get(&operation).expect("there").status;
    assert_eq!(status.state, OperationState::Failed);
}

#[test]
fn a_node_that_was_reset_is_none_any_more_and_its_computer_is_a_new_machine() {
    let (mut cluster, machine) = with_node();
    cluster.ok(set_disk("attic", Some(installed(InstallMode::System)), true));
    let operation = started(&mut cluster, "reset");
    let failed = OperationEnd::Failed { why: "the disk is broken".to_owned() };
    cluster.ok(note(&operation, "failed", Some(failed)));
    assert_eq!(cluster.state.nodes().len(), 2, "what failed changes nothing");

    let operation = started(&mut cluster, "reset");
    cluster.ok(note(&operation, "done", Some(OperationEnd::Succeeded)));
    assert_eq!(cluster.state.operations().get(&operation).expect("kept").status.state, OperationState::Succeeded);
    assert!(cluster.state.nodes().get(&name("attic")).is_none());
    assert_eq!(cluster.claim(&claim(7)), Err(ProblemCode::NodeRevoked));
    let computer = cluster.machine(machine.as_str()).clone();
    assert_eq!(
        (computer.spec.boot, computer.status.fingerprint, &computer.status.hardware),
        (BootPolicy::Image, None, &None)
    );
    let (again, _) = cluster.pending(&claim_with_key(7, 70));
    assert_eq!(again, machine, "it comes back as the machine that it is");
    assert!(cluster.machine(machine.as_str()).status.hints.is_empty(), "nothing tells what it was");
    assert_eq!(cluster.events("node-reset"), 1);
    cluster.ok(Command::NodeReset { node: name("attic") });
    assert_eq!(cluster.events("node-reset"), 1, "said again it changes nothing");
}

#[test]
fn a_reinstallation_boots_over_the_network_until_it_has_ended_however() {
    for end in [OperationEnd::Succeeded, OperationEnd::Failed { why: "no image".to_owned() }] {
        let (mut cluster, machine) = with_node();
        cluster.ok(set_disk("attic", Some(installed(InstallMode::System)), true));
        assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::LocalDisk);
        let operation = started(&mut cluster, "reinstall");
        assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::Image);
        assert_eq!(cluster.state.state_disk(mac(7)), Some("disk-7"), "with its own state");
        cluster.ok(note(&operation, "writes the system", None));
        assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::Image);
        cluster.ok(note(&operation, "ended", Some(end)));
        assert_eq!(cluster.machine(machine.as_str()).spec.boot, BootPolicy::LocalDisk, "once, and no more");
        assert_eq!(cluster.state.nodes().len(), 2);
    }
}
