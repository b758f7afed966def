//! The replicated state machine: `Proposal → apply → Applied or Problem`.
//!
//! Pure and deterministic: no clock, no randomness, no I/O; every replica that applies the same proposals in the same
//! order holds the same bytes. All maps are persistent (they share structure), so that a copy of the whole state costs
//! nothing: [`State::apply`] works on a copy and keeps it only if the command was accepted.

mod applied;
mod apply;
pub mod command;
mod limits;
mod look_alike;
mod query;
mod snapshot;
mod state;
mod table;

pub use applied::{Applied, Outcome, Standing};
pub use limits::{
    MAX_ANSWERS, MAX_EVENTS, MAX_HARDWARE_BYTES, MAX_HINTS, MAX_OPERATIONS, MAX_STRANGERS_EVENTS, MAX_TOKEN_USES,
    MAX_TOKENS, MAX_UNDECIDED,
};
pub use query::BootChoice;
pub use snapshot::{SCHEMA, SnapshotError};
pub use state::{Revocation, State};
pub use table::Table;
