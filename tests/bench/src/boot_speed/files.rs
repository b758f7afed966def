//! The files that are served, as an image whose digests are right.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

/// Names and sizes in KiB.
const FILES: [(&str, usize); 4] = [(TINY, 256), (SMALL, 4 << 10), (MEDIUM, 64 << 10), (LARGE, 256 << 10)];
/// To be sent block by block over a slow network.
pub(crate) const TINY: &str = "tiny";
/// For many clients.
pub(crate) const SMALL: &str = "small";
/// For one client over TFTP.
pub(crate) const MEDIUM: &str = "medium";
/// For one client over HTTP.
pub(crate) const LARGE: &str = "large";

/// Writes them into `folder`, with a manifest.
pub(crate) fn make(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut artifacts = Map::new();
    for (name, size) in FILES {
        let bytes = noise(size << 10);
        artifacts
            .insert(name.to_owned(), json!({"size": bytes.len(), "sha256": HEXLOWER.encode(&Sha256::digest(&bytes))}));
        fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
    }
    let manifest = json!({"version": 1, "image": "boot-speed", "kernel": "", "artifacts": artifacts, "packages": []});
    fs::write(folder.join("manifest.json"), manifest.to_string()).context("cannot write the manifest")?;
    Ok(folder.to_owned())
}

/// Bytes that nothing compresses (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
