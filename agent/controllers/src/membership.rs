//! Which cluster a computer belongs to.

use meadow_model::mesh::MeshView;
use meadow_model::{Fingerprint, Name};
use serde::{Deserialize, Serialize};

/// Kept by a node with durable state, so that it is the same node after a restart, whoever can be reached then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// The cluster's name, for people.
    pub cluster: String,
    /// The cluster's CA.
    pub ca_fingerprint: Fingerprint,
    /// Base URLs of the API.
    pub api: Vec<String>,
    /// The node's name.
    pub node: Name,
    /// The node's number.
    pub node_id: u64,
    /// Its certificate, followed by the CA's.
    pub chain_pem: String,
    /// The key that signs which images the cluster wants, as DER in base64.
    #[serde(default)]
    pub release_key: String,
    /// The mesh as it was last known.
    pub mesh: MeshView,
}
