//! Files that are compared with their manifest.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::{Expected, MAX_MANIFEST, hex_digest};

/// What tells that a file is still the one that was checked. Not its change time: that moves when
/// another image shares the file by a hard link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    pub(super) fn read(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// Reads a small file; the error is for people.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(format!("it is longer than {MAX_MANIFEST} bytes"));
    }
    Ok(bytes)
}

/// Opens a file and compares it with the manifest; the error is for people.
pub(super) fn open_checked(path: &Path, expected: &Expected, stamp: Option<Stamp>) -> Result<File, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "is missing".to_owned(),
        _ => format!("cannot be opened: {error}"),
    })?;
    let metadata = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    if metadata.size() != expected.size {
        return Err(format!("is damaged: it has {} bytes instead of {}", metadata.size(), expected.size));
    }
    let mut hasher = Sha256::new();
    let mut reader = &file;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer).map_err(|error| format!("cannot be read: {error}"))? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    if hex_digest(hasher) != expected.sha256 {
        return Err("is damaged: its SHA-256 digest is not the manifest's".into());
    }
    let after = file.metadata().ok().map(|metadata| Stamp::of(&metadata));
    if stamp.is_none() || after != stamp {
        return Err("changed while it was being checked".into());
    }
    Ok(file)
}
