//! Images on this computer: those that are being brought, and those that are whole.
//!
//! `incoming/DIGEST/` fills up file by file, each under its own name only once it is whole and right, so that whatever
//! cut it off, the rest can follow. `whole/DIGEST/` is renamed into place and never changed; it is what others fetch.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use meadow_host::files::{self, Access, FileError};
use meadow_host::piece_file::PieceFile;
use meadow_model::image::{IncomingArtifact, IncomingImage};
use meadow_pki::{PkiError, check_manifest};
use sha2::{Digest, Sha256};

use crate::image_manifest::{Artifact, ImageManifest, LARGEST_MANIFEST, ManifestError, is_digest};

/// The name of the manifest in an image's folder.
pub const MANIFEST: &str = "manifest.json";
/// The name of the build key's signature over it.
pub const SIGNATURE: &str = "manifest.json.sig";
/// Images that may be half there at a time; a further one takes the place of the one that was begun first.
const MOST_INCOMING: usize = 2;

/// The folder of images.
#[derive(Clone, Debug)]
pub struct ImageStore {
    folder: PathBuf,
}

/// An image cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Not signed by the build key.
    #[error("{0}; build both images with one build key (~/.config/meadow/keys of whoever built the first)")]
    Signature(#[from] PkiError),
    /// This image was not begun, or is gone.
    #[error("nothing is known of an image {0}; offer it first")]
    Unknown(String),
    /// The manifest names no such file.
    #[error("the image has no file {0}")]
    Foreign(String),
    /// A piece that does not continue what is there.
    #[error("{name} has {have} bytes so far; go on there")]
    Gap {
        /// The file.
        name: String,
        /// Bytes that are there.
        have: u64,
    },
    /// A file that is not what the manifest says. It was thrown away.
    #[error("{0} is damaged: it has another digest than its manifest says; send it again from a whole image")]
    Damaged(String),
    /// Files are missing.
    #[error("{0} is not there yet; send all of the image first")]
    Incomplete(String),
}

impl StoreError {
    /// What the system said, where it was the system.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::File(error) => error.io_kind(),
            Self::Io { error, .. } => Some(error.kind()),
            _ => None,
        }
    }
}

impl ImageStore {
    /// Keeps images below `folder`, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder of the whole images, for those who fetch them.
    #[must_use]
    pub fn whole_images(&self) -> PathBuf {
        self.folder.join("whole")
    }

    /// The folder of a whole image.
    #[must_use]
    pub fn whole(&self, digest: &str) -> Option<PathBuf> {
        let folder = self.whole_images().join(digest);
        (is_digest(digest) && files::exists(&folder.join(MANIFEST))).then_some(folder)
    }

