//! `manifest.json` of an image, once its signature was checked.

use std::collections::BTreeMap;

use meadow_model::Timestamp;
use meadow_model::image::ImageSpec;
use serde::Deserialize;

/// The form of the manifest that this program knows.
const VERSION: u32 = 1;
/// Bytes of a manifest at most; packages are listed, so it has some ten thousand.
pub const LARGEST_MANIFEST: usize = 512 << 10;
/// Bytes of an image at most: a root fills half a GiB, all else is smaller.
const LARGEST_IMAGE: u64 = 2 << 30;
/// Artifacts at most.
const MOST_ARTIFACTS: usize = 64;

/// What an image consists of.
#[derive(Clone, Debug, Deserialize)]
pub struct ImageManifest {
    version: u32,
    /// The image's version.
    pub image: String,
    /// Version of its kernel.
    pub kernel: String,
    /// The processors that it is for, as Rust names them.
    pub architecture: String,
    /// When its kernel was built, in seconds since 1970.
    pub date: i64,
    /// Its files by name.
    pub artifacts: BTreeMap<String, Artifact>,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Artifact {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A manifest that this program cannot use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not of the form that is known.
    #[error("the image's manifest cannot be read: {0}; build the image again with `make image`")]
    Form(#[from] serde_json::Error),
    /// It is of a form to come.
    #[error("the image's manifest has the version {0}, and this program knows version 1; update this computer first")]
    Version(u32),
    /// It cannot be true.
    #[error("the image's manifest is not sound: {0}")]
    Unsound(String),
}

impl ImageManifest {
    /// Reads it. Nothing of it can lead out of an image's folder.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.version != VERSION {
            return Err(ManifestError::Version(manifest.version));
        }
        let unsound = |why: String| Err(ManifestError::Unsound(why));
        if manifest.artifacts.len() > MOST_ARTIFACTS {
            return unsound(format!("it names more than {MOST_ARTIFACTS} files"));
        }
        if let Some((name, _)) =
            manifest.artifacts.iter().find(|(name, part)| !is_plain(name) || !is_digest(&part.sha256))
        {
            return unsound(format!("the file {name:?}"));
        }
        if manifest.size() > LARGEST_IMAGE {
            return unsound(format!("its files have more than {LARGEST_IMAGE} bytes"));
        }
        Ok(manifest)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.artifacts.values().fold(0, |sum: u64, part| sum.saturating_add(part.size))
    }

    /// The image as a resource; `digest` is the manifest's own.
    #[must_use]
    pub fn spec(&self, digest: String, release_signature: String) -> ImageSpec {
        ImageSpec {
            version: self.image.clone(),
            kernel: self.kernel.clone(),
            architecture: self.architecture.clone(),
            date: Timestamp::from_millis(self.date.saturating_mul(1000)),
            digest,
            size_bytes: self.size(),
            release_signature,
        }
    }
}

/// Whether this is a SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A file, or a file in one folder, whose names begin with no dot.
fn is_plain(name: &str) -> bool {
    let sound = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric())
            && part.len() <= 64
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    name.split('/').count() <= 2 && name.split('/').all(sound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn manifest(name: &str, size: u64, sha256: &str) -> Vec<u8> {
        let artifacts = json!({name: {"size": size, "sha256": sha256}});
        json!({"version": 1, "image": "0.1.0-a", "kernel": "6", "architecture": "x86_64", "date": 7, "artifacts": artifacts})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn only_plain_names_real_digests_and_bounded_sizes() {
        let digest = "0".repeat(64);
        assert!(ImageManifest::parse(&manifest("grub/core.img", 5, &digest)).is_ok());
        for name in ["../x", "/x", "a/../b", "a/b/c", "", ".x", "a//b", "a/", "a b", "a\\b"] {
            assert!(ImageManifest::parse(&manifest(name, 5, &digest)).is_err(), "{name}");
        }
        assert!(ImageManifest::parse(&manifest("x", 5, "0")).is_err());
        assert!(ImageManifest::parse(&manifest("x", 5, &"A".repeat(64))).is_err());
        assert!(ImageManifest::parse(&manifest("x", 3 << 30, &digest)).is_err());
        let newer = String::from_utf8(manifest("x", 5, &digest)).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(matches!(ImageManifest::parse(newer.as_bytes()), Err(ManifestError::Version(2))));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_in_its_folder(name in "[a./\\\\-]{0,8}") {
            if ImageManifest::parse(&manifest(&name, 1, &"0".repeat(64))).is_ok() {
                prop_assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
            }
        }
    }
}
