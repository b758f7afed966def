//! The direction of dependencies between Meadow's own crates (docs/architecture.md).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crates without effects, and what they must never reach.
const PURE: [&str; 7] = [
    "meadow-model",
    "meadow-state",
    "meadow-enroll",
    "meadow-plan",
    "meadow-netboot",
    "meadow-grubenv",
    "meadow-networkd",
];
/// Crates that PID 1 of the initramfs is made with, so that they have no dependencies at all.
const BARE: [&str; 2] = ["meadow-grubenv", "meadow-networkd"];
const EFFECTS: [&str; 12] = [
    "tokio",
    "meadow-host",
    "meadow-drivers",
    "meadow-bench",
    "meadow-controllers",
    "meadow-disks",
    "meadow-luks",
    "meadow-stick",
    "meadow-tpm",
    "rustix",
    "nix",
    "socket2",
];
/// What talks to the cluster like any other program does.
const CLIENTS: [&str; 1] = ["meadow-tui"];
const INSIDES: [&str; 3] = ["meadow-controllers", "meadow-raft", "meadow-state"];

/// Which crates each crate reaches by normal dependencies, itself left out.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn of_workspace() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"])
            .current_dir(meadow_rack::paths::checkout())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::from_metadata(&serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    fn from_metadata(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let names: BTreeMap<String, String> = metadata["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let mut direct = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
            let normal = node["deps"].as_array().expect("deps").iter().filter(|dependency| {
                dependency["dep_kinds"].as_array().expect("kinds").iter().any(|kind| kind["kind"].is_null())
            });
            let reached: BTreeSet<String> = normal.map(|dependency| names[&text(&dependency["pkg"])].clone()).collect();
            direct.entry(names[&text(&node["id"])].clone()).or_insert_with(BTreeSet::new).extend(reached);
        }
        Self(direct)
    }

    fn reached(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(next) = open.pop() {
            for dependency in self.0.get(&next).into_iter().flatten() {
                if reached.insert(dependency.clone()) {
                    open.push(dependency.clone());
                }
            }
        }
        reached
    }

    fn assert_apart(&self, crates: &[&str], forbidden: &[&str]) {
        for name in crates.iter().filter(|name| self.0.contains_key(**name)) {
            let reached = self.reached(name);
            let wrong: Vec<&&str> = forbidden.iter().filter(|forbidden| reached.contains(**forbidden)).collect();
            assert!(wrong.is_empty(), "{name} reaches {wrong:?}");
        }
    }
}

#[test]
fn pure_crates_reach_no_effects() {
    let graph = Graph::of_workspace();
    assert!(graph.0.contains_key("meadow-model"), "the graph is empty");
    graph.assert_apart(&PURE, &EFFECTS);
}

#[test]
fn what_pid_1_shares_with_the_agent_has_no_dependencies() {
    let graph = Graph::of_workspace();
    for name in BARE {
        assert!(graph.reached("meadow-init").contains(name) && graph.reached("meadow-disks").contains(name), "{name}");
        assert_eq!(graph.reached(name), BTreeSet::new(), "{name}");
    }
}

#[test]
fn the_console_knows_the_cluster_only_through_its_client() {
    let graph = Graph::of_workspace();
    let direct = |name: &str| graph.0.get(name).cloned().unwrap_or_default();
    for name in CLIENTS {
        let wrong: Vec<&str> = INSIDES.into_iter().filter(|inside| direct(name).contains(*inside)).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}");
    }
}

#[test]
fn nothing_of_the_product_depends_on_test_kits() {
    let graph = Graph::of_workspace();
    for name in ["meadowd", "meadow-cli", "meadow-disks", "meadow-tui", "meadow-pxe", "meadow-init"] {
        assert!(graph.0.contains_key(name), "{name} is gone");
        let wrong: Vec<String> = graph
            .reached(name)
            .into_iter()
            .filter(|reached| ["meadow-rack", "proptest"].contains(&reached.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{name} reaches {wrong:?}");
    }
}

#[test]
fn a_wrong_edge_is_found() {
    let node = |name: &str, dependencies: &[&str]| {
        (name.to_owned(), dependencies.iter().map(|name| (*name).to_owned()).collect())
    };
    let graph = Graph(BTreeMap::from([node("meadow-state", &["meadow-model"]), node("meadow-model", &["tokio"])]));
    assert!(graph.reached("meadow-state").contains("tokio"));
    assert!(std::panic::catch_unwind(|| graph.assert_apart(&PURE, &EFFECTS)).is_err());
}
