//! Machines: computers that were seen and are not, or not yet, nodes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::boot::{BootOptions, BootPolicy};
use crate::code::VerificationCode;
use crate::hardware::{Hardware, Measures};
use crate::{Fingerprint, MacAddress, Name, Resource, Timestamp};

/// A computer that was seen on the network or asked to enrol.
pub type Machine = Resource<MachineSpec, MachineStatus>;

/// What an admin wants of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineSpec {
    /// What the PXE server does with it.
    pub boot: BootPolicy,
    /// Treat an iPXE in the machine's ROM as if it were plain PXE.
    pub plain_pxe: bool,
    /// What it is given beside that.
    #[serde(default)]
    pub boot_options: BootOptions,
    /// Whether it may become a node.
    pub decision: Decision,
    /// Set while the next boot is armed with a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed: Option<Armed>,
}

/// Whether a machine may become a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Decision {
    /// Nobody has decided yet.
    #[default]
    Undecided,
    /// It is a node from now on.
    Approved {
        /// The node that it became.
        node: Name,
        /// Who decided: a user, `ticket` or `token <id>`.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It was turned away.
    Rejected {
        /// Who decided.
        by: String,
        /// When.
        at: Timestamp,
    },
}

/// The next boot is armed: the first key that comes with the ticket is approved by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Armed {
    /// Until when.
    pub expires: Timestamp,
    /// The name the node gets; chosen by the cluster where absent.
    pub node: Option<Name>,
    /// The lost node whose name and address it takes over.
    pub replaces: Option<Name>,
    /// The key that the ticket is bound to, once it was used.
    pub bound: Option<Fingerprint>,
}

/// What is known of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineStatus {
    /// Where it stands.
    pub phase: MachinePhase,
    /// The hardware address it was seen with first.
    pub mac: Option<MacAddress>,
    /// Its identity, once it asked to enrol.
    pub fingerprint: Option<Fingerprint>,
    /// What its console shows beside the fingerprint.
    pub code: Option<VerificationCode>,
    /// Where it asked from.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The processors that it has, as Rust names them, such as `x86_64`, where its firmware told the PXE server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Its inventory.
    pub hardware: Option<Hardware>,
    /// Its first measures.
    pub measures: Option<Measures>,
    /// What an admin should know before deciding.
    pub hints: Vec<String>,
    /// When it was last heard of (seen over PXE or asking to enrol).
    pub last_seen: Option<Timestamp>,
}

/// Where a machine stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum MachinePhase {
    /// It was seen booting, or named by an admin, and did not ask to enrol.
    #[default]
    Seen,
    /// It asked to enrol and waits for a person.
    Pending,
    /// It is a node.
    Approved,
    /// It was turned away.
    Rejected,
}

impl std::fmt::Display for MachinePhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Seen => "Seen",
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
        })
    }
}
