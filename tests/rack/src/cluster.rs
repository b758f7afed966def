//! The cluster as its own command line shows it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::paths;

/// `meadow` with the context of one admin.
#[derive(Clone, Debug)]
pub struct Cluster {
    program: PathBuf,
    context: PathBuf,
}

/// A row of `meadow node ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// `Ready`, `NotReady` or `Lost`.
    pub state: String,
    /// Its identity.
    pub fingerprint: String,
    /// Its address in the mesh.
    pub address: String,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// The nodes that it reaches by name over the mesh.
    pub reachable: Vec<String>,
}

impl NodeRow {
    /// Whether the cluster calls it ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == "Ready"
    }
}

/// A row of `meadow machine ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRow {
    /// Its name.
    pub name: String,
    /// `Seen`, `Pending`, `Approved` or `Rejected`.
    pub phase: String,
    /// The hardware address it was seen with first.
    pub mac: String,
    /// Fingerprint of its key, once it asked to enrol.
    pub fingerprint: Option<String>,
    /// The code on its console.
    pub code: Option<String>,
    /// What an admin should know.
    pub hints: Vec<String>,
}

impl Cluster {
    /// Uses the context file `context`.
    #[must_use]
    pub fn new(context: &Path) -> Self {
        Self { program: paths::programs().join("meadow"), context: context.to_owned() }
    }

    /// The context file, for `MEADOW_CONTEXT`.
    #[must_use]
    pub fn context(&self) -> &Path {
        &self.context
    }

    /// `meadow`, to be run by the caller.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("MEADOW_CONTEXT", &self.context).stdin(Stdio::null());
        command
    }

    /// Runs `meadow` and gives its standard output.
    ///
    /// # Errors
    /// With what it says when its exit code is not 0.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command()
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {}; `make build` makes it", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "`meadow {}` failed ({}): {}{text}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(text)
    }

    /// The nodes.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn nodes(&self) -> Result<Vec<NodeRow>> {
        self.list(&["node", "ls"], node_row)
    }

    /// The machines.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn machines(&self) -> Result<Vec<MachineRow>> {
        self.list(&["machine", "ls"], machine_row)
    }

    /// Arms the next boot of a machine, so that it becomes `node` without being asked.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn arm(&self, mac: &str, node: &str) -> Result<()> {
        self.run(&["machine", "arm", mac, "--node", node]).map(drop)
    }

    fn list<T>(&self, noun: &[&str], row: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let mut arguments = noun.to_vec();
        arguments.extend(["-o", "json"]);
        let text = self.run(&arguments)?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("`meadow {}` gave no JSON: {text}", arguments.join(" ")))?;
        let items = value.get("items").and_then(Value::as_array).with_context(|| format!("no `items` in {text}"))?;
        let rows: Vec<T> = items.iter().filter_map(&row).collect();
        ensure!(rows.len() == items.len(), "`meadow {}` has items of an unknown form: {text}", arguments.join(" "));
        Ok(rows)
    }
}

fn node_row(item: &Value) -> Option<NodeRow> {
    Some(NodeRow {
        name: text(item, "/metadata/name")?,
        state: text(item, "/status/state")?,
        fingerprint: text(item, "/spec/fingerprint")?,
        address: text(item, "/spec/address")?,
        reason: text(item, "/status/reason"),
        reachable: texts(item, "/status/reachable"),
    })
}

fn machine_row(item: &Value) -> Option<MachineRow> {
    Some(MachineRow {
        name: text(item, "/metadata/name")?,
        phase: text(item, "/status/phase")?,
        mac: text(item, "/status/mac").unwrap_or_default(),
        fingerprint: text(item, "/status/fingerprint"),
        code: text(item, "/status/code"),
        hints: texts(item, "/status/hints"),
    })
}

fn text(item: &Value, pointer: &str) -> Option<String> {
    item.pointer(pointer)?.as_str().map(str::to_owned)
}

fn texts(item: &Value, pointer: &str) -> Vec<String> {
    let list = item.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_out_of_resources() {
        let spec = json!({"fingerprint": "SHA256:x", "address": "fd00::2"});
        let node = json!({"metadata": {"name": "node-1"}, "spec": spec, "status": {"state": "Ready", "reason": null, "reachable": ["seed"]}});
        let row = node_row(&node).expect("a row");
        assert!(row.is_ready());
        assert_eq!((row.name.as_str(), row.reason, row.reachable), ("node-1", None, vec!["seed".to_owned()]));
        assert_eq!(node_row(&json!({"metadata": {}})), None);
        let machine = json!({"metadata": {"name": "m-1"}, "status": {"phase": "Pending", "mac": "52:54:00:00:00:01", "code": "K7QX-2M4P", "hints": []}});
        let row = machine_row(&machine).expect("a row");
        assert_eq!((row.phase.as_str(), row.code.as_deref(), row.fingerprint), ("Pending", Some("K7QX-2M4P"), None));
    }
}
