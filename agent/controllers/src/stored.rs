//! JSON files of the agent.

use std::path::{Path, PathBuf};

use meadow_host::files::{self, Access, FileError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest file of ours; an inventory of a machine with hundreds of disks has some 100 KiB.
const LIMIT: u64 = 4 << 20;

/// A file of the agent cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is damaged.
    #[error("{path} is damaged ({message}); restore it from a backup, or move it away to begin again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Reads a JSON file, or `None` where there is none.
///
/// # Errors
/// [`StoredError`]
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoredError> {
    let Some(bytes) = files::read_optional(path, LIMIT)? else {
        return Ok(None);
    };
    let damaged = |e: serde_json::Error| StoredError::Damaged { path: path.to_owned(), message: e.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Replaces a JSON file atomically, mode 0600.
///
/// # Errors
/// [`StoredError`]
pub fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), StoredError> {
    let damaged = |e: serde_json::Error| StoredError::Damaged { path: path.to_owned(), message: e.to_string() };
    let bytes = serde_json::to_vec_pretty(value).map_err(damaged)?;
    Ok(files::replace(path, &bytes, Access::Private)?)
}

/// Reads a text file such as a PEM, or `None` where there is none.
///
/// # Errors
/// [`StoredError`]
pub fn load_text(path: &Path) -> Result<Option<String>, StoredError> {
    let Some(bytes) = files::read_optional(path, LIMIT)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|e| StoredError::Damaged { path: path.to_owned(), message: e.to_string() })
}
