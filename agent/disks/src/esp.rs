//! The EFI system partition: FAT32, written without mounting it.
//!
//! Each file of a slot lies in a folder of its own, made with the file system, so that writing one slot changes no sector
//! of a folder that the other slot is found by; FAT entries of both may share a sector, and those of the other slot are
//! written as they were.

mod folders;
mod geometry;
mod sweep;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};

use crate::DiskError;
use crate::progress::{Counter, Progress};

const LABEL: [u8; 11] = *b"MEADOW     ";
/// More would be too few clusters for FAT32 on 256 MiB, less is slow.
const CLUSTER: u32 = 2048;
const CHUNK: usize = 1 << 20;

/// An open file system.
pub(crate) struct Esp {
    path: PathBuf,
    system: FileSystem<File>,
    device: File,
}

impl Esp {
    /// Makes an empty file system with these folders on a partition of a disk with sectors of 512 bytes.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn format(path: &Path, volume_id: u32, paths: &[&str]) -> Result<Self, DiskError> {
        let making = DiskError::io("make a FAT file system on", path);
        let options = FormatVolumeOptions::new()
            .fat_type(FatType::Fat32)
            .bytes_per_cluster(CLUSTER)
            .volume_id(volume_id)
            .volume_label(LABEL);
        let device = OpenOptions::new().read(true).write(true).open(path);
        let device = device.map_err(DiskError::io("open", path))?;
        format_volume(&device, options).map_err(&making)?;
        folders::make(&device, paths).map_err(&making)?;
        let esp = Self::over(path, device)?;
        // Counts the free clusters, which are written down when the file system is closed.
        esp.system.stats().map_err(&making)?;
        Ok(esp)
    }

    /// Opens the file system on a partition for writing.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let device = OpenOptions::new().read(true).write(true).open(path);
        Self::over(path, device.map_err(DiskError::io("open", path))?)
    }

    /// Opens the file system on a partition for reading.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn open_to_read(path: &Path) -> Result<Self, DiskError> {
        Self::over(path, File::open(path).map_err(DiskError::io("open", path))?)
    }

    /// Empties a folder of a file system that nobody has open, the file whose short name begins with `first` before
    /// everything else, and frees all clusters that nothing names: a writer that was cut off leaves such. To be called
    /// before a slot is written, so that its files find the room that they found the first time.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn sweep(path: &Path, folder: &[&str], first: &str) -> Result<(), DiskError> {
        let device = OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::io("open", path))?;
        let freed = sweep::sweep(&device, folder, first);
        let freed = freed.map_err(DiskError::io("make room in the FAT file system on", path))?;
        tracing::info!(freed, ?folder, "emptied a folder of the ESP and freed all clusters that nothing names");
        Ok(())
    }

    fn over(path: &Path, device: File) -> Result<Self, DiskError> {
        let opening = DiskError::io("read the FAT file system on", path);
        let handle = device.try_clone().map_err(&opening)?;
        let system = FileSystem::new(handle, FsOptions::new()).map_err(&opening)?;
        Ok(Self { path: path.to_owned(), system, device })
    }

    /// Writes a whole file, in place of one that has the name.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn write(
        &self,
        name: &str,
        source: &mut dyn Read,
        counter: &mut Counter<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), DiskError> {
        let mut copy = || -> io::Result<()> {
            let mut file = self.system.root_dir().create_file(name)?;
            file.truncate()?;
            let mut buffer = vec![0; CHUNK];
            loop {
                let got = source.read(&mut buffer)?;
                if got == 0 {
                    return file.flush();
                }
                file.write_all(&buffer[..got])?;
                counter.add(got as u64, progress);
            }
        };
        copy().map_err(DiskError::io("write a file on", &self.path))
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn write_bytes(&self, name: &str, mut bytes: &[u8]) -> Result<(), DiskError> {
        self.write(name, &mut bytes, &mut Counter::new("", 0), &mut |_, _| {})
    }

    /// Overwrites a file with as many bytes as it has, where they lie: nothing is allocated, freed or renamed.
    ///
    /// # Errors
    /// [`DiskError::Io`]; [`DiskError::Refused`] where it has another size.
    pub(crate) fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let mut file = self.system.root_dir().open_file(name).map_err(DiskError::io("open a file on", &self.path))?;
        let writing = DiskError::io("overwrite a file on", &self.path);
        if file.seek(SeekFrom::End(0)).map_err(&writing)? != bytes.len() as u64 {
            return Err(DiskError::refused(format!(
                "{name} on {} has an unexpected size; install the node again",
                self.path.display()
            )));
        }
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(bytes)).and_then(|()| file.flush()).map_err(writing)
    }

    /// Reads a file of at most `limit` bytes; `None` where there is none.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
        let mut bytes = Vec::new();
        let read = match self.system.root_dir().open_file(name) {
            Ok(file) => file.take(limit).read_to_end(&mut bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        read.map_err(DiskError::io("read a file on", &self.path))?;
        Ok(Some(bytes))
    }

    /// Waits until the device has everything; the file system stays open.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        self.device.sync_all().map_err(DiskError::io("sync", &self.path))
    }

    /// Closes the file system and waits until the device has everything.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    pub(crate) fn close(self) -> Result<(), DiskError> {
        self.system.unmount().map_err(DiskError::io("close the FAT file system on", &self.path))?;
        self.device.sync_all().map_err(DiskError::io("sync", &self.path))
    }
}
