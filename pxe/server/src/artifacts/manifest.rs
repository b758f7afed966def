//! `manifest.json`: what the image consists of.

use std::collections::BTreeMap;
use std::fmt::Write;

use meadow_netboot::route::is_artifact_name;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Manifests are never longer; the list of packages makes most of it.
pub(super) const MAX_MANIFEST: u64 = 4 << 20;

/// Size and digest of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// The part of the manifest that serving needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    pub(super) image: String,
    /// The processors that it is for, as Rust names them; older ones say nothing.
    pub(super) architecture: Option<String>,
    pub(super) artifacts: BTreeMap<String, Expected>,
}

impl Manifest {
    /// Parses and checks a manifest; the error is for people.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.version != 1 {
            return Err(format!("its version is {}, this program knows version 1", manifest.version));
        }
        for (name, expected) in &manifest.artifacts {
            if !is_artifact_name(name) {
                return Err(format!("{name:?} is not an artifact's name"));
            }
            let is_digest = expected.sha256.len() == 64
                && expected.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if !is_digest {
                return Err(format!("the digest of {name} is not 64 lower-case hex digits"));
            }
        }
        Ok(manifest)
    }
}

/// A SHA-256 digest in hex.
pub(super) fn hex_digest(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_manifests_are_refused_with_a_reason() {
        let digest = "0".repeat(64);
        let good = format!(r#"{{"version":1,"image":"1","artifacts":{{"a":{{"size":1,"sha256":"{digest}"}}}}}}"#);
        assert!(Manifest::parse(good.as_bytes()).is_ok());
        for bad in [
            "{".to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"a\"", "\"../a\""),
            good.replace(&digest, "0"),
            good.replace(&digest, &"X".repeat(64)),
        ] {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
