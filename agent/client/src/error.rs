//! What can go wrong.

use std::path::PathBuf;

use meadow_model::Problem;
use meadow_pki::PkiError;

use crate::{ContextError, InvalidEndpoint};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The API answered that it cannot do that.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// No address of the cluster answered.
    #[error("the cluster cannot be reached; tried {}. Is meadowd running there, and is this computer on its network?", .tried.join("; "))]
    Unreachable {
        /// Each address with what happened there.
        tried: Vec<String>,
    },
    /// Whoever answers is not of the cluster whose CA is pinned.
    #[error(
        "{place} belongs to another cluster than the one whose key is expected; is the address right? If it is, somebody may sit between the two"
    )]
    OtherCluster {
        /// The address.
        place: String,
    },
    /// The agent of this computer does not answer on its socket.
    #[error("the agent does not answer on {path}: {why}. Is meadowd running on this computer, and are you root?")]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// What came back is no answer of Meadow's API.
    #[error("{0} did not answer as Meadow's API does: {1}. Are both of the same version?")]
    Protocol(String, String),
    /// The context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// An address in the context is wrong.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The certificate or key of the context cannot be used.
    #[error("the context's certificate cannot be used: {0}")]
    Pki(#[from] PkiError),
}

impl ClientError {
    /// The problem that the API answered with, if it was one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}
