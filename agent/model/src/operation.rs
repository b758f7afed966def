//! Operations: work that takes a while.

use serde::{Deserialize, Serialize};

use crate::{Kind, Name, Resource, Timestamp};

/// Work that takes a while, and its history.
pub type Operation = Resource<OperationSpec, OperationStatus>;

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationSpec {
    /// Which work, such as `enrol`.
    pub action: String,
    /// The kind of the resource that it works on.
    pub kind: Kind,
    /// The name of that resource.
    pub target: Name,
    /// Who asked for it.
    pub actor: String,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationStatus {
    /// Where it stands.
    pub state: OperationState,
    /// The steps done so far, with their times.
    pub steps: Vec<OperationStep>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// Under way.
    #[default]
    Running,
    /// Done.
    Succeeded,
    /// Ended without its goal.
    Failed,
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationStep {
    /// When.
    pub time: Timestamp,
    /// What.
    pub message: String,
}
