//! A node's own disk: what is asked for, what was planned, what lies there now.

use serde::{Deserialize, Serialize};

use crate::image::SlotImage;
use crate::mesh::WireGuardKey;
use crate::network::{CardId, CardNetwork, KnownNetwork};
use crate::preboot::StaticNetwork;
use crate::reset::{ErasedDisk, ResetPlan};
use crate::{Name, Secret, Timestamp};

/// How much of a system a disk is to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstallMode {
    /// The node boots from this disk.
    #[default]
    System,
    /// The node boots over the network; only its state lies on this disk.
    StateOnly,
}

/// One of the two places of a system on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BootSlot {
    /// `meadow-root-a`.
    A,
    /// `meadow-root-b`.
    B,
}

impl BootSlot {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`, as in `grubenv`.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// A partition, planned or found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Partition {
    /// Its number, from 1 on.
    pub number: u32,
    /// Its GPT name.
    pub name: String,
    /// GUID of its type.
    pub type_guid: String,
    /// First byte.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
}

/// What an installation will do to a disk; carried out only with consent for this very plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstallPlan {
    /// The node.
    pub node: Name,
    /// How much of a system.
    pub mode: InstallMode,
    /// Kernel name of the disk when the plan was made; the serial number counts.
    pub disk: String,
    /// Serial number of the disk.
    pub serial: String,
    /// Its model, for people.
    pub model: Option<String>,
    /// Size of the disk in bytes.
    pub size_bytes: u64,
    /// What lies on it now and will be lost, in words; empty where it is blank.
    pub loses: Vec<String>,
    /// The partitions that it will have.
    pub partitions: Vec<Partition>,
    /// Bytes that stay free for storage.
    pub free_bytes: u64,
    /// SHA-256 over all of the above, in hexadecimal: what consent is given to.
    pub hash: String,
}

/// A secret that only its receiver can read (`meadow_pki::sealed`), base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Sealed(pub String);

/// `POST /v1/nodes/{name}/install`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstallRequest {
    /// Serial number of the disk.
    pub serial: String,
    /// How much of a system.
    #[serde(default)]
    pub mode: InstallMode,
    /// Hash of the plan that the caller has seen and consents to; without it only the plan is made.
    pub consent: Option<String>,
    /// The passphrase of the state, sealed to the node's WireGuard key.
    pub passphrase: Option<Sealed>,
    /// The key to which the recovery key is sealed in the answer.
    pub reply_to: Option<WireGuardKey>,
    /// Network of the initramfs, where there is no DHCP.
    #[serde(default)]
    pub network: Vec<StaticNetwork>,
    /// Whether the node restarts into its new system by itself.
    #[serde(default)]
    pub reboot: bool,
}

/// What opens the state partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Typed by a person, over SSH or on the console.
    Passphrase,
    /// 256 random bits, shown once.
    Recovery,
    /// Kept by the TPM.
    Tpm2,
    /// Shares held by other nodes.
    Peers,
}

/// A key slot of the state partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeySlot {
    /// Number of the LUKS2 key slot.
    pub slot: u32,
    /// What opens it.
    pub kind: KeyKind,
    /// For people.
    pub label: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// The node's own disk, as the node reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstalledDisk {
    /// Serial number of the disk.
    pub serial: String,
    /// Kernel name.
    pub disk: String,
    /// How much of a system.
    pub mode: InstallMode,
    /// UUID of the LUKS2 volume.
    pub luks_uuid: String,
    /// `SHA256:…` of Dropbear's host key: what `meadow unlock` trusts.
    pub host_key: String,
    /// Whether a TPM keeps the host key; else who copies the disk can pose as the prompt.
    pub host_key_sealed: bool,
    /// The key slots.
    pub keys: Vec<KeySlot>,
    /// The slot that runs now; `None` for a netbooted node.
    pub running: Option<BootSlot>,
    /// The slot that GRUB takes without being told otherwise.
    pub blessed: Option<BootSlot>,
    /// The slots that hold a whole image.
    #[serde(default)]
    pub slots: Vec<SlotImage>,
    /// The slot that the next start takes once.
    #[serde(default)]
    pub tried: Option<BootSlot>,
    /// The slot that was given up for the one that runs now: taken once and not blessed, or blessed and not to be started.
    #[serde(default)]
    pub went_back_from: Option<BootSlot>,
    /// [`crate::ssh_key::digest`] of the admins' keys in its record; `None` from an agent that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<String>,
}

/// A line to `meadow-disks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum DiskRequest {
    /// Carries out a plan that somebody consented to.
    Install(Box<InstallWork>),
    /// Looks at the disk of this node.
    Look,
    /// Adds a passphrase, opened by an existing one.
    AddPassphrase {
        /// A passphrase or recovery key that opens the volume.
        existing: Secret<String>,
        /// The new passphrase.
        new: Secret<String>,
        /// For people.
        label: String,
    },
    /// Lets this computer's TPM open the state, in place of TPM slots of before, and keep the SSH host key, which is made
    /// new.
    AddTpm {
        /// A passphrase or recovery key that opens the volume.
        existing: Secret<String>,
        /// What has to be typed beside it, if anything: 4 to 7 characters.
        pin: Option<Secret<String>>,
        /// For people.
        label: String,
    },
    /// Adds a recovery key, opened by an existing key; older recovery keys stay.
    NewRecoveryKey {
        /// A passphrase or recovery key that opens the volume.
        existing: Secret<String>,
    },
    /// Removes every recovery key but one, which proves that somebody has it.
    EndOlderRecoveryKeys {
        /// The recovery key that stays.
        kept: Secret<String>,
    },
    /// Makes a backup of the header with all key slots, and tries a key on it.
    BackUpHeader {
        /// A passphrase or recovery key that opens the volume.
        existing: Secret<String>,
    },
    /// Removes a slot; the last one that a person can use is refused. With the last TPM slot goes the sealed host key.
    RemoveKey {
        /// Its number.
        slot: u32,
    },
    /// Writes an image into the slot that does not run.
    WriteImage {
        /// Folder with `manifest.json` and the artifacts, checked by the caller's keys and again by digest.
        folder: String,
        /// Refuses an image that is older than the one that runs, or the very same.
        #[serde(default)]
        only_newer: bool,
    },
    /// Boots that slot at the next start, once.
    TryOnce {
        /// The slot.
        slot: BootSlot,
        /// Refuse an image that is older than the one that runs, which nobody wanted to have back.
        #[serde(default)]
        only_newer: bool,
    },
    /// Makes the running slot the one that is booted from now on.
    Bless,
    /// Restarts the computer where it runs a slot that was not blessed: an image that was tried and was not found well.
    GiveUpTrial,
    /// Gathers the image of a stick in the helper's folder.
    StickImage {
        /// Serial number of the stick; `None` for the one that this computer booted from.
        #[serde(default)]
        serial: Option<String>,
    },
    /// Copies a file onto the first FAT file system of a stick that a person named.
    SaveToStick {
        /// Serial number of the stick.
        serial: String,
        /// The file.
        from: String,
        /// Its name on the stick.
        name: String,
    },
    /// Writes everything anew that this node boots from, and leaves its record and its state as they are.
    Reinstall {
        /// Folder with `manifest.json` and the artifacts, checked by the caller's keys and again by digest.
        folder: String,
        /// Refuses an image that is older than the one that this node had, where its disk still tells.
        #[serde(default)]
        only_newer: bool,
    },
    /// Makes these the admins' keys in the node's record; writes nothing where they are that already.
    SetSshKeys {
        /// In OpenSSH form.
        keys: Vec<String>,
        /// The cluster CA's key: a disk of another cluster is left alone.
        ca_fingerprint: crate::Fingerprint,
    },
    /// Erases this node's state for good, and wipes further disks, as somebody consented to.
    Reset(Box<ResetPlan>),
    /// Brings resets to their end that were cut off.
    FinishReset,
    /// Tells how the network cards are set.
    LookAtNetwork,
    /// Sets network cards until somebody confirms it, or for [`crate::network::TRIAL_SECONDS`].
    TryNetwork(Box<TryNetwork>),
    /// Keeps the settings that are tried now.
    ConfirmNetwork,
    /// Brings the settings from before a trial back; nothing where none is tried.
    NetworkBack,
    /// Restarts the computer.
    Reboot,
}

/// Settings of network cards to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryNetwork {
    /// The cards of this computer.
    pub cards: Vec<CardId>,
    /// How they were set at the start, where no record of this node says it.
    pub start: Vec<StaticNetwork>,
    /// What the cards that it names are to do.
    pub networks: Vec<CardNetwork>,
}

