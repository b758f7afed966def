//! Image updates across the cluster: which node is next, or why it waits.
//!
//! Called again and again with what is observed, it gives one step at a time: one node at a time, voters last, and never a
//! voter when that would leave less than a majority of the voters healthy. What crashed between two calls is seen in the
//! next observation, so nothing is remembered here.

mod node;
mod voters;

pub use node::{Health, NodeImage};

use meadow_model::Name;

/// What the people in charge allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether somebody agreed that the cluster is without a majority while a voter restarts, which one or two voters
    /// cannot avoid.
    pub without_majority: bool,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the image into the slot that does not run.
    Write {
        /// The node.
        node: Name,
    },
    /// Restart into the slot with the image, once.
    Try {
        /// The node.
        node: Name,
    },
    /// Make the running slot the one that is booted from now on.
    Bless {
        /// The node.
        node: Name,
    },
    /// Look again later.
    Wait {
        /// The node that is waited for.
        node: Name,
        /// Why, for people.
        why: String,
    },
    /// Ask whether a voter may be taken though no majority is left meanwhile; [`Policy::without_majority`] is the answer.
    Ask {
        /// The node.
        node: Name,
        /// What it means, for people.
        why: String,
    },
    /// It ends here; somebody has to look.
    Stop {
        /// The node that failed.
        node: Name,
        /// Why, with the next step, for people.
        why: String,
    },
    /// Every node runs the image and will boot it again.
    Done,
}

/// The next step towards every node running `wanted`, the digest of an image.
#[must_use]
pub fn next(nodes: &[NodeImage], wanted: &str, policy: &Policy) -> Step {
    if let Some(step) = failed(nodes, wanted).or_else(|| under_way(nodes, wanted)) {
        return step;
    }
    let mut outdated: Vec<&NodeImage> = nodes.iter().filter(|node| !node.runs(wanted)).collect();
    outdated.sort_by_key(|node| (node.voter, node.leader, &node.name));
    let (mut asks, mut waits) = (None, None);
    for node in outdated {
        if node.health != Health::Healthy {
            let why = format!("{} is not ready ({}); its turn comes when it is", node.name, node.health);
            waits = waits.or(Some(Step::Wait { node: node.name.clone(), why }));
        } else if node.other.as_deref() == Some(wanted) {
            match voters::may_restart(nodes, node, policy) {
                Ok(()) => return Step::Try { node: node.name.clone() },
                Err(step @ Step::Ask { .. }) => asks = asks.or(Some(step)),
                Err(step) => waits = waits.or(Some(step)),
            }
        } else {
            return Step::Write { node: node.name.clone() };
        }
    }
    // While something only needs time, nobody is asked.
    waits.or(asks).unwrap_or(Step::Done)
}

/// The first node that shows that the image is bad.
fn failed(nodes: &[NodeImage], wanted: &str) -> Option<Step> {
    nodes.iter().find_map(|node| {
        let why = match &node.health {
            _ if node.went_back_from.as_deref() == Some(wanted) => format!(
                "{} tried the image, was not well with it and went back by itself; read its log, then roll out another image",
                node.name
            ),
            Health::Failed(why) if node.runs(wanted) || node.trying => format!(
                "{} runs the image and its health check failed ({why}); the other nodes stay as they are; look at it, or \
                 roll back",
                node.name
            ),
            _ => return None,
        };
        Some(Step::Stop { node: node.name.clone(), why })
    })
}

/// What has to end before another node is taken.
fn under_way(nodes: &[NodeImage], wanted: &str) -> Option<Step> {
    nodes.iter().find_map(|node| {
        let name = node.name.clone();
        if node.trying && !node.runs(wanted) {
            return Some(Step::Wait {
                why: format!("{name} restarts into the image; if it waits for its passphrase: meadow unlock {name}"),
                node: name,
            });
        }
        if !node.runs(wanted) {
            return None;
        }
        match &node.health {
            Health::Healthy if node.blessed.as_deref() != Some(wanted) => Some(Step::Bless { node: name }),
            Health::Healthy => None,
            _ if !node.touched && node.blessed.as_deref() == Some(wanted) => None,
            other => {
                Some(Step::Wait { why: format!("{name} runs the image and is not ready yet ({other})"), node: name })
            }
        }
    })
}
