//! The file under the database: it takes its space from the disk before it is written.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;

use redb::{BackendError, StorageBackend};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// A file that grows by allocating blocks, not by leaving holes: on a full disk the growth is refused, cleanly and
/// before anything was written, and a write into the file never is (on file systems that overwrite in place).
#[derive(Debug)]
pub(crate) struct AllocatedFile(File);

/// The disk has no room for the file to grow; nothing was written.
#[derive(Debug, thiserror::Error)]
#[error("no room for the file to grow to {0} bytes")]
pub(crate) struct NoRoom(u64);

impl AllocatedFile {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), from, to - from) {
            Ok(()) => Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT) => {
                // Some file systems leave the length changed when they run out of blocks half-way.
                self.0.set_len(from)?;
                Err(io::Error::new(io::ErrorKind::StorageFull, NoRoom(to)))
            }
            // A file system that cannot allocate: the file gets holes, and a full disk shows when they are written.
            Err(Errno::OPNOTSUPP) => self.0.set_len(to),
            Err(error) => Err(error.into()),
        }
    }
}

impl StorageBackend for AllocatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len > now { self.allocate(now, len) } else { self.0.set_len(len) }
    }

    fn sync_data(&self) -> io::Result<()> {
        // After a failed sync the kernel may forget that the pages were never written, so no kind of failure here is
        // one to go on after: without its kind, the error counts as a failed disk, never as a full one.
        self.0.sync_data().map_err(|error| io::Error::other(format!("sync failed: {error}")))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.0.unlock()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if !is_whole_file(start, end) {
            return Err(BackendError::Unsupported);
        }
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(BackendError::Io(error)),
        }
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if !is_whole_file(start, end) {
            return Err(BackendError::Unsupported);
        }
        self.0.unlock().map_err(BackendError::Io)
    }
}

fn is_whole_file(start: Bound<u64>, end: Bound<u64>) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded
}
