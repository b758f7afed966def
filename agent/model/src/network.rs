//! How a node's network cards are set: what a person asks for, what is tried, what is kept.

mod check;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::MacAddress;
use crate::preboot::StaticNetwork;

pub use check::resolve;

/// How long a setting is tried before the one before comes back by itself, in seconds. `meadow-network-back.timer` says the
/// same.
pub const TRIAL_SECONDS: u64 = 60;

/// A network card, as the kernel names it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CardId {
    /// The kernel's name.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddress,
}

/// `POST …/network/try`. The cards that it names do what is written here; others stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkChange {
    /// The networks of these cards, one or more for each.
    pub networks: Vec<NetworkWish>,
}

/// One network that a card is to be in, as a person writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkWish {
    /// The card: its MAC address or the kernel's name.
    pub card: String,
    /// VLAN identifier, 1 to 4094, where the port is tagged.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// Address and prefix length, such as `192.0.2.7/24`; absent: DHCP.
    #[serde(default)]
    pub address: Option<String>,
    /// The router; only with an address.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// DNS servers, in this order; beside those of DHCP.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<IpAddr>,
}

/// One network that a card is in, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CardNetwork {
    /// The card.
    pub card: CardId,
    /// VLAN identifier, where the port is tagged.
    pub vlan: Option<u16>,
    /// Address and prefix length; `None`: DHCP.
    pub address: Option<String>,
    /// The router.
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// DNS servers.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<IpAddr>,
}

/// What the helper with rights knows of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNetwork {
    /// What counts without a trial; `None`: nothing was confirmed since the start, and no record says anything.
    pub kept: Option<Vec<StaticNetwork>>,
    /// What is tried now.
    pub trial: Option<NetworkTrial>,
    /// Whether what is confirmed survives a restart.
    pub lasts: bool,
}

/// Settings that go by themselves unless somebody confirms them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkTrial {
    /// All settings, as they are while this is tried.
    pub networks: Vec<CardNetwork>,
    /// Seconds until those before come back.
    pub left_s: u64,
}

/// `GET /v1/self/network`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkView {
    /// The cards.
    pub cards: Vec<CardView>,
    /// What is tried now.
    pub trial: Option<NetworkTrial>,
    /// Whether what is confirmed survives a restart.
    pub lasts: bool,
    /// Why nothing can be changed here, with the next step; `None` where it can.
    pub locked: Option<String>,
}

/// A network card with what it does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CardView {
    /// The card.
    pub card: CardId,
    /// Whether a cable with a link is in.
    pub carrier: bool,
    /// Addresses that it has now, with prefix lengths; also those of its VLANs.
    pub addresses: Vec<String>,
    /// The router that it uses now.
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// What is confirmed for it; empty: DHCP.
    pub networks: Vec<CardNetwork>,
}

impl CardNetwork {
    /// Whether the card does the same without being told anything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.vlan.is_none() && self.address.is_none() && self.dns.is_empty()
    }

    /// As the record of the partition `meadow-preboot` has it.
    #[must_use]
    pub fn record(&self) -> StaticNetwork {
        StaticNetwork {
            mac: Some(self.card.mac),
            vlan: self.vlan,
            address: self.address.clone().unwrap_or_else(|| StaticNetwork::DHCP.to_owned()),
            gateway: self.gateway,
            dns: self.dns.clone(),
        }
    }

    /// What a record means for the cards that are there.
    #[must_use]
    pub fn of_records(records: &[StaticNetwork], cards: &[CardId]) -> Vec<Self> {
        let of_card = |record: &StaticNetwork, card: &CardId| {
            record.mac.is_none_or(|mac| mac == card.mac).then(|| Self {
                card: card.clone(),
                vlan: record.vlan,
                address: (record.address != StaticNetwork::DHCP).then(|| record.address.clone()),
                gateway: record.gateway,
                dns: record.dns.clone(),
            })
        };
        records.iter().flat_map(|record| cards.iter().filter_map(|card| of_card(record, card))).collect()
    }
}

impl std::fmt::Display for CardNetwork {
    /// `dhcp`, or address and router, with the VLAN before.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(vlan) = self.vlan {
            write!(f, "VLAN {vlan}: ")?;
        }
        f.write_str(self.address.as_deref().unwrap_or("DHCP"))?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        for (index, server) in self.dns.iter().enumerate() {
            write!(f, "{}{server}", if index == 0 { ", DNS " } else { " " })?;
        }
        Ok(())
    }
}
