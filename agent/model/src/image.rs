//! Images that the cluster adopted, and their rollout.

use serde::{Deserialize, Serialize};

use crate::install::{BootSlot, InstalledDisk};
use crate::{Name, Resource, Timestamp};

/// Seconds that a node may be away with an image that it tries: time enough for somebody to open its state. A rollout gives the
/// node up then, and the initrd of the image, where it still waits, restarts into the slot before.
pub const TRIAL_SECONDS: u64 = 60 * 60;

/// An image that the cluster adopted.
pub type Image = Resource<ImageSpec, ImageStatus>;

/// What an image is. Its name is its version, with hyphens for what no name may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageSpec {
    /// Its version, as its manifest has it.
    pub version: String,
    /// Version of its kernel.
    pub kernel: String,
    /// The processors that it is for, as Rust names them, such as `x86_64`.
    pub architecture: String,
    /// When its kernel was built.
    pub date: Timestamp,
    /// SHA-256 of its manifest, in hexadecimal: the image itself.
    pub digest: String,
    /// Bytes of all that a node fetches.
    pub size_bytes: u64,
    /// The release key's signature over the manifest, base64: the cluster wants this image.
    pub release_signature: String,
}

/// What became of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageStatus {
    /// When every installed node ran it for the first time.
    pub rolled_out: Option<Timestamp>,
    /// The nodes that run it now. Computed when it is read.
    #[serde(default)]
    pub nodes: Vec<Name>,
}

/// The image in one of a disk's slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlotImage {
    /// The slot.
    pub slot: BootSlot,
    /// SHA-256 of the image's manifest, in hexadecimal; `None` where the disk does not tell.
    pub digest: Option<String>,
}

/// Images on their way over the nodes. There is one rollout at a time; it lasts as long as its operation runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rollout {
    /// The operation that tells how far it is.
    pub operation: Name,
    /// [`ImageSpec::digest`] of the image that all installed nodes are to run.
    pub digest: String,
    /// Whether somebody agreed that the cluster is without a majority while a voter restarts.
    pub without_majority: bool,
    /// Whether somebody agreed that nodes get an older image than the one that they run.
    #[serde(default)]
    pub allow_older: bool,
}

/// `POST /v1/images/incoming`: the first step of an image that is brought to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OfferedImage {
    /// The text of `manifest.json`.
    pub manifest: String,
    /// `manifest.json.sig`, base64.
    pub signature: String,
}

/// What of an image is still to be sent, and the digest under which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IncomingImage {
    /// [`ImageSpec::digest`].
    pub digest: String,
    /// The artifacts that are not there in full.
    pub missing: Vec<IncomingArtifact>,
}

/// An artifact that is being sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IncomingArtifact {
    /// Its name in the manifest.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that are there already; the next piece begins here.
    pub have: u64,
}

/// `POST /v1/images`: adopts an image that was sent in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AdoptRequest {
    /// [`ImageSpec::digest`].
    pub digest: String,
}

/// `POST /v1/images/{name}/rollout`, and `POST /v1/images/rollback`, which takes the image from the nodes' other slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RolloutRequest {
    /// Also where a newer image was rolled out before, or a node runs a newer one.
    #[serde(default)]
    pub allow_older: bool,
    /// Also where the cluster is without a majority while a voter restarts.
    #[serde(default)]
    pub without_majority: bool,
}

impl ImageSpec {
    /// Sorts images by age: the numbers of the version, then the kernel's date. One that is older than the one that was
    /// rolled out is rolled out only where somebody says so.
    #[must_use]
    pub fn age(&self) -> (Vec<u64>, Timestamp) {
        age_of(&self.version, self.date)
    }
}

/// [`ImageSpec::age`] of an image with this version, whose kernel is of that date.
#[must_use]
pub fn age_of(version: &str, date: Timestamp) -> (Vec<u64>, Timestamp) {
    let release = version.split('-').next().unwrap_or_default();
    (release.split('.').map(|number| number.parse().unwrap_or(0)).collect(), date)
}

impl InstalledDisk {
    /// The digest of the image in a slot, where the disk tells.
    #[must_use]
    pub fn image_in(&self, slot: BootSlot) -> Option<&str> {
        self.slots.iter().find(|image| image.slot == slot)?.digest.as_deref()
    }
}
