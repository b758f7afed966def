//! The admins' SSH keys, and on which disks they lie.

use meadow_model::install::InstalledDisk;
use meadow_model::ssh_key::{self, MOST};
use meadow_model::{Kind, ProblemCode};
use meadow_state::State;
use meadow_state::command::{Command, Proposal};

use crate::support::*;

/// A key of its own for each number.
fn ssh_key(number: u8) -> String {
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA{number:A>40} admin-{number}")
}

fn set(keys: &[String]) -> Command {
    Command::SetSshKeys { keys: keys.to_vec(), if_match: None }
}

fn keys(cluster: &Cluster) -> &[String] {
    &cluster.state.cluster().expect("there").spec.authorized_keys
}

fn disk(ssh_keys: Option<&[String]>) -> InstalledDisk {
    serde_json::from_value(serde_json::json!({
        "serial": "S1", "disk": "sda", "mode": "system", "luks_uuid": "u", "host_key": "SHA256:x", "host_key_sealed": false,
        "keys": [], "running": "a", "blessed": "a", "ssh_keys": ssh_keys.map(ssh_key::digest),
    }))
    .expect("a disk")
}

#[test]
fn keys_are_changed_and_what_changed_is_told() {
    let mut cluster = Cluster::new();
    let old = keys(&cluster).to_vec();
    let [a, b] = [ssh_key(1), ssh_key(2)];
    let applied = cluster.ok(set(&[old[0].clone(), format!("  {a}\n"), b.clone()]));
    assert_eq!(applied.changed, [(Kind::Cluster, name("home"))]);
    assert_eq!(
        keys(&cluster),
        [old[0].clone(), a.clone(), b.clone()],
        "as a key is written, and what was there as it was"
    );
    let told = &applied.events[0];
    assert_eq!((told.code.as_str(), told.actor.as_str()), ("ssh-keys-changed", "user ann"));
    assert!(told.message.contains("added SHA256:") && told.message.contains("admin-2"), "{told:?}");

    assert!(cluster.ok(set(&[old[0].clone(), a.clone(), b.clone()])).changed.is_empty(), "the same is no change");
    let applied = cluster.ok(set(std::slice::from_ref(&b)));
    assert!(applied.events[0].message.contains("removed one that Dropbear does not take, SHA256:"), "{applied:?}");
    cluster.ok(set(&[]));
    assert!(keys(&cluster).is_empty());
}

#[test]
fn what_cannot_be_a_list_of_keys_changes_nothing() {
    let mut cluster = Cluster::new();
    let before = keys(&cluster).to_vec();
    let many: Vec<String> = (0..=u8::try_from(MOST).expect("few")).map(ssh_key).collect();
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n".to_owned();
    let long = format!("{} {}", ssh_key(1), "x".repeat(ssh_key::LONGEST));
    for bad in [vec![ssh_key(1), ssh_key(1)], many, vec![private], vec![String::new()], vec![long]] {
        let problem = cluster.apply(set(&bad)).expect_err("refused");
        assert_eq!(problem.code, ProblemCode::BadRequest);
        assert!(!problem.detail.contains("secret"), "{problem}");
    }
    let stale = Command::SetSshKeys { keys: vec![ssh_key(1)], if_match: Some(1) };
    assert_eq!(cluster.refused(stale), ProblemCode::RevisionMismatch);
    assert_eq!(keys(&cluster), before);
}

#[test]
fn a_node_is_given_the_keys_until_they_lie_on_its_disk() {
    let mut cluster = Cluster::new();
    for (number, node) in [(7, "attic"), (8, "cellar")] {
        let (machine, _) = cluster.pending(&claim(number));
        cluster.ok(approve_as(&machine, node));
    }
    assert!(cluster.state.ssh_keys_behind().is_empty(), "no node has a disk of its own");
    let tell = |cluster: &mut Cluster, node: &str, ssh_keys: Option<&[String]>| {
        let installed = Some(Box::new(disk(ssh_keys)));
        cluster.ok(Command::SetNodeDisk { node: name(node), installed, durable: true });
    };
    let old = keys(&cluster).to_vec();
    tell(&mut cluster, "attic", Some(&old));
    tell(&mut cluster, "cellar", None);
    assert_eq!(cluster.state.ssh_keys_behind(), [name("cellar")], "who does not tell may have others");
    assert_eq!(cluster.state.ssh_keys_for(&disk(None)), None, "its agent would not know what to do with them");

    let new = [ssh_key(1)];
    cluster.ok(set(&new));
    assert_eq!(cluster.state.ssh_keys_behind(), [name("attic"), name("cellar")]);
    assert_eq!(cluster.state.ssh_keys_for(&disk(Some(&old))), Some(&new[..]));
    let disks = cluster.events("node-disk");
    tell(&mut cluster, "attic", Some(&new));
    assert_eq!(cluster.state.ssh_keys_behind(), [name("cellar")]);
    assert_eq!(cluster.state.ssh_keys_for(&disk(Some(&new))), None);
    assert_eq!((cluster.events("node-ssh-keys"), cluster.events("node-disk")), (1, disks));
}

#[test]
fn a_log_and_a_snapshot_of_before_are_read() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "attic"));
    cluster.ok(Command::SetNodeDisk { node: name("attic"), installed: Some(Box::new(disk(None))), durable: true });
    let snapshot = String::from_utf8(cluster.state.to_snapshot().expect("written")).expect("text");
    assert!(!snapshot.contains("ssh_keys"), "as a Meadow of before wrote it");
    let mut read = State::from_snapshot(snapshot.as_bytes()).expect("read");
    assert_eq!(read.ssh_keys_behind(), [name("attic")]);
    let written = serde_json::json!({"at": cluster.now, "actor": "user ann",
        "command": {"do": "set-ssh-keys", "keys": [ssh_key(1)], "if_match": null}});
    let proposal: Proposal = serde_json::from_value(written).expect("as it lies in a log");
    read.apply(read.revision() + 1, &proposal).expect("accepted");
    assert_eq!(read.cluster().expect("there").spec.authorized_keys, [ssh_key(1)]);
}
