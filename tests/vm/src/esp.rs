//! Files on the EFI system partition of a machine that is off.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fatfs::{FileSystem, FsOptions};

use crate::node_disk;

/// The mounted partition, until it is dropped.
pub struct Esp {
    system: Option<FileSystem<File>>,
    device: PathBuf,
}

impl Esp {
    /// Opens it on a disk.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(disk: &Path) -> Result<Self> {
        let (_, start, size) = node_disk::partitions(disk)?
            .into_iter()
            .find(|(name, ..)| name == "meadow-esp")
            .context("the disk has no meadow-esp")?;
        let place = [format!("--offset={start}"), format!("--sizelimit={size}")];
        let made = Command::new("losetup").args(["--find", "--show"]).args(place).arg(disk).output()?;
        ensure!(made.status.success(), "losetup: {}", String::from_utf8_lossy(&made.stderr));
        let device = PathBuf::from(String::from_utf8(made.stdout)?.trim());
        let mut esp = Self { system: None, device };
        let file = File::options().read(true).write(true).open(&esp.device)?;
        esp.system = Some(FileSystem::new(file, FsOptions::new())?);
        Ok(esp)
    }

    fn system(&self) -> Result<&FileSystem<File>> {
        self.system.as_ref().context("it is closed")
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.system()?.root_dir().open_file(name).with_context(|| format!("no {name}"))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Names of what is in its topmost folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        self.system()?.root_dir().iter().map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Writes a file, in a folder that is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let root = self.system()?.root_dir();
        let mut file = root.create_dir(folder)?.create_file(name)?;
        file.truncate()?;
        file.write_all(bytes)?;
        Ok(file.flush()?)
    }
}

impl Drop for Esp {
    fn drop(&mut self) {
        // Before the device goes.
        drop(self.system.take());
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}
