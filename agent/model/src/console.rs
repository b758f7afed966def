//! What the console of a machine shows: `GET /v1/self` on the agent's local socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::code::VerificationCode;
use crate::{Fingerprint, Name, Timestamp};

/// The agent's view of the machine it runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SelfView {
    /// The node's or the machine's name, once the cluster gave one.
    pub name: Option<Name>,
    /// Where it stands.
    pub state: SelfState,
    /// What it waits for, or what is wrong, with the next step.
    pub detail: String,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// The cluster CA's fingerprint.
    pub ca_fingerprint: Option<Fingerprint>,
    /// This machine's identity.
    pub fingerprint: Option<Fingerprint>,
    /// The code to compare before approving.
    pub code: Option<VerificationCode>,
    /// Addresses with their interfaces.
    pub addresses: Vec<InterfaceAddress>,
    /// Where the API of this or the seed node is.
    pub api: Vec<String>,
    /// What happened last, newest last.
    pub events: Vec<SelfEvent>,
    /// Version of the agent.
    pub version: String,
}

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SelfState {
    /// The agent starts: inventory, measures.
    Starting,
    /// It knows no cluster.
    Unconfigured,
    /// It asks the cluster to be let in.
    Enrolling,
    /// It waits for a person to approve it.
    Pending,
    /// It was turned away.
    Rejected,
    /// It is a node and its reports arrive.
    Ready,
    /// It is a node and something is missing.
    Degraded,
}

/// An address and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InterfaceAddress {
    /// Interface name.
    pub interface: String,
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
}

/// A line of the console's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SelfEvent {
    /// When.
    pub time: Timestamp,
    /// What.
    pub message: String,
}