/// What an installation needs beside the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallWork {
    /// What was consented to.
    pub plan: InstallPlan,
    /// The passphrase of the state.
    pub passphrase: Secret<String>,
    /// Folder with the image's artifacts; `None` for [`InstallMode::StateOnly`].
    pub image: Option<String>,
    /// Folder whose contents become `/var/lib/meadow` on the new state: the node stays who it is.
    pub state_from: String,
    /// What the record of `meadow-preboot` will say of the node.
    pub authorized_keys: Vec<String>,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster CA's key.
    pub ca_fingerprint: crate::Fingerprint,
    /// Network of the initramfs.
    pub network: Vec<StaticNetwork>,
}

/// A line from `meadow-disks`; the last one is [`DiskReply::Done`] or [`DiskReply::Failed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on its way through a socket")]
pub enum DiskReply {
    /// A step began or went on.
    Progress {
        /// For people.
        step: String,
        /// How far the step is.
        percent: Option<u8>,
    },
    /// It is done.
    Done {
        /// The disk as it is now.
        disk: Option<InstalledDisk>,
        /// A recovery key that was made; shown once.
        recovery_key: Option<Secret<String>>,
        /// How the network cards are set, where that was the question.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<Box<KnownNetwork>>,
        /// A backup of the header, packed ([`crate::header_backup`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<Secret<String>>,
        /// Further disks that were wiped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        erased: Vec<ErasedDisk>,
    },
    /// It failed; nothing that was not planned was touched.
    Failed {
        /// Why, with the next step.
        why: String,
    },
}
