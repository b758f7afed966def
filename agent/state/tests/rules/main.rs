//! The rules of the replicated state, each as a table or a short story.

mod approval;
mod claims;
mod credentials;
mod disks;
mod duplicates;
mod history;
mod idempotency;
mod images;
mod lost_nodes;
mod machines;
mod nodes;
mod snapshots;
mod ssh_keys;
mod support;
mod tokens;
