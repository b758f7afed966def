//! What these tests share.

use std::path::PathBuf;

use meadow_tests_netns::Computer;
use serde_json::Value;

/// Makes a token on the seed, with more arguments of `meadow token create`; its name and file.
pub(crate) fn token(seed: &Computer, file: &str, more: &[&str]) -> (String, PathBuf) {
    let path = seed.file(file);
    let out = path.to_string_lossy().into_owned();
    let token = seed.json(&[&["token", "create", "--out", &out], more].concat()).expect("a token");
    (text(&token, "/metadata/name").to_owned(), path)
}

/// The text at a JSON pointer.
#[track_caller]
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer}: {value}"))
}

/// The names of the nodes that the seed lists.
pub(crate) fn node_names(seed: &Computer) -> Vec<String> {
    let nodes = seed.items(&["node", "ls"]).expect("nodes");
    nodes.iter().map(|node| text(node, "/metadata/name").to_owned()).collect()
}

/// The codes of all events about `subject`.
pub(crate) fn event_codes(seed: &Computer, subject: &str) -> Vec<String> {
    let events = seed.items(&["event", "ls"]).expect("events");
    let about = events.iter().filter(|event| event["subject"] == subject);
    about.map(|event| text(event, "/code").to_owned()).collect()
}

/// Takes a node out of the cluster.
pub(crate) fn remove(seed: &Computer, node: &str) {
    let ran = seed.meadow(&["node", "remove", node, "--yes", "--accept-risk=remove-node"]).expect("run");
    ran.success().expect("removed");
}

/// Waits until the agent of a node says that the cluster has removed it.
pub(crate) fn is_told_that_it_was_removed(node: &mut Computer) {
    let view =
        node.until("news of the removal", |node| Ok(node.self_view().ok().filter(|view| view["state"] == "rejected")));
    let view = view.expect("the node says so");
    let detail = text(&view, "/detail");
    assert!(detail.contains("was removed from the cluster") && detail.contains("meadow join"), "{detail}");
}
