//! Addresses that the boot server gives out as full DHCP.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{MacAddress, Timestamp};

/// What is known of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PxeLease {
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The network card that has it, or had it last; `None` where a device uses it that never asked.
    pub mac: Option<MacAddress>,
    /// The name that the client gave itself, if it did since the boot server started.
    pub hostname: Option<String>,
    /// Who has it now.
    pub state: LeaseState,
    /// When that ends, or has ended; `None` for a reservation that was not used.
    pub expires: Option<Timestamp>,
    /// Whether the settings reserve it for this card.
    pub reserved: bool,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseState {
    /// It was offered to a client that did not ask for it yet.
    Offered,
    /// A client has it.
    Active,
    /// Nobody has it; the client that had it gets it again as long as there are others.
    Ended,
    /// A device uses it without a lease: it is given to nobody for a while.
    SetAside,
    /// It is reserved, and its card never asked.
    Reserved,
}

impl std::fmt::Display for LeaseState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Offered => "offered",
            Self::Active => "active",
            Self::Ended => "ended",
            Self::SetAside => "set-aside",
            Self::Reserved => "reserved",
        })
    }
}
