//! Keeps the admins' SSH keys in this node's record as the cluster has them.
//!
//! A voter says them in its answer to a report for as long as the node reports others: so it does not matter when they were
//! changed, when the node was off, or where either of the two was ended.

use std::time::Duration;

use meadow_model::Fingerprint;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::node_tasks::NodeTasks;

/// When keys are tried again that the disk did not take.
const AGAIN: Duration = Duration::from_secs(30);

/// Writes the keys that are `wanted`, until nobody can want any more. `ca` is the cluster's: only its own disk is changed.
pub async fn keep(tasks: &NodeTasks, ca: Fingerprint, mut wanted: watch::Receiver<Option<Vec<String>>>) {
    loop {
        let keys = wanted.borrow_and_update().clone();
        let mut pause = None;
        if let Some(keys) = keys {
            match tasks.set_ssh_keys(keys, ca).await {
                Ok(()) => info!("the admins' newest SSH keys lie on this node's disk"),
                Err(error) => {
                    warn!("the admins' newest SSH keys do not lie on this node's disk: {error}");
                    pause = Some(AGAIN);
                }
            }
        }
        let changed = async { wanted.changed().await.is_ok() };
        let goes_on = match pause {
            Some(pause) => tokio::time::timeout(pause, changed).await.unwrap_or(true),
            None => changed.await,
        };
        if !goes_on {
            return;
        }
    }
}
