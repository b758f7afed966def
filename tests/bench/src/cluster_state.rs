//! What the rows of the rack library leave out of a node: when it was made.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use meadow_rack::cluster::Cluster;
use serde_json::Value;

/// How often the cluster is asked: the resolution of `Ready`.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Whether the cluster calls it ready.
    ready: bool,
    /// When it enrolled.
    created: Timestamp,
}

impl Node {
    /// Seconds since it enrolled. The seed runs on this machine, so there is one clock.
    pub(crate) fn age(self) -> Result<f64> {
        Ok((Timestamp::now() - self.created).total(jiff::Unit::Second)?)
    }
}

/// Asks the cluster for one node until it is ready, and not too often: each question costs this machine time.
#[derive(Debug)]
pub(crate) struct ReadyNode {
    name: &'static str,
    asked: Option<Instant>,
}

impl ReadyNode {
    /// The node `name`, which need not be there yet.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, asked: None }
    }

    /// The node, once it is ready.
    ///
    /// # Errors
    /// When the cluster does not answer in the form that is expected.
    pub(crate) fn look(&mut self, cluster: &Cluster) -> Result<Option<Node>> {
        if self.asked.is_some_and(|time| time.elapsed() < ASK_EVERY) {
            return Ok(None);
        }
        self.asked = Some(Instant::now());
        let node = parse(&cluster.run(&["node", "ls", "-o", "json"])?, self.name)?;
        Ok(node.filter(|node| node.ready))
    }
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
