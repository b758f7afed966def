//! A factory reset: what is asked for, and what was planned.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Name;

/// `POST /v1/nodes/{name}/reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ResetRequest {
    /// Serial numbers of further disks to wipe; every disk that is not named is left alone.
    pub disks: Vec<String>,
    /// Hash of the plan that the caller has seen and consents to; without it only the plan is made.
    pub consent: Option<String>,
}

/// What a reset will do; carried out only with consent for this very plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResetPlan {
    /// The node.
    pub node: Name,
    /// The node's own disk, whose state is erased; `None` where the node keeps none.
    pub own: Option<OwnState>,
    /// Further disks that are wiped.
    pub wipes: Vec<WipedDisk>,
    /// Disks that are left as they are, in words.
    pub keeps: Vec<String>,
    /// SHA-256 over all of the above, in hexadecimal: what consent is given to.
    pub hash: String,
}

/// The state that is erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OwnState {
    /// Serial number of its disk.
    pub serial: String,
    /// Kernel name of the disk when the plan was made; the serial number counts.
    pub disk: String,
    /// UUID of the LUKS2 volume.
    pub luks_uuid: String,
}

/// A disk that is to be wiped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WipedDisk {
    /// Serial number.
    pub serial: String,
    /// Kernel name of the disk when the plan was made; the serial number counts.
    pub disk: String,
    /// Its model, for people.
    pub model: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What lies on it and will be lost, in words; empty where it is blank.
    pub loses: Vec<String>,
}

/// How far a disk was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Erasure {
    /// The disk discarded all that was on it, and gives back zeros wherever it was looked at.
    Discarded,
    /// Nothing on it is recognised any more. Its content is still there, and tools find it.
    SignaturesRemoved,
}

/// A further disk that was wiped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErasedDisk {
    /// Serial number.
    pub serial: String,
    /// How far.
    pub erasure: Erasure,
}

impl fmt::Display for ErasedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.erasure {
            Erasure::Discarded => "erased by discard",
            Erasure::SignaturesRemoved => {
                "tables and signatures removed; the content can still be recovered with tools, so overwrite or destroy it \
                 before others get it"
            }
        };
        write!(f, "disk {}: {how}", self.serial)
    }
}

/// What a reset did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResetDone {
    /// What was consented to.
    pub plan: ResetPlan,
    /// The further disks, and how far each was erased.
    pub erased: Vec<ErasedDisk>,
}
