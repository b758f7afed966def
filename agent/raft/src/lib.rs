//! The replicated state on disk: the `raft` crate's node over a log that is synced before anything is acknowledged and
//! checked whenever it is read.
//!
//! [`Replica::open`] starts one thread that owns the node and its store; everybody else talks to it through a
//! [`ReplicaHandle`]. Proposals that wait while the disk syncs go into the next batch together, so that one sync
//! serves them all. There is one voter so far: nothing ticks, an idle replica neither wakes up nor syncs.

mod backend;
mod engine;
mod error;
mod handle;
mod logger;
mod proposal;
mod record;
mod replica;
mod store;

pub use error::StoreError;
pub use handle::ReplicaHandle;
pub use proposal::MAX_PROPOSAL_BYTES;
pub use replica::{Replica, ReplicaConfig};
pub use store::FILE_NAME;
