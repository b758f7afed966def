//! What the rows of the rack library leave out of a node: when it was made.

use anyhow::{Context, Result};
use jiff::Timestamp;
use meadow_rack::cluster::Cluster;
use serde_json::Value;

/// A node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Whether the cluster calls it ready.
    pub(crate) ready: bool,
    /// When it enrolled.
    created: Timestamp,
}

impl Node {
    /// Seconds since it enrolled. The seed runs on this machine, so there is one clock.
    pub(crate) fn age(self) -> Result<f64> {
        Ok((Timestamp::now() - self.created).total(jiff::Unit::Second)?)
    }
}

/// The node `name`, if there is one yet.
///
/// # Errors
/// When the cluster does not answer in the form that is expected.
pub(crate) fn node(cluster: &Cluster, name: &str) -> Result<Option<Node>> {
    parse(&cluster.run(&["node", "ls", "-o", "json"])?, name)
}

fn parse(text: &str, name: &str) -> Result<Option<Node>> {
    let list: Value = serde_json::from_str(text).context("`meadow node ls` gave no JSON")?;
    let items = list.get("items").and_then(Value::as_array).context("`meadow node ls` gave no items")?;
    let is_it = |item: &&Value| item.pointer("/metadata/name").and_then(Value::as_str) == Some(name);
    let Some(item) = items.iter().find(is_it) else { return Ok(None) };
    let created = item.pointer("/metadata/created").and_then(Value::as_str).context("a node without `created`")?;
    let state = item.pointer("/status/state").and_then(Value::as_str).context("a node without a state")?;
    Ok(Some(Node { ready: state == "Ready", created: created.parse().context("`created` is no time")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_out_of_a_list() {
        let list = r#"{"items":[{"metadata":{"name":"node-1","created":"2026-11-22T18:20:00.000Z"},"status":{"state":"Ready"}}]}"#;
        assert!(parse(list, "node-1").expect("a list").is_some_and(|node| node.ready));
        assert!(parse(list, "node-2").expect("a list").is_none());
        assert!(parse("{}", "node-1").is_err());
    }
}
