//! A newcomer's path: from `meadow init` to two nodes that reach each other, and out again.

use std::fs;

use meadow_tests_netns::{Computer, Site};

use crate::support::{event_codes, is_told_that_it_was_removed, node_names, remove, token};

#[test]
fn two_computers_become_a_cluster_and_one_leaves_and_comes_back() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed().expect("a seed");
    let mut desk = site.computer("desk", 3).expect("a computer");
    desk.start_agent(&mut site).expect("started");
    join(&seed, &mut desk, "first");
    seed.wait_for_node("desk").expect("ready");
    seed.until("ping from the seed", |seed| Ok(seed.pings("desk")?.then_some(()))).expect("reached");
    desk.until("ping from the desk", |desk| Ok(desk.pings("seed")?.then_some(()))).expect("reached");
    let status = seed.meadow(&["status"]).expect("run").success().expect("healthy");
    assert!(status.stdout.contains("2 of 2 ready"), "{status:?}");
    assert_joined(&seed, 1);

    let (_, file) = token(&seed, "again", &[]);
    let again = desk.join("10.255.255.255", &file, &[]).expect("run");
    again.assert_refused(4, &["already a node of the cluster \"home\"", "remove"]);

    // A backup of the node's state, which its owner puts back after the node was removed.
    let backup = ["identity.key", "wireguard.key", "membership.json"];
    let kept = backup.map(|name| fs::read(desk.state_file(name)).expect("kept"));
    removes_only_by_consent(&seed, "desk");
    is_told_that_it_was_removed(&mut desk);
    desk.until("an interface less", |desk| {
        Ok((desk.run("ip", &["link", "show", "meadow0"])?.code != Some(0)).then_some(()))
    })
    .expect("the mesh is down");
    let hosts = fs::read_to_string(desk.file("hosts")).expect("hosts");
    assert!(!hosts.contains("seed"), "{hosts}");
    assert!(!seed.pings("desk").expect("ping"), "the removed node is still in the mesh");

    desk.stop_agent();
    for (name, bytes) in backup.iter().zip(kept) {
        fs::write(desk.state_file(name), bytes).expect("restored");
    }
    desk.start_agent(&mut site).expect("started");
    is_told_that_it_was_removed(&mut desk);
    assert_eq!(node_names(&seed), ["seed"]);

    // Under the same name it is another node: the old one's reports and number are not its own.
    join(&seed, &mut desk, "second");
    seed.wait_for_node("desk").expect("ready");
    seed.until("ping from the seed", |seed| Ok(seed.pings("desk")?.then_some(()))).expect("reached");
    assert_joined(&seed, 2);
    let desk_node = seed.json(&["node", "show", "desk"]).expect("a node");
    assert_eq!(desk_node["spec"]["id"], 3, "a number is never used again");
}

/// Joins with a new token.
fn join(seed: &Computer, newcomer: &mut Computer, file: &str) {
    let (_, file) = token(seed, file, &[]);
    let joined = newcomer.join(&seed.address().to_string(), &file, &[]).expect("run").success().expect("joined");
    assert!(joined.stderr.contains("is the node desk of the cluster home"), "{joined:?}");
    assert!(!newcomer.state_file("join.json").exists(), "the token stays on the computer");
}

/// The history says for each of `times` enrolments that the first report has come.
fn assert_joined(seed: &Computer, times: usize) {
    let operations = seed.items(&["operation", "ls"]).expect("operations");
    let ended = operations.iter().filter(|op| op["spec"]["target"] == "desk" && op["status"]["state"] == "succeeded");
    assert_eq!(ended.count(), times, "{operations:?}");
    let joined = event_codes(seed, "desk").iter().filter(|code| *code == "node-joined").count();
    assert_eq!(joined, times);
}

fn removes_only_by_consent(seed: &Computer, node: &str) {
    seed.meadow(&["node", "remove", node]).expect("run").assert_refused(2, &["--accept-risk=remove-node"]);
    let other_risk = seed.meadow(&["node", "remove", node, "--yes", "--accept-risk=revoke-token"]).expect("run");
    other_risk.assert_refused(2, &["remove-node"]);
    assert!(node_names(seed).iter().any(|name| name == node), "removed without consent");
    remove(seed, node);
}

#[test]
fn another_wish_to_join_takes_the_place_of_one_that_cannot_be_fulfilled() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed().expect("a seed");
    let mut desk = site.computer("desk", 3).expect("a computer");
    let (_, file) = token(&seed, "token", &[]);
    // Without an agent.
    let silent = desk.join("10.77.0.2", &file, &["--timeout", "1s"]).expect("run");
    silent.assert_refused(6, &["systemctl enable --now meadowd"]);
    // Nobody listens there: the computer's own address.
    desk.start_agent(&mut site).expect("started");
    let nobody = desk.address().to_string();
    let unreachable = desk.join(&nobody, &file, &["--timeout", "12s"]).expect("run");
    unreachable.assert_refused(6, &["cannot be reached", &nobody, "meadow join"]);
    desk.join(&seed.address().to_string(), &file, &[]).expect("run").success().expect("joined");
    seed.wait_for_node("desk").expect("ready");
}

#[test]
fn what_cannot_join_is_told_at_once() {
    let mut site = Site::build().expect("namespaces");
    let seed = site.seed().expect("a seed");
    let (_, file) = token(&seed, "token", &[]);
    seed.join("10.77.0.2", &file, &[]).expect("run").assert_refused(4, &["a cluster of its own"]);
    let desk = site.computer("desk", 3).expect("a computer");
    let missing = desk.join("10.77.0.2", &desk.file("none"), &[]).expect("run");
    missing.assert_refused(1, &["none"]);
    for (contents, code, words) in [("", 2, "meadow token create"), ("meadow-join.x", 2, "meadow token create")] {
        fs::write(desk.file("bad"), contents).expect("written");
        desk.join("10.77.0.2", &desk.file("bad"), &[]).expect("run").assert_refused(code, &[words]);
    }
}
