//! The replicated state machine: `Proposal → apply → Applied or Problem`.
//!
//! Pure and deterministic: no clock, no randomness, no I/O; every replica that applies the same proposals in the same
//! order holds the same bytes.

pub mod command;
