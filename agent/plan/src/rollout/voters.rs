//! The voter rule: a restart never leaves less than a majority of the voters healthy.

use super::{Health, NodeImage, Policy, Step};

/// Whether `node` may restart now; else the step that says what to do instead.
pub(super) fn may_restart(nodes: &[NodeImage], node: &NodeImage, policy: &Policy) -> Result<(), Step> {
    if !node.voter {
        return Ok(());
    }
    let voters = nodes.iter().filter(|node| node.voter).count();
    let majority = voters / 2 + 1;
    let others = || nodes.iter().filter(|other| other.voter && other.name != node.name);
    let left = others().filter(|other| other.health == Health::Healthy).count();
    if left >= majority {
        return Ok(());
    }
    let name = &node.name;
    match others().find(|other| other.health != Health::Healthy) {
        Some(away) => {
            let why = format!(
                "{} is not ready ({}), and of {voters} voters {majority} must be while {name} restarts",
                away.name, away.health
            );
            Err(Step::Wait { node: away.name.clone(), why })
        }
        // All others are healthy and no majority: waiting does not help, only an agreement does.
        None if policy.without_majority => Ok(()),
        None => Err(Step::Ask { node: name.clone(), why: question(name, voters) }),
    }
}

fn question(name: &meadow_model::Name, voters: usize) -> String {
    let who = if voters == 1 { "the only voter" } else { "one of two voters" };
    format!(
        "{name} is {who}: while it restarts nothing can be changed in the cluster, and if it does not come back, nothing \
         works until somebody repairs it; agree to it, or add voters first"
    )
}
