//! Backups of headers that come over SSH while a state is lost.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Both are `/sbin/unlock`'s (`meadow_unlock::run_files`).
const LOCK: &str = "restore-header.lock";
const KNOWN: &str = "state.json";

/// Held while no backup is taken.
#[derive(Debug)]
pub struct UploadTurn {
    folder: PathBuf,
    _lock: File,
}

impl UploadTurn {
    /// Waits for the end of a backup that is being sent, which is bounded there. None begins while this is held.
    ///
    /// # Errors
    /// If the system has no lock.
    pub fn take(folder: &Path) -> anyhow::Result<Self> {
        let open = File::options().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK));
        let lock = open.context("cannot wait for a backup of the header")?;
        loop {
            match flock(&lock, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { folder: folder.to_owned(), _lock: lock }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for a backup of the header"),
            }
        }
    }

    /// Nothing is put back into a state that the boot goes on without.
    ///
    /// # Errors
    /// What the file system says.
    pub fn forget_state(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.folder.join(KNOWN)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("cannot forget the state that is lost")
            }
            _ => Ok(()),
        }
    }
}
