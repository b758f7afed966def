//! The cluster itself.

use serde::{Deserialize, Serialize};

use crate::mesh::MeshPrefix;
use crate::{Fingerprint, Name, Resource, Timestamp};

/// The cluster; there is one, named like its resource.
pub type Cluster = Resource<ClusterSpec, ClusterStatus>;

/// What was decided by `meadow init`, and by admins since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterSpec {
    /// The CA that signs nodes' and admins' certificates.
    pub ca_fingerprint: Fingerprint,
    /// Where the nodes' addresses come from.
    pub mesh: MeshPrefix,
    /// Admins' public keys in OpenSSH form, for machines in the initramfs.
    pub authorized_keys: Vec<String>,
    /// The key that signs what images the cluster wants, as DER (`SubjectPublicKeyInfo`) in base64.
    #[serde(default)]
    pub release_key: String,
    /// Until when every machine that asks over PXE is booted.
    pub pxe_open_until: Option<Timestamp>,
}

/// What is observed of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterStatus {
    /// The node that leads Raft, where one does.
    pub leader: Option<Name>,
    /// How many nodes are ready.
    pub ready: u32,
    /// How many nodes there are.
    pub nodes: u32,
    /// How many machines wait for a person.
    pub pending: u32,
    /// What a person should look at, with the next step.
    pub warnings: Vec<String>,
    /// Nodes on whose disks other SSH keys lie than [`ClusterSpec::authorized_keys`], or which do not tell: what unlocks
    /// them after a restart is what unlocked them before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys_behind: Vec<Name>,
}
