//! Work that a node does for the cluster: handed out in the answer to its reports, until it says that it ended.
//!
//! The secrets in it are sealed to the node, so that the voter, which keeps the work in memory, cannot read them.

use serde::{Deserialize, Serialize};

use crate::install::{InstallPlan, Sealed};
use crate::mesh::{MeshView, WireGuardKey};
use crate::network::NetworkChange;
use crate::preboot::StaticNetwork;
use crate::reset::ResetPlan;
use crate::{Fingerprint, Name, action};

/// The answer to a node's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReportReply {
    /// The mesh as the node is to see it.
    pub mesh: MeshView,
    /// What the node is to do; it leaves the list once the node has said how it ended.
    #[serde(default)]
    pub work: Vec<NodeWork>,
    /// The nodes that wait for their passphrase, for whoever stands before a console.
    #[serde(default)]
    pub waits_for_unlock: Vec<Name>,
    /// The admins' SSH keys for the record on the node's disk, until the node reports that they lie there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<Vec<String>>,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeWork {
    /// The operation that it belongs to.
    pub operation: Name,
    /// What to do.
    pub task: NodeTask,
}

/// What a node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum NodeTask {
    /// Install itself onto a disk.
    Install(Box<InstallTask>),
    /// Change who can open its state.
    Keys(KeyTask),
    /// Restart.
    Reboot,
    /// Erase its state, and restart as a new machine.
    Reset(Box<ResetPlan>),
    /// Write the system anew that this node boots from; its state stays as it is.
    Reinstall(Reinstall),
    /// Write the image of a stick into the slot that does not run, and restart into it once.
    UpdateFromStick(StickUpdate),
    /// Write a support bundle onto a stick.
    Support(SupportTask),
    /// Fetch an image and write it into the slot that does not run.
    WriteImage(Box<ImageTask>),
    /// Restart into the slot with this image, once.
    TryImage {
        /// [`crate::image::ImageSpec::digest`].
        digest: String,
        /// Whether somebody agreed to an older image than the one that runs.
        #[serde(default)]
        allow_older: bool,
    },
    /// Make the running slot the one that is booted from now on.
    BlessImage,
    /// Set network cards for a minute.
    TryNetwork(NetworkChange),
    /// Keep the network settings that are tried.
    ConfirmNetwork,
    /// Bring the network settings from before the trial back.
    NetworkBack,
}

impl NodeTask {
    /// What its operation is called.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Install(_) => action::INSTALL,
            Self::Keys(_) => action::KEYS,
            Self::Reboot => action::REBOOT,
            Self::Reset(_) => action::RESET,
            Self::Reinstall(_) => action::REINSTALL,
            Self::UpdateFromStick(_) => action::UPDATE,
            Self::Support(_) => action::SUPPORT,
            Self::WriteImage(_) => action::WRITE_IMAGE,
            Self::TryImage { .. } => action::TRY_IMAGE,
            Self::BlessImage => action::BLESS_IMAGE,
            Self::TryNetwork(_) => action::TRY_NETWORK,
            Self::ConfirmNetwork => action::CONFIRM_NETWORK,
            Self::NetworkBack => action::NETWORK_BACK,
        }
    }
}

/// `POST /v1/nodes/{name}/update`: an update that a person carried to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StickUpdate {
    /// Serial number of the stick.
    pub stick: String,
    /// Also where the image that runs is newer.
    #[serde(default)]
    pub allow_older: bool,
}

/// `POST /v1/nodes/{name}/reinstall`: the system of a node anew, with the image that the boot server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reinstall {
    /// Also where what is left of the node's system says that it had a newer image.
    #[serde(default)]
    pub allow_older: bool,
}

/// `POST /v1/nodes/{name}/support`: a support bundle for whoever helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SupportTask {
    /// Serial number of the stick that it goes onto.
    pub stick: String,
}

/// An image that the cluster adopted, for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageTask {
    /// [`crate::image::ImageSpec::digest`].
    pub digest: String,
    /// [`crate::image::ImageSpec::release_signature`].
    pub release_signature: String,
    /// Who has it, host and port, the nearest first.
    pub sources: Vec<String>,
    /// Whether somebody agreed to an older image than the one that runs.
    #[serde(default)]
    pub allow_older: bool,
}

/// An installation that somebody consented to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstallTask {
    /// What was consented to.
    pub plan: InstallPlan,
    /// The passphrase of the state ([`passphrase_purpose`]).
    pub passphrase: Sealed,
    /// Whom the recovery key goes to.
    pub reply_to: WireGuardKey,
    /// Who may unlock over SSH.
    pub authorized_keys: Vec<String>,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster CA's key.
    pub ca_fingerprint: Fingerprint,
    /// Network of the initramfs; empty: DHCP.
    #[serde(default)]
    pub network: Vec<StaticNetwork>,
    /// Whether to restart into the new system.
    pub reboot: bool,
}

/// A change of the key slots. The existing secret opens the volume; both travel sealed ([`passphrase_purpose`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum KeyTask {
    /// Adds a passphrase.
    AddPassphrase {
        /// A passphrase or recovery key that opens the volume.
        existing: Sealed,
        /// The new passphrase.
        new: Sealed,
        /// For people.
        label: String,
    },
    /// Lets the node's TPM open the state, in place of TPM slots of before.
    AddTpm {
        /// A passphrase or recovery key that opens the volume.
        existing: Sealed,
        /// A PIN that has to be typed beside it, if any.
        pin: Option<Sealed>,
        /// For people.
        label: String,
    },
    /// Adds a recovery key. Those of before open too, until [`KeyTask::EndOlderRecoveryKeys`]: an answer can be lost.
    NewRecoveryKey {
        /// A passphrase or recovery key that opens the volume.
        existing: Sealed,
        /// Whom the recovery key goes to.
        reply_to: WireGuardKey,
    },
    /// Removes every recovery key but one.
    EndOlderRecoveryKeys {
        /// The recovery key that stays. It has to open the volume: whoever sends it has it.
        kept: Sealed,
    },
    /// Makes a backup of the header with all key slots, which the answer holds.
    BackUpHeader {
        /// A passphrase or recovery key that opens the volume; it is tried on the backup.
        existing: Sealed,
        /// Whom the backup goes to.
        reply_to: WireGuardKey,
    },
    /// Removes a slot.
    Remove {
        /// Its number.
        slot: u32,
    },
}

/// How far a piece of work is, in the node's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkReport {
    /// The operation that it belongs to.
    pub operation: Name,
    /// What it does now, or did last.
    pub step: String,
    /// How far that step is.
    pub percent: Option<u8>,
    /// How it ended; `None` while it goes on.
    pub end: Option<WorkEnd>,
}

/// How a piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum WorkEnd {
    /// As it was wanted.
    Done {
        /// A secret for whom asked, sealed to the key that came with the request ([`answer_purpose`]).
        answer: Option<Sealed>,
    },
    /// Not done.
    Failed {
        /// Why, with the next step.
        why: String,
    },
}

/// What a passphrase on its way to `node` is bound to.
#[must_use]
pub fn passphrase_purpose(node: &Name) -> String {
    format!("passphrase for {node}")
}

/// What a backup of a LUKS2 header on its way from `node` is bound to.
#[must_use]
pub fn header_purpose(node: &Name) -> String {
    format!("header of {node}")
}

/// What a recovery key on its way from `node` is bound to.
#[must_use]
pub fn answer_purpose(node: &Name) -> String {
    format!("recovery key of {node}")
}