    /// Begins an image that the build key signed, or goes on with it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn offer(&self, build_key_pem: &[u8], manifest: &[u8], signature: &[u8]) -> Result<IncomingImage, StoreError> {
        check_manifest(build_key_pem, manifest, signature)?;
        let parsed = ImageManifest::parse(manifest)?;
        let digest = HEXLOWER.encode(&Sha256::digest(manifest));
        if self.whole(&digest).is_some() {
            return Ok(IncomingImage { digest, missing: Vec::new() });
        }
        let folder = self.incoming(&digest)?;
        self.make_room(&digest)?;
        files::make_folder(&folder, Access::Private)?;
        files::replace(&folder.join(SIGNATURE), signature, Access::Private)?;
        // Last: an image is begun once its manifest is there.
        files::replace(&folder.join(MANIFEST), manifest, Access::Private)?;
        self.missing(&digest, &parsed)
    }

    /// What an image that was begun consists of.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn manifest(&self, digest: &str) -> Result<ImageManifest, StoreError> {
        let folder = self.whole(digest).map_or_else(|| self.incoming(digest), Ok)?;
        let bytes = files::read_optional(&folder.join(MANIFEST), LARGEST_MANIFEST as u64)?;
        let bytes = bytes.filter(|bytes| HEXLOWER.encode(&Sha256::digest(bytes)) == digest);
        Ok(ImageManifest::parse(&bytes.ok_or_else(|| StoreError::Unknown(digest.to_owned()))?)?)
    }

    /// Takes a piece of a file that begins at `offset`; bytes of the file that are there now. A piece at 0 begins anew.
    ///
    /// # Errors
    /// [`StoreError`]; a file that turned out to be damaged begins anew.
    pub fn put(&self, digest: &str, name: &str, offset: u64, piece: &[u8]) -> Result<u64, StoreError> {
        let manifest = self.manifest(digest)?;
        let part = manifest.artifacts.get(name).ok_or_else(|| StoreError::Foreign(name.to_owned()))?;
        let path = self.incoming(digest)?.join(name);
        let pieces = PieceFile::of(&path);
        let have = pieces.len();
        if offset != have && offset != 0 {
            return Err(StoreError::Gap { name: name.to_owned(), have });
        }
        let end = offset + piece.len() as u64;
        if end > part.size {
            return Err(StoreError::Damaged(name.to_owned()));
        }
        pieces.put(offset, piece).map_err(|error| StoreError::Io { path: path.clone(), error })?;
        if end == part.size {
            finish(&pieces, name, part)?;
        }
        Ok(end)
    }

    /// Puts a whole image in its place; its folder.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] and others.
    pub fn complete(&self, digest: &str) -> Result<PathBuf, StoreError> {
        if let Some(folder) = self.whole(digest) {
            return Ok(folder);
        }
        let manifest = self.manifest(digest)?;
        if let Some(first) = self.missing(digest, &manifest)?.missing.first() {
            return Err(StoreError::Incomplete(first.name.clone()));
        }
        files::make_folder(&self.whole_images(), Access::Private)?;
        let place = self.whole_images().join(digest);
        files::rename_folder(&self.incoming(digest)?, &place)?;
        Ok(place)
    }

    /// Removes an image.
    ///
    /// # Errors
    /// [`StoreError::File`]
    pub fn remove(&self, digest: &str) -> Result<(), StoreError> {
        if is_digest(digest) {
            files::remove_folder(&self.whole_images().join(digest))?;
            files::remove_folder(&self.incoming(digest)?)?;
        }
        Ok(())
    }

    /// Removes every image but this one.
    ///
    /// # Errors
    /// [`StoreError::File`]
    pub fn keep_only(&self, digest: &str) -> Result<(), StoreError> {
        for folder in [self.whole_images(), self.folder.join("incoming")] {
            for other in names(&folder).into_iter().filter(|name| name != digest) {
                files::remove_folder(&folder.join(other))?;
            }
        }
        Ok(())
    }

    fn incoming(&self, digest: &str) -> Result<PathBuf, StoreError> {
        if !is_digest(digest) {
            return Err(StoreError::Unknown(digest.chars().take(80).collect()));
        }
        Ok(self.folder.join("incoming").join(digest))
    }

    fn missing(&self, digest: &str, manifest: &ImageManifest) -> Result<IncomingImage, StoreError> {
        let folder = self.incoming(digest)?;
        let missing = manifest.artifacts.iter().filter(|(name, _)| !files::exists(&folder.join(name)));
        let missing = missing.map(|(name, part)| IncomingArtifact {
            name: name.clone(),
            size: part.size,
            have: PieceFile::of(&folder.join(name)).len(),
        });
        Ok(IncomingImage { digest: digest.to_owned(), missing: missing.collect() })
    }

    /// Whoever begins ever new images must not fill the disk.
    fn make_room(&self, digest: &str) -> Result<(), StoreError> {
        let folder = self.folder.join("incoming");
        let begun = |name: &String| fs::metadata(folder.join(name)).and_then(|metadata| metadata.modified()).ok();
        let mut others: Vec<String> = names(&folder).into_iter().filter(|name| name != digest).collect();
        others.sort_by_key(begun);
        while others.len() >= MOST_INCOMING {
            files::remove_folder(&folder.join(others.remove(0)))?;
        }
        Ok(())
    }
}

