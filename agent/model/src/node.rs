//! Nodes: computers that belong to the cluster.

use std::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::hardware::{Disk, FirmwareState, Hardware, Measures};
use crate::install::InstalledDisk;
use crate::mesh::WireGuardKey;
use crate::network::NetworkView;
use crate::work::WorkReport;
use crate::{Fingerprint, MacAddress, Name, Resource, Timestamp};

/// A computer that belongs to the cluster.
pub type Node = Resource<NodeSpec, NodeStatus>;

/// What identifies a node and what it is wanted for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeSpec {
    /// Its number in the cluster, never used again: its Raft id, and the last part of its mesh address.
    pub id: u64,
    /// Its identity: the key of its certificate.
    pub fingerprint: Fingerprint,
    /// Its public key in the mesh.
    pub wireguard: WireGuardKey,
    /// Its address in the mesh.
    #[schema(value_type = String)]
    pub address: Ipv6Addr,
    /// Whether it votes in Raft.
    pub voter: bool,
    /// Whether it has no durable state: it comes back as another machine after a reboot, and never votes.
    pub ephemeral: bool,
    /// Hardware addresses, to recognise the computer when it comes back with another key.
    pub macs: Vec<MacAddress>,
}

/// What is observed of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeStatus {
    /// Where it stands. Computed when it is read, from the newest report.
    pub state: NodeState,
    /// Why it is not ready, with the next step.
    pub reason: Option<String>,
    /// Where its mesh packets come from.
    #[schema(value_type = Option<String>)]
    pub endpoint: Option<SocketAddr>,
    /// When its newest report came in over the mesh.
    pub last_report: Option<Timestamp>,
    /// When its WireGuard handshake with this node was.
    pub last_handshake: Option<Timestamp>,
    /// Names of the cluster's nodes that do not resolve on it.
    pub unresolved: Vec<Name>,
    /// The other nodes that answered its ping by name in the last report.
    #[serde(default)]
    pub reachable: Vec<Name>,
    /// Its inventory.
    pub hardware: Option<Hardware>,
    /// Its first measures.
    pub measures: Option<Measures>,
    /// The version of its agent.
    pub version: Option<String>,
    /// Its own disk, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<InstalledDisk>,
    /// How its network cards are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkView>,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum NodeState {
    /// A report less than 10 s old came over the mesh, its handshake is less than 3 minutes old, and the names of the
    /// cluster's nodes resolve on it.
    Ready,
    /// It is a node, and one of the conditions of [`NodeState::Ready`] does not hold.
    #[default]
    NotReady,
    /// It had no durable state and its computer came back with another key.
    Lost,
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Lost => "Lost",
        })
    }
}

/// How old a report may be at most for a node to be ready, in milliseconds.
pub const REPORT_MAX_AGE_MS: u64 = 10_000;
/// How old a WireGuard handshake may be at most, in milliseconds: `REJECT_AFTER_TIME` of the WireGuard paper, after
/// which a session is dead.
pub const HANDSHAKE_MAX_AGE_MS: u64 = 180_000;

/// What a node tells of itself every few seconds, over the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeReport {
    /// The version of its agent.
    pub version: String,
    /// Names of the cluster's nodes that do not resolve on it.
    pub unresolved: Vec<Name>,
    /// The other nodes that answered an ICMPv6 echo to the address that their name resolves to.
    pub reachable: Vec<Name>,
    /// The mesh view that it has applied.
    pub mesh_generation: u64,
    /// Seconds since each peer's last handshake, as its own WireGuard sees it.
    pub handshakes: Vec<PeerHandshake>,
    /// Its disks; `None` until it has looked at them.
    #[serde(default)]
    pub disks: Option<NodeDisks>,
    /// The work that it was given.
    #[serde(default)]
    pub work: Vec<WorkReport>,
    /// How its network cards are set; `None` from an agent that does not tell.
    #[serde(default)]
    pub network: Option<NetworkView>,
}

/// A node's newest look at its disks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeDisks {
    /// The disks as they are now.
    pub disks: Vec<Disk>,
    /// The node's own one, where it has one.
    pub installed: Option<InstalledDisk>,
    /// Whether its state survives a restart.
    pub durable: bool,
    /// What its firmware has now; `None` from an agent that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareState>,
}

/// A peer and the age of its last handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeerHandshake {
    /// The peer.
    pub node: Name,
    /// Seconds since its last handshake; `None` where there was none.
    pub age_s: Option<u64>,
}

impl NodeStatus {
    /// Decides [`NodeStatus::state`] and [`NodeStatus::reason`] at time `now` from the other fields.
    #[must_use]
    pub fn judged(mut self, now: Timestamp) -> Self {
        if self.state == NodeState::Lost {
            return self;
        }
        self.reason = self.why_not_ready(now);
        self.state = if self.reason.is_some() { NodeState::NotReady } else { NodeState::Ready };
        self
    }

    fn why_not_ready(&self, now: Timestamp) -> Option<String> {
        let age = |time: Timestamp| now.millis_since(time);
        match self.last_report {
            None => return Some("no report came over the mesh yet".to_owned()),
            Some(time) if age(time) >= REPORT_MAX_AGE_MS => {
                return Some(format!("its last report is {} s old; look at its console", age(time) / 1000));
            }
            Some(_) => {}
        }
        match self.last_handshake {
            None => return Some("no WireGuard handshake yet; is UDP 51820 open between the nodes?".to_owned()),
            Some(time) if age(time) >= HANDSHAKE_MAX_AGE_MS => {
                return Some(format!("its WireGuard handshake is {} s old", age(time) / 1000));
            }
            Some(_) => {}
        }
        if self.unresolved.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.unresolved.iter().map(Name::as_str).collect();
        Some(format!("these names do not resolve on it: {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn healthy() -> NodeStatus {
        NodeStatus {
            last_report: Some(now().plus_seconds(-1)),
            last_handshake: Some(now().plus_seconds(-100)),
            ..NodeStatus::default()
        }
    }

    #[test]
    fn ready_needs_all_three_conditions() {
        assert_eq!(healthy().judged(now()).state, NodeState::Ready);
        let old_report = NodeStatus { last_report: Some(now().plus_seconds(-10)), ..healthy() };
        let no_report = NodeStatus { last_report: None, ..healthy() };
        let old_handshake = NodeStatus { last_handshake: Some(now().plus_seconds(-180)), ..healthy() };
        let no_handshake = NodeStatus { last_handshake: None, ..healthy() };
        let nameless = NodeStatus { unresolved: vec![Name::new("node-2").expect("valid")], ..healthy() };
        for status in [old_report, no_report, old_handshake, no_handshake, nameless] {
            let judged = status.judged(now());
            assert_eq!(judged.state, NodeState::NotReady);
            assert!(judged.reason.is_some());
        }
    }

    #[test]
    fn lost_stays_lost() {
        let lost = NodeStatus { state: NodeState::Lost, reason: Some("came back".to_owned()), ..healthy() };
        assert_eq!(lost.clone().judged(now()), lost);
    }
}
