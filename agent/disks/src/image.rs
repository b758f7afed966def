//! An image folder: `manifest.json` and the artifacts that it names.
//!
//! Whoever asks has checked the manifest's signatures with its keys; here every byte that is written is compared with the
//! manifest's digests again, before and after.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use meadow_model::Timestamp;
use meadow_model::image::age_of;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::DiskError;
use crate::area::read_file;
use crate::progress::{Counter, Progress};

/// Packages are listed too, so it is some hundred KiB.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// The root, at the start of its partition.
pub(crate) const ROOT: &str = "root.img";
/// What a slot's folder on the ESP holds of the artifacts.
/// (Under Secure Boot GRUB loads no `uki.efi` without the signature beside it.)
pub(crate) const SLOT_FILES: [&str; 4] = ["vmlinuz", "initrd", "uki.efi", "uki.efi.sig"];
/// What the boot loader is made of.
pub(crate) const LOADER_FILES: [&str; 4] = ["grub/boot.img", "grub/core.img", "grub/bootx64.efi", CERTIFICATE];
/// What a person enrols in the firmware's setup for Secure Boot; on the ESP, where the setup finds it.
pub(crate) const CERTIFICATE: &str = "secureboot.cer";

/// What an image says of itself; images of tests say less.
#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    image: String,
    architecture: String,
    date: i64,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(flatten)]
    about: About,
    artifacts: BTreeMap<String, Artifact>,
    root: Value,
}

/// A file of the image.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// An image folder whose manifest was read.
pub(crate) struct Image {
    folder: PathBuf,
    /// The manifest as it lies there: it is the image.
    text: Vec<u8>,
    manifest: Manifest,
}

impl Image {
    pub(crate) fn open(folder: &Path) -> Result<Self, DiskError> {
        let path = folder.join("manifest.json");
        let text = read_file(&path, MANIFEST_LIMIT)?;
        let manifest = serde_json::from_slice(&text).map_err(|error| {
            DiskError::refused(format!("{} is no manifest ({error}); fetch the image again", path.display()))
        })?;
        Ok(Self { folder: folder.to_owned(), text, manifest })
    }

    /// Refuses an image for other processors, and where that is wanted the very one with the manifest `running` and one that
    /// is older than that.
    pub(crate) fn refuse_for(&self, running: Option<&[u8]>, only_newer: bool) -> Result<(), DiskError> {
        let about = &self.manifest.about;
        if !about.architecture.is_empty() && about.architecture != std::env::consts::ARCH {
            return Err(DiskError::refused(format!(
                "the image {} is for {} processors, and this computer has {}; bring one that was built for it",
                about.image,
                about.architecture,
                std::env::consts::ARCH
            )));
        }
        if !only_newer {
            return Ok(());
        }
        if running == Some(self.text.as_slice()) {
            return Err(DiskError::refused(format!(
                "the image {} runs already; nothing needs to be done",
                about.image
            )));
        }
        self.refuse_older_than(running)
    }

    /// Refuses it where the image with the manifest `before` is newer.
    pub(crate) fn refuse_older_than(&self, before: Option<&[u8]>) -> Result<(), DiskError> {
        refuse_older(before, Some(&self.text))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn artifact(&self, name: &str) -> Result<&Artifact, DiskError> {
        self.manifest.artifacts.get(name).ok_or_else(|| {
            DiskError::refused(format!("the image in {} has no {name}; build it again", self.folder.display()))
        })
    }

    pub(crate) fn size(&self, names: &[&str]) -> Result<u64, DiskError> {
        names.iter().map(|name| self.artifact(name).map(|artifact| artifact.size)).sum()
    }

    /// Reads these artifacts whole and compares them with the manifest.
    pub(crate) fn check(&self, names: &[&str], progress: &mut Progress<'_>) -> Result<(), DiskError> {
        let mut counter = Counter::new("checks the image", self.size(names)?);
        for name in names {
            let (path, artifact) = (self.path(name), self.artifact(name)?);
            let file = File::open(&path).map_err(DiskError::io("open", &path))?;
            // A stick's root is a partition, which goes on behind the image.
            let is_file = file.metadata().map_err(DiskError::io("look at", &path))?.is_file();
            let mut file = file.take(if is_file { u64::MAX } else { artifact.size });
            let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
            loop {
                let got = file.read(&mut buffer).map_err(DiskError::io("read", &path))?;
                if got == 0 {
                    break;
                }
                hash.update(&buffer[..got]);
                length += got as u64;
                counter.add(got as u64, progress);
            }
            if length != artifact.size || data_encoding::HEXLOWER.encode(&hash.finalize()) != artifact.sha256 {
                return Err(DiskError::refused(format!(
                    "{} is not what the manifest says; fetch the image again, nothing was written",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// `root.json`, in the form that the image's own has.
    pub(crate) fn root_json(&self) -> Result<Vec<u8>, DiskError> {
        let root = self.artifact(ROOT)?;
        let mut value = json!({"name": ROOT, "size": root.size, "sha256": root.sha256});
        if let (Some(target), Some(source)) = (value.as_object_mut(), self.manifest.root.as_object()) {
            target.extend(source.iter().map(|(key, value)| (key.clone(), value.clone())));
            if let Some(offset) = source.get("data_size") {
                target.insert("hash_offset".to_owned(), offset.clone());
            }
        }
        Ok(format!("{value:#}\n").into_bytes())
    }
}

/// Refuses the image with the manifest `wanted`, where that is older than the one with the manifest `running`. Manifests that
/// are not there, or say nothing, keep nobody from anything.
pub(crate) fn refuse_older(running: Option<&[u8]>, wanted: Option<&[u8]>) -> Result<(), DiskError> {
    let about = |manifest: Option<&[u8]>| serde_json::from_slice::<About>(manifest?).ok();
    match (about(running), about(wanted)) {
        (Some(now), Some(wanted)) if age(&now) > age(&wanted) => Err(DiskError::refused(format!(
            "the image {} is older than {}, which this node has; an older image brings back mended faults, say --allow-older if that is \
             meant",
            wanted.image, now.image
        ))),
        _ => Ok(()),
    }
}

/// Sorts images by age, as the cluster does.
fn age(about: &About) -> (Vec<u64>, Timestamp) {
    age_of(&about.image, Timestamp::from_millis(about.date.saturating_mul(1000)))
}

/// What `root.json` says of the root of a slot.
#[derive(Deserialize)]
pub(crate) struct RootJson {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}
