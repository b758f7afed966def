//! Bytes on a block device: written, synced, and read back from the device itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, OFlags, fadvise};
use sha2::{Digest, Sha256};

use crate::DiskError;
use crate::progress::{Counter, Progress};

const CHUNK: usize = 1 << 20;

/// A disk or a partition, open for writing.
pub struct Area {
    path: PathBuf,
    file: File,
}

impl Area {
    /// Opens it for writing.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::io("open", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Opens it for writing, where nothing else uses it or a part of it: no mount, no mapping, no pool.
    ///
    /// # Errors
    /// [`DiskError::Io`] with [`io::ErrorKind::ResourceBusy`] where something does.
    pub fn open_alone(path: &Path) -> Result<Self, DiskError> {
        let flags = i32::try_from(OFlags::EXCL.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
            .map_err(DiskError::io("open", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Size in bytes.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn size(&self) -> Result<u64, DiskError> {
        (&self.file).seek(SeekFrom::End(0)).map_err(DiskError::io("find the size of", &self.path))
    }

    /// Reads `length` bytes at `offset`.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(DiskError::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Writes `bytes` at `offset` and waits until the device has them.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(DiskError::io("write", &self.path))?;
        self.sync()
    }

    /// Writes zeros from `offset` on and waits until the device has them.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn zero(&self, mut offset: u64, mut length: u64) -> Result<(), DiskError> {
        let zeros = vec![0; CHUNK];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
            self.file.write_all_at(&zeros[..part], offset).map_err(DiskError::io("clear", &self.path))?;
            offset += part as u64;
            length -= part as u64;
        }
        self.sync()
    }

    /// Copies a file of `length` bytes to the start, syncs, reads it back from the device and compares it with the
    /// digest that it should have, in hexadecimal.
    ///
    /// # Errors
    /// [`DiskError::Io`]; [`DiskError::Refused`] where the device gives other bytes than it was given.
    pub fn copy_checked(
        &self,
        source: &Path,
        length: u64,
        sha256: &str,
        step: &str,
        progress: &mut Progress<'_>,
    ) -> Result<(), DiskError> {
        let mut from = File::open(source).map_err(DiskError::io("open", source))?;
        let mut counter = Counter::new(step, length.saturating_mul(2));
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < length {
            let want = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
            from.read_exact(&mut buffer[..want]).map_err(DiskError::io("read", source))?;
            self.file.write_all_at(&buffer[..want], done).map_err(DiskError::io("write", &self.path))?;
            done += want as u64;
            // So that a slow disk shows where it is, not where memory is.
            if done.is_multiple_of(16 * CHUNK as u64) {
                self.sync()?;
            }
            counter.add(want as u64, progress);
        }
        self.sync()?;
        let found = self.digest(length, |part| counter.add(part, progress))?;
        if found == sha256 {
            return Ok(());
        }
        Err(DiskError::refused(format!(
            "{} gives other bytes than were written to it (SHA-256 {found}, expected {sha256}); the disk is broken, take \
             another one",
            self.path.display()
        )))
    }

    /// SHA-256 of the first `length` bytes in hexadecimal, read from the device and not from memory.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn digest(&self, length: u64, mut read: impl FnMut(u64)) -> Result<String, DiskError> {
        // Synced pages are dropped by that, so what is read now comes from the device.
        fadvise(&self.file, 0, None, Advice::DontNeed).map_err(DiskError::io("read", &self.path))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < length {
            let want = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
            self.file.read_exact_at(&mut buffer[..want], done).map_err(DiskError::io("read back", &self.path))?;
            hash.update(&buffer[..want]);
            done += want as u64;
            read(want as u64);
        }
        Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
    }

    /// Waits until the device has everything that was written.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_all().map_err(DiskError::io("sync", &self.path))
    }
}

/// Bytes of a disk's sectors; a file has none and counts as a disk with small ones.
pub(crate) fn sector_size(disk: &Area) -> u64 {
    rustix::fs::ioctl_blksszget(disk.file()).unwrap_or(512).into()
}

/// Reads at most `limit` bytes of a small file.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(DiskError::io("read", path))
}
