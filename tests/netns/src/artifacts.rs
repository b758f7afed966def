//! A small image: the right files with the right digests, and contents that are easy to check.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

/// Names and sizes; odd sizes, so that no block size divides them, and one multiple of common block sizes.
const FILES: [(&str, usize); 6] = [
    ("vmlinuz", 3_000_001),
    ("initrd", 1_000_003),
    ("root.img", 4_194_304),
    ("ipxe/undionly.kpxe", 70_001),
    ("ipxe/snponly.efi", 131_072),
    ("ipxe/ipxe.efi", 200_003),
];

/// A folder with an image.
#[derive(Debug)]
pub struct Artifacts {
    folder: PathBuf,
}

impl Artifacts {
    /// Writes it into `folder`.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn write(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("ipxe")).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut artifacts = Map::new();
        for (name, size) in FILES {
            let bytes = contents(name, size);
            artifacts
                .insert(name.to_owned(), json!({"size": size, "sha256": HEXLOWER.encode(&Sha256::digest(&bytes))}));
            fs::write(folder.join(name), bytes)?;
        }
        let manifest = json!({
            "version": 1, "image": "test", "kernel": "6.12.0", "artifacts": artifacts, "packages": [],
            "root": {"data_size": 0, "root_hash": "", "salt": ""},
        });
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the file `name` holds.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.folder.join(name)).with_context(|| format!("no artifact {name}"))
    }
}

/// Bytes that differ between files and between blocks of a file, so that a block out of place shows.
#[must_use]
pub fn contents(name: &str, size: usize) -> Vec<u8> {
    let mut state =
        name.bytes().fold(0x9e37_79b9_u32, |state, byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(size)
    .collect()
}
