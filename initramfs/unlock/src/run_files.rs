//! Files in `/run/meadow`: in memory, for root only, gone with the boot.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meadow_model::Name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The folder.
pub const FOLDER: &str = "/run/meadow";

/// Where the files are; a test has a folder of its own.
#[derive(Clone, Debug)]
pub struct RunFiles(PathBuf);

/// What `probe` found out, for whoever opens the state later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The encrypted partition.
    pub device: PathBuf,
    /// UUID that its header has to have.
    pub luks_uuid: String,
    /// The node.
    pub node: Name,
    /// Its cluster's name.
    pub cluster: String,
    /// Whether a TPM opens it for a PIN.
    #[serde(default)]
    pub pin: bool,
}

/// How the state was opened; PID 1 waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Kind of the key slot.
    pub kind: meadow_model::install::KeyKind,
    /// Its number.
    pub slot: u32,
    /// `ssh`, or the terminal.
    pub place: String,
}

impl RunFiles {
    /// Those of the initramfs.
    #[must_use]
    pub fn here() -> Self {
        Self(FOLDER.into())
    }

    /// Those in another folder.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Dropbear's host key, as Dropbear reads it.
    #[must_use]
    pub fn host_key(&self) -> PathBuf {
        self.0.join("dropbear-host-key")
    }

    /// What is known of the state.
    #[must_use]
    pub fn known(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// How the state was opened.
    #[must_use]
    pub fn opened(&self) -> PathBuf {
        self.0.join("unlocked.json")
    }

    /// The wrong attempts.
    #[must_use]
    pub fn attempts(&self) -> PathBuf {
        self.0.join("unlock-attempts.json")
    }

    /// Held by whoever tries a key.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("unlock.lock")
    }

    /// Held by whoever sends a backup of the header, and by PID 1 when it stops to wait for one
    /// (`meadow_init::state::UploadTurn`).
    #[must_use]
    pub fn restore_lock(&self) -> PathBuf {
        self.0.join("restore-header.lock")
    }

    /// Where a backup of the header is kept while it is checked.
    #[must_use]
    pub fn header_backup(&self) -> PathBuf {
        self.0.join("header-backup")
    }
}

/// Reads a file; `None` where there is none that can be understood.
#[must_use]
pub fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a file for root only, whole or not at all.
///
/// # Errors
/// What the file system says.
pub fn store<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    store_bytes(path, &serde_json::to_vec(value)?)
}

/// The same for bytes.
///
/// # Errors
/// What the file system says.
pub fn store_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Of this process alone: two that write at once must not write into one file.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    fs::rename(&fresh, path)
}

/// Time since the kernel started.
#[must_use]
pub fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