/// Names in a folder; none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Gives a file its name, once it is what the manifest says.
fn finish(pieces: &PieceFile, name: &str, part: &Artifact) -> Result<(), StoreError> {
    let io = |error| StoreError::Io { path: PathBuf::from(name), error };
    if digest_of(pieces).map_err(io)? != part.sha256 {
        pieces.discard().map_err(io)?;
        return Err(StoreError::Damaged(name.to_owned()));
    }
    pieces.finish().map_err(io)
}

fn digest_of(pieces: &PieceFile) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (pieces.open()?, Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(HEXLOWER.encode(&hash.finalize())),
            got => hash.update(&buffer[..got]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let artifact = |(name, bytes): &(&str, &[u8])| {
            let sha256 = HEXLOWER.encode(&Sha256::digest(bytes));
            ((*name).to_owned(), serde_json::json!({"size": bytes.len(), "sha256": sha256}))
        };
        let artifacts: serde_json::Map<_, _> = parts.iter().map(artifact).collect();
        let manifest = serde_json::json!({
            "version": 1, "image": "0.1.0-a", "kernel": "6", "architecture": "x86_64", "date": 7, "artifacts": artifacts,
        });
        manifest.to_string().into_bytes()
    }

    /// An image that was begun; that only the build key's signature begins one is tested where it is checked.
    fn begun(store: &ImageStore, manifest: &[u8]) -> String {
        let digest = HEXLOWER.encode(&Sha256::digest(manifest));
        let folder = store.incoming(&digest).expect("a digest");
        files::make_folder(&folder, Access::Private).expect("made");
        files::replace(&folder.join(MANIFEST), manifest, Access::Private).expect("written");
        digest
    }

    #[test]
    fn pieces_become_an_image_and_a_cut_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ImageStore::new(folder.path().join("images"));
        let digest = begun(&store, &manifest(&[("initrd", b"abcdef"), ("grub/core.img", b"x")]));
        assert_eq!(store.put(&digest, "initrd", 0, b"abc").expect("taken"), 3);
        assert!(matches!(store.put(&digest, "initrd", 4, b"ef"), Err(StoreError::Gap { have: 3, .. })));
        assert!(matches!(store.complete(&digest), Err(StoreError::Incomplete(_))));
        // Another process goes on where this one was killed.
        let store = ImageStore::new(folder.path().join("images"));
        let missing = store.missing(&digest, &store.manifest(&digest).expect("there")).expect("told").missing;
        let have: Vec<_> = missing.iter().map(|part| (part.name.as_str(), part.have)).collect();
        assert_eq!(have, [("grub/core.img", 0), ("initrd", 3)]);
        store.put(&digest, "initrd", 3, b"def").expect("taken");
        store.put(&digest, "grub/core.img", 0, b"x").expect("taken");
        assert!(store.whole(&digest).is_none());
        let place = store.complete(&digest).expect("whole");
        assert_eq!(fs::read(place.join("initrd")).expect("there"), b"abcdef");
        assert_eq!(store.whole(&digest), Some(place));
        store.keep_only(&"0".repeat(64)).expect("removed");
        assert!(store.whole(&digest).is_none());
    }

    #[test]
    fn what_is_damaged_too_long_or_foreign_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ImageStore::new(folder.path());
        let digest = begun(&store, &manifest(&[("initrd", b"abcdef")]));
        assert!(matches!(store.put(&digest, "initrd", 0, b"abcdeX"), Err(StoreError::Damaged(_))));
        assert!(matches!(store.put(&digest, "initrd", 0, b"abcdefg"), Err(StoreError::Damaged(_))));
        assert!(matches!(store.put(&digest, "../x", 0, b"a"), Err(StoreError::Foreign(_))));
        assert!(matches!(store.put("../../x", "initrd", 0, b"a"), Err(StoreError::Unknown(_))));
        assert_eq!(store.put(&digest, "initrd", 0, b"abcdef").expect("taken"), 6);
        assert!(store.complete(&digest).is_ok());
    }

    #[test]
    fn of_images_that_were_only_begun_few_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ImageStore::new(folder.path());
        for number in 0..5_u8 {
            let digest = begun(&store, &manifest(&[("initrd", &[number])]));
            store.make_room(&digest).expect("made");
        }
        assert!(names(&folder.path().join("incoming")).len() <= MOST_INCOMING + 1);
    }
}
