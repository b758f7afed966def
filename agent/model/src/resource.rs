//! What all resources have in common.

use serde::{Deserialize, Serialize};

use crate::{Name, Timestamp};

/// The kinds of resources that the API serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Kind {
    /// The cluster itself; there is one.
    Cluster,
    /// A computer that was seen and is not, or not yet, a node.
    Machine,
    /// A computer that belongs to the cluster.
    Node,
    /// A secret that lets computers enrol.
    Token,
    /// Work that takes a while.
    Operation,
    /// Something that happened.
    Event,
    /// An image that the cluster adopted.
    Image,
}

/// What every resource carries beside its spec and its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Metadata {
    /// The name, unique among the resources of one kind.
    pub name: Name,
    /// Grows with every change of the resource; the strong `ETag` of the API.
    pub revision: u64,
    /// When it was created.
    pub created: Timestamp,
}

/// A noun of the API: what somebody wants (`spec`) and what is (`status`).
///
/// Users and planners write `spec`; the one owning controller writes `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Resource<Spec, Status> {
    /// Which noun it is.
    pub kind: Kind,
    /// Name, revision, time of creation.
    pub metadata: Metadata,
    /// The desired state.
    pub spec: Spec,
    /// The observed state.
    pub status: Status,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct List<T> {
    /// Version of this JSON form; changes only when a field goes or changes its meaning.
    pub version: u32,
    /// The revision of the whole state that was read.
    pub revision: u64,
    /// The resources of this page.
    pub items: Vec<T>,
    /// Give this as `page` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page: Option<String>,
}
