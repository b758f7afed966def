//! Events: what happened to the cluster's resources.

use serde::{Deserialize, Serialize};

use crate::{Kind, Timestamp};

/// Something that happened, kept in the replicated state (the newest thousand).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Counts up without gaps: the position in the history.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// Stable code, such as `machine-pending`.
    pub code: String,
    /// The kind of resource that it is about.
    pub kind: Kind,
    /// The name of that resource.
    pub subject: String,
    /// Who did it: a user, a node, or `meadow` itself.
    pub actor: String,
    /// For people, with the next step where there is one.
    pub message: String,
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Info,
    /// A person should look.
    Warning,
}
