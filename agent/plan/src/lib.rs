//! Planners: pure functions from what is wanted and what is there to what is to be done.
//!
//! A plan holds every choice; whoever carries it out makes none. There is no clock, no randomness and no I/O here, so the
//! same input always gives the same plan, and what a person consented to is what happens.

mod contents;
pub mod flash;
pub mod install;
pub mod layout;
pub mod network;
mod refusal;
pub mod reset;
pub mod rollout;

pub use refusal::Refusal;
