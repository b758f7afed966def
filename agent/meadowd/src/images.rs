//! The images that this voter keeps for the cluster: brought by an admin, signed for the cluster, handed out to nodes.

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use meadow_controllers::image_store::{ImageStore, MANIFEST, StoreError};
use meadow_controllers::paths::Paths;
use meadow_controllers::settings::Settings;
use meadow_host::files;
use meadow_model::image::{ImageSpec, IncomingImage, OfferedImage};
use meadow_model::{Name, Problem, ProblemCode};
use meadow_pki::{ReleaseKey, sha256};

use crate::backend::storage_code;

/// Images with the two keys that make one the cluster's.
pub(crate) struct Images {
    store: ImageStore,
    /// Public half of the build key, beside the image that is served to machines.
    build_key: PathBuf,
    release_key: PathBuf,
}

impl Images {
    pub(crate) fn new(paths: &Paths, settings: &Settings) -> Self {
        Self {
            store: ImageStore::new(paths.images()),
            build_key: settings.image_dir.join("build.pem"),
            release_key: paths.state().release_key(),
        }
    }

    /// Begins an image, or goes on with it.
    pub(crate) fn offer(&self, offered: &OfferedImage) -> Result<IncomingImage, Problem> {
        let signature = BASE64.decode(offered.signature.as_bytes());
        let signature = signature.map_err(|e| refused(format!("the signature is not base64: {e}")))?;
        let key = files::read(&self.build_key, 16 * 1024).map_err(|e| {
            refused(format!(
                "{e}; without the build key's public half no image can be checked: `make install` puts it there"
            ))
        })?;
        let incoming = self.store.offer(&key, offered.manifest.as_bytes(), &signature).map_err(|e| problem(&e))?;
        let manifest = self.store.manifest(&incoming.digest).map_err(|e| problem(&e))?;
        image_name(&manifest.image)?;
        Ok(incoming)
    }

    /// Takes a piece of a file.
    pub(crate) fn put(&self, digest: &str, name: &str, offset: u64, piece: &[u8]) -> Result<u64, Problem> {
        self.store.put(digest, name, offset, piece).map_err(|e| problem(&e))
    }

    /// Puts a whole image in its place and signs it for the cluster.
    pub(crate) fn adopt(&self, digest: &str) -> Result<(Name, ImageSpec), Problem> {
        let folder = self.store.complete(digest).map_err(|e| problem(&e))?;
        let manifest = files::read(&folder.join(MANIFEST), 1 << 20).map_err(|e| problem(&e.into()))?;
        if HEXLOWER.encode(&sha256(&manifest)) != digest {
            return Err(refused(format!(
                "{} was changed on the disk; remove the image and add it again",
                folder.display()
            )));
        }
        let key = files::read(&self.release_key, 16 * 1024).map_err(|e| problem(&e.into()))?;
        let signed =
            ReleaseKey::from_pem(&key).and_then(|key| key.sign(&manifest)).map_err(|e| refused(e.to_string()))?;
        let parsed = self.store.manifest(digest).map_err(|e| problem(&e))?;
        Ok((image_name(&parsed.image)?, parsed.spec(digest.to_owned(), BASE64.encode(&signed))))
    }

    /// Frees the room of an image that was forgotten.
    pub(crate) fn remove(&self, digest: &str) -> Result<(), Problem> {
        self.store.remove(digest).map_err(|e| problem(&e))
    }
}

/// A version as a name: `0.1.0-013e269d28c6` becomes `0-1-0-013e269d28c6`.
fn image_name(version: &str) -> Result<Name, Problem> {
    Name::new(version.replace('.', "-")).map_err(|e| refused(format!("the image's version: {e}")))
}

fn refused(detail: String) -> Problem {
    Problem::new(ProblemCode::ImageRefused, detail)
}

fn problem(error: &StoreError) -> Problem {
    match (error, error.io_kind()) {
        (_, Some(kind)) => Problem::new(storage_code(kind), error.to_string()),
        (StoreError::Unknown(_), _) => Problem::new(ProblemCode::NotFound, error.to_string()),
        (StoreError::Gap { .. }, _) => Problem::new(ProblemCode::Conflict, error.to_string()),
        _ => refused(error.to_string()),
    }
}
