//! The image of a stick: read by the disk helper, checked here by the build key.

use std::path::{Path, PathBuf};

use meadow_host::files::{self, FileError};
use meadow_model::install::DiskRequest;
use meadow_pki::{PkiError, check_manifest};

use crate::disk_helper::{DiskError, DiskHelper};
use crate::image_manifest::LARGEST_MANIFEST;
use crate::image_store::{MANIFEST, SIGNATURE};

const LARGEST_SIGNATURE: u64 = 16 * 1024;

/// Where the stick's image comes from.
#[derive(Clone, Debug)]
pub struct StickImage {
    /// Whether this computer booted from a stick.
    pub booted: bool,
    /// The helper that may read disks.
    pub disks: DiskHelper,
    /// File with the public half of the build key.
    pub build_key: PathBuf,
    /// Where the helper puts the image.
    pub folder: PathBuf,
}

/// The stick's image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StickImageError {
    /// The helper did not give it.
    #[error(transparent)]
    Helper(#[from] DiskError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not signed by the build key.
    #[error("the stick's image: {0}; write the stick anew with `meadow image flash`")]
    Signature(#[from] PkiError),
}

impl StickImage {
    /// Puts the image together; the folder that it is in. What is in there is checked against the manifest by whoever
    /// writes it to a disk.
    ///
    /// # Errors
    /// [`StickImageError`]
    pub async fn gather(&self, progress: impl FnMut(&str, Option<u8>)) -> Result<&Path, StickImageError> {
        self.gather_from(None, progress).await
    }

    /// The same of the stick with that serial number, or where none is named of the one that this computer booted from.
    ///
    /// # Errors
    /// [`StickImageError`]
    pub async fn gather_from(
        &self,
        serial: Option<&str>,
        mut progress: impl FnMut(&str, Option<u8>),
    ) -> Result<&Path, StickImageError> {
        let request = DiskRequest::StickImage { serial: serial.map(str::to_owned) };
        self.disks.ask(&request, |step, percent| progress(step, percent)).await?;
        let key = files::read(&self.build_key, LARGEST_SIGNATURE)?;
        let manifest = files::read(&self.folder.join(MANIFEST), LARGEST_MANIFEST as u64)?;
        let signature = files::read(&self.folder.join(SIGNATURE), LARGEST_SIGNATURE)?;
        check_manifest(&key, &manifest, &signature)?;
        Ok(&self.folder)
    }
}
