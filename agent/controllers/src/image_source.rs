//! Fetches the image that the boot server has now: checked by the build key's signature and by each digest.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use meadow_client::{ARTIFACTS, ArtifactError, fetch_artifact};
use meadow_host::files::{self, Access, FileError};
use meadow_host::incoming::IncomingFile;
use meadow_pki::{PkiError, check_manifest};
use sha2::{Digest, Sha256};

use crate::image_fetch::percent;
use crate::image_manifest::{Artifact, ImageManifest, LARGEST_MANIFEST, ManifestError};
use crate::image_store::{MANIFEST, SIGNATURE};

/// What an installed system consists of.
pub const SYSTEM: [&str; 9] = [
    "vmlinuz",
    "initrd",
    "uki.efi",
    "uki.efi.sig",
    "root.img",
    "grub/boot.img",
    "grub/core.img",
    "grub/bootx64.efi",
    "secureboot.cer",
];

/// The boot servers that may have the image, and the key that must have signed it.
#[derive(Clone, Debug)]
pub struct ImageSource {
    /// Hosts with ports, the first one that answers is taken.
    pub authorities: Vec<String>,
    /// File with the public half of the build key.
    pub build_key: PathBuf,
    /// Where the image goes; emptied first.
    pub folder: PathBuf,
}

/// The image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No boot server sends it.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// No boot server is known.
    #[error("no boot server is known to this node; is PXE configured on the first node (`meadow pxe status` there)?")]
    NoServer,
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not signed by the build key.
    #[error("{0}; build the image and this node's with one key, or boot the node from the new image once")]
    Signature(#[from] PkiError),
    /// The manifest is not of the form that this program knows.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The image lacks a part.
    #[error("the image has no {0}; build it again with `make image`")]
    Missing(&'static str),
    /// A part is damaged.
    #[error(
        "{0} is damaged on the boot server: it has another digest than its manifest says; run `make install` there again"
    )]
    Damaged(&'static str),
    /// It does not fit into memory.
    #[error("{0}; the image is put together in memory before it is written: is there at least 1 GiB?")]
    Memory(std::io::Error),
}

impl ImageSource {
    /// Fetches all parts of [`SYSTEM`] with the manifest; the folder they are in.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn fetch(&self, mut progress: impl FnMut(&str, u8)) -> Result<&Path, ImageError> {
        files::remove_folder(&self.folder)?;
        files::make_folder(&self.folder, Access::Private)?;
        let (authority, manifest) = self.manifest().await?;
        let parts = SYSTEM.map(|name| manifest.artifacts.get(name).map(|part| (name, part)).ok_or(name));
        let parts: Vec<_> = parts.into_iter().collect::<Result<_, _>>().map_err(ImageError::Missing)?;
        let whole: u64 = parts.iter().map(|(_, part)| part.size).sum();
        let mut done = 0;
        for (name, part) in parts {
            let report = |bytes: u64| progress(name, percent(done + bytes, whole));
            self.part(&authority, name, part, report).await?;
            done += part.size;
        }
        Ok(&self.folder)
    }

    /// Frees the memory.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn forget(&self) -> Result<(), FileError> {
        files::remove_folder(&self.folder)
    }

    async fn manifest(&self) -> Result<(String, ImageManifest), ImageError> {
        let key = files::read(&self.build_key, 16 * 1024)?;
        let mut last = ImageError::NoServer;
        for authority in &self.authorities {
            match signed_manifest(authority, &key).await {
                Ok(bytes) => {
                    files::replace(&self.folder.join(MANIFEST), &bytes, Access::Public)?;
                    return Ok((authority.clone(), ImageManifest::parse(&bytes)?));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn part(
        &self,
        authority: &str,
        name: &'static str,
        part: &Artifact,
        mut progress: impl FnMut(u64),
    ) -> Result<(), ImageError> {
        let mut file = IncomingFile::create(&self.folder.join(name)).map_err(ImageError::Memory)?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        let fetched = fetch_artifact(authority, ARTIFACTS, name, part.size, |piece| {
            hash.update(piece);
            length += piece.len() as u64;
            progress(length);
            file.append(piece)
        });
        fetched.await.map_err(|error| match error {
            ArtifactError::Sink { error, .. } => ImageError::Memory(error),
            other => ImageError::Artifact(other),
        })?;
        if HEXLOWER.encode(&hash.finalize()) != part.sha256 {
            return Err(ImageError::Damaged(name));
        }
        file.finish().map_err(ImageError::Memory)
    }
}

async fn signed_manifest(authority: &str, key: &[u8]) -> Result<Vec<u8>, ImageError> {
    let (mut manifest, mut signature) = (Vec::new(), Vec::new());
    for (name, bytes) in [(MANIFEST, &mut manifest), (SIGNATURE, &mut signature)] {
        let keep = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        fetch_artifact(authority, ARTIFACTS, name, LARGEST_MANIFEST as u64, keep).await?;
    }
    check_manifest(key, &manifest, &signature)?;
    Ok(manifest)
}
