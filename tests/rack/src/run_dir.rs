//! The folder of one rack: its lock, its ledger, its logs and disks.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::ledger::{Entry, Ledger};
use crate::paths;

/// How many folders of racks that failed are kept for their logs.
const KEPT: usize = 5;

/// The folder `rack/<id>` in the cache. Its lock is held as long as the rack lives, so a lock that can be taken tells
/// that the owner is dead, however it died.
#[derive(Debug)]
pub struct RunDir {
    id: String,
    path: PathBuf,
    ledger: Ledger,
    keep: bool,
    _lock: File,
}

impl RunDir {
    /// Makes the folder of a new rack, after taking down racks whose owner has died.
    ///
    /// # Errors
    /// When the cache is not writable.
    pub fn create() -> Result<Self> {
        let parent = paths::cache().join("rack");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        // Racks that begin at the same time must not clean up what another one is just making.
        let _turn = lock(&parent.join(".lock"), FlockOperation::LockExclusive)?;
        clean_stale(&parent)?;
        loop {
            let mut random = [0; 3];
            getrandom::fill(&mut random).context("no random numbers")?;
            let id = format!("{:02x}{:02x}{:02x}", random[0], random[1], random[2]);
            let path = parent.join(&id);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                other => other.with_context(|| format!("cannot create {}", path.display()))?,
            }
            let lock = lock(&path.join("lock"), FlockOperation::NonBlockingLockExclusive)?;
            let ledger = Ledger::create(&path.join("ledger"))?;
            return Ok(Self { id, path, ledger, keep: true, _lock: lock });
        }
    }

    /// Six hexadecimal digits, in the name of everything that belongs to this rack.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Notes what has to be taken down, see [`Ledger::note`].
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note(&mut self, entry: &Entry) -> Result<()> {
        self.ledger.note(entry)
    }

    /// Takes down everything that was noted.
    ///
    /// # Errors
    /// See [`Ledger::undo`].
    pub fn undo(&mut self) -> Result<()> {
        self.ledger.undo()
    }

    /// Whether the logs stay when the rack is down. They do until this is called, so that a rack that cannot be built
    /// leaves them, and always after a panic.
    pub fn keep_logs(&mut self, keep: bool) {
        self.keep = keep;
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            eprintln!("the rack {} is not wholly down, the next one finishes it: {error:#}", self.id);
        }
        if self.keep || std::thread::panicking() {
            remove_disks(&self.path);
        } else if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn lock(path: &Path, operation: FlockOperation) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    flock(&file, operation).with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Takes down what dead racks left behind and removes all but the newest of their folders.
fn clean_stale(parent: &Path) -> Result<()> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let path = entry.path();
        let Ok(lock) = File::open(path.join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            Ledger::undo_left(&path.join("ledger"))?;
            remove_disks(&path);
            dead.push((entry.metadata()?.modified()?, path));
        }
    }
    dead.sort();
    let surplus = dead.len().saturating_sub(KEPT);
    for (_, path) in dead.into_iter().take(surplus) {
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Disks are big and tell nothing that the logs do not.
fn remove_disks(rack: &Path) {
    for entry in fs::read_dir(rack).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "disk" || extension == "fd") {
            // What cannot be removed goes with the folder later.
            let _ = fs::remove_file(path);
        }
    }
}
