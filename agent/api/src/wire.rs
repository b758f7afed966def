//! Bodies of requests and answers that are no resources of the model.

use std::net::IpAddr;

use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::install::InstallMode;
use meadow_model::{MacAddress, Name};
use serde::{Deserialize, Serialize};

/// Shortest and longest life of a boot ticket, in seconds.
pub const TICKET_TTL_S: std::ops::RangeInclusive<u32> = 10..=604_800;
/// Life of a boot ticket where the caller does not say, in seconds.
pub const TICKET_DEFAULT_TTL_S: u32 = 3_600;
/// Shortest and longest life of a join token, in seconds.
pub const TOKEN_TTL_S: std::ops::RangeInclusive<u32> = 10..=604_800;
/// Most machines that may use one join token.
pub const TOKEN_MAX_USES: u32 = 1_000;
/// Shortest and longest time that the PXE window stays open, in seconds.
pub const PXE_OPEN_S: std::ops::RangeInclusive<u32> = 1..=86_400;

/// Shortest and longest time that packets are captured, in seconds.
pub const CAPTURE_S: std::ops::RangeInclusive<u32> = 1..=3_600;

/// Names a machine before it was seen: `POST /v1/machines`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMachine {
    /// A hardware address of the machine.
    pub mac: MacAddress,
    /// What the PXE server does with it.
    #[serde(default)]
    pub boot: BootPolicy,
    /// Treat an iPXE in the machine's ROM as if it were plain PXE.
    #[serde(default)]
    pub plain_pxe: bool,
    /// What it is given beside that.
    #[serde(default)]
    pub boot_options: BootOptions,
}

/// Changes a machine: `PATCH /v1/machines/{name}`, a JSON merge patch (RFC 7396) of the fields that may be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachinePatch {
    /// The part of the machine's spec that changes.
    pub spec: MachineSpecPatch,
}

/// The part of a machine's spec that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineSpecPatch {
    /// What the PXE server does with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootPolicy>,
    /// Treat an iPXE in the machine's ROM as if it were plain PXE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_pxe: Option<bool>,
    /// What it is given beside that, in place of what it was given before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_options: Option<BootOptions>,
}

/// Changes the cluster: `PATCH /v1/cluster`, a JSON merge patch (RFC 7396) of the fields that may be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterPatch {
    /// The part of the cluster's spec that changes.
    pub spec: ClusterSpecPatch,
}

/// The part of the cluster's spec that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpecPatch {
    /// All admins' public SSH keys from now on, in OpenSSH form: at most 64, each once.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "public_keys")]
    pub authorized_keys: Option<Vec<String>>,
}

/// The parser's own text would repeat what is not a list, which may be the private key that somebody took for one.
fn public_keys<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    serde_json::from_value(value).map_err(|_| {
        serde::de::Error::custom("authorized_keys has to be a list of texts, each a public key in OpenSSH form")
    })
}

/// Lets a machine become a node: `POST /v1/machines/{name}/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApproveRequest {
    /// The name of the node; chosen by the cluster where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// The lost node whose name and address it takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Name>,
}

/// Plans the installation of a machine that is no node yet: `POST /v1/machines/{name}/install/plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanMachineRequest {
    /// Which disk.
    pub disk: DiskChoice,
    /// How much of a system.
    #[serde(default)]
    pub mode: InstallMode,
}

/// Which disk of a machine is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskChoice {
    /// The one with this serial number.
    Serial(String),
    /// The smallest one on which nothing lies.
    SmallestBlank,
}

/// Arms the next boot of a machine with a ticket: `POST /v1/machines/arm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmRequest {
    /// The machine's name, or a MAC address that may be unknown so far.
    pub machine: String,
    /// The name of the node; chosen by the cluster where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// The lost node whose name and address it takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Name>,
    /// Seconds that the ticket is valid: 10 to 604800, 3600 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// Opens the PXE window: `POST /v1/pxe/open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenPxeRequest {
    /// Seconds that every machine is booted: 1 to 86400.
    pub for_s: u32,
}

/// Captures the packets of one machine: `POST /v1/pxe/captures`. It ends early when nobody fetches it for 30 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// Its network card.
    pub mac: MacAddress,
    /// For how many seconds: 1 to 3600.
    pub for_s: u32,
}

/// A part of a capture: `GET /v1/pxe/captures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CapturePart {
    /// Bytes of a pcap file from where the caller asked, base64.
    pub data: String,
    /// Whether nothing comes behind them.
    pub done: bool,
    /// The machine's address in a network behind a router: its packets are captured too. `null` where it has none.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
}

/// The agent's health: `GET /v1/health`, 200 where it is well and 503 where it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Health {
    /// Whether it does what it is there for.
    pub ok: bool,
    /// What is wrong, with the next step; empty where all is well.
    pub why: Vec<String>,
    /// Version of the agent.
    pub version: String,
}

/// What was done, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Said {
    /// In words.
    pub message: String,
}
