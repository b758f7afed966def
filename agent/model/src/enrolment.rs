//! The messages by which a machine becomes a node. See `meadow-enroll` for the protocol.
//!
//! All of them travel over TLS in which the machine shows a self-signed certificate of its identity key, so the cluster
//! knows which key it talks to and signs that one; the machine has pinned the cluster's CA or checks
//! [`HelloReply::proof`].

use serde::{Deserialize, Serialize};

use crate::boot::BootReport;
use crate::hardware::{Hardware, Measures};
use crate::mesh::{MeshView, WireGuardKey};
use crate::{MacAddress, Name, Secret};

/// 32 bytes in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes32(pub [u8; 32]);

/// A text that is not 32 bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct InvalidBytes32;

impl From<Bytes32> for String {
    fn from(bytes: Bytes32) -> Self {
        data_encoding::HEXLOWER.encode(&bytes.0)
    }
}

impl TryFrom<String> for Bytes32 {
    type Error = InvalidBytes32;

    fn try_from(text: String) -> Result<Self, InvalidBytes32> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| InvalidBytes32)?;
        bytes.try_into().map(Self).map_err(|_| InvalidBytes32)
    }
}

/// The first message: `POST /v1/enrolment/hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Hello {
    /// Commitment to the machine's nonce ([`crate::code::commitment`]).
    pub commitment: Bytes32,
    /// The id of the token it holds.
    pub token_id: Option<String>,
}

/// The cluster's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HelloReply {
    /// The cluster's nonce.
    pub nonce: Bytes32,
    /// The cluster's name.
    pub cluster: Name,
    /// The cluster CA's certificate, PEM.
    pub ca_pem: String,
    /// Proof that the cluster knows the token.
    pub proof: Option<Bytes32>,
}

/// The second message: `POST /v1/enrolment/claim`. May be sent again; the answer is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Claim {
    /// The machine's nonce, as committed to.
    pub nonce: Bytes32,
    /// Proof that the machine knows the token named in [`Hello`].
    pub proof: Option<Bytes32>,
    /// The ticket of a machine whose boot was armed.
    pub ticket: Option<Secret<String>>,
    /// Its public key in the mesh.
    pub wireguard: WireGuardKey,
    /// Inventory.
    pub hardware: Hardware,
    /// First measures, once they are made.
    pub measures: Option<Measures>,
    /// How it booted, for netbooted machines.
    pub boot: Option<BootReport>,
    /// Whether it has no durable state.
    pub ephemeral: bool,
    /// The name it would like.
    pub wanted_name: Option<Name>,
}

/// Where a claim stands: the answer to [`Claim`] and to `GET /v1/enrolment/claim`, asked again until it is decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ClaimReply {
    /// It waits for a person.
    Pending {
        /// The machine's name at the cluster, what the person types.
        machine: Name,
        /// Why it waits.
        reason: String,
    },
    /// It is a node.
    Approved(Box<Admission>),
    /// It was turned away.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// What a machine needs to be a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Admission {
    /// Its number.
    pub node_id: u64,
    /// Certificate for its identity key, signed by the cluster's CA, PEM.
    pub certificate_pem: String,
    /// The cluster CA's certificate, PEM.
    pub ca_pem: String,
    /// The mesh.
    pub mesh: MeshView,
    /// [`crate::cluster::ClusterSpec::release_key`].
    #[serde(default)]
    pub release_key: String,
}

/// The hardware addresses of an inventory.
#[must_use]
pub fn macs(hardware: &Hardware) -> Vec<MacAddress> {
    hardware.nics.iter().map(|nic| nic.mac).collect()
}
