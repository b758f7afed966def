//! Fetches an image that the cluster adopted, by its digest, from whoever has it: the voter, or a node that runs it.

use data_encoding::{BASE64, HEXLOWER};
use meadow_client::{ArtifactError, fetch_artifact};
use meadow_host::files;
use meadow_model::work::ImageTask;
use meadow_pki::{PkiError, check_release};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

use crate::image_manifest::{ImageManifest, LARGEST_MANIFEST};
use crate::image_store::{ImageStore, MANIFEST, SIGNATURE, StoreError};

/// The image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source sends it.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Nobody has it.
    #[error("nobody is known who has this image; add it again with `meadow image add`")]
    NoSource,
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The source sent another manifest.
    #[error("{0} sent another image than the one that was asked for")]
    Other(String),
    /// The release key did not sign it.
    #[error(transparent)]
    Release(#[from] PkiError),
    /// It is for other computers.
    #[error("the image is for {image} processors, and this node has {node}")]
    Architecture {
        /// The image's.
        image: String,
        /// The node's.
        node: &'static str,
    },
}

/// Fetches adopted images.
#[derive(Clone, Debug)]
pub struct ImageFetcher {
    /// Where images are kept.
    pub store: ImageStore,
    /// File with the public half of the key that this node's own image was built with.
    pub build_key: PathBuf,
    /// The cluster's release key, as DER in base64.
    pub release_key: String,
}

impl ImageFetcher {
    /// Fetches what is missing of an image, and checks both signatures and every digest; the folder that holds it.
    /// All other images go: a node needs room.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn fetch(&self, task: &ImageTask, mut progress: impl FnMut(&str, u8)) -> Result<PathBuf, FetchError> {
        self.store.keep_only(&task.digest)?;
        let mut last = FetchError::NoSource;
        for source in &task.sources {
            match self.fetch_from(source, task, &mut progress).await {
                Ok(folder) => return Ok(folder),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn fetch_from(
        &self,
        source: &str,
        task: &ImageTask,
        progress: &mut impl FnMut(&str, u8),
    ) -> Result<PathBuf, FetchError> {
        let folder = format!("images/{}", task.digest);
        let manifest = small(source, &folder, MANIFEST).await?;
        if HEXLOWER.encode(&Sha256::digest(&manifest)) != task.digest {
            return Err(FetchError::Other(source.to_owned()));
        }
        let release = BASE64.decode(task.release_signature.as_bytes()).unwrap_or_default();
        let key = BASE64.decode(self.release_key.as_bytes()).unwrap_or_default();
        check_release(&key, &manifest, &release)?;
        let build_key = files::read(&self.build_key, 16 * 1024)?;
        let missing = self.store.offer(&build_key, &manifest, &small(source, &folder, SIGNATURE).await?)?.missing;
        let parsed = self.store.manifest(&task.digest)?;
        fits(&parsed)?;
        let (whole, mut done) = (missing.iter().map(|part| part.size).sum::<u64>(), 0);
        for part in missing {
            let mut offset = 0;
            let take = |piece: &[u8]| {
                offset = self.store.put(&task.digest, &part.name, offset, piece).map_err(std::io::Error::other)?;
                progress(&part.name, percent(done + offset, whole));
                Ok(())
            };
            fetch_artifact(source, &folder, &part.name, part.size, take).await?;
            done += part.size;
        }
        Ok(self.store.complete(&task.digest)?)
    }
}

fn fits(manifest: &ImageManifest) -> Result<(), FetchError> {
    let node = std::env::consts::ARCH;
    if manifest.architecture == node {
        return Ok(());
    }
    Err(FetchError::Architecture { image: manifest.architecture.clone(), node })
}

async fn small(source: &str, folder: &str, name: &str) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = Vec::new();
    let keep = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    fetch_artifact(source, folder, name, LARGEST_MANIFEST as u64, keep).await?;
    Ok(bytes)
}

/// How much of the whole is done.
pub(crate) fn percent(done: u64, whole: u64) -> u8 {
    u8::try_from(done.saturating_mul(100) / whole.max(1)).unwrap_or(100).min(100)
}
