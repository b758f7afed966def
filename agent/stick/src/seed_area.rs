//! The partition `meadow-seed` of a stick, or of an image of one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use meadow_model::record::AREA_BYTES;
use meadow_model::seed::Seed;
use meadow_plan::layout;

use crate::StickError;
use crate::table;

/// An open seed partition.
#[derive(Debug)]
pub struct SeedArea {
    path: PathBuf,
    file: File,
    start: u64,
}

impl SeedArea {
    /// Opens it on a stick, or in a file, to read it.
    ///
    /// # Errors
    /// [`StickError`]
    pub fn open_to_read(path: &Path) -> Result<Self, StickError> {
        Self::within(path, File::open(path).map_err(StickError::io("open", path))?)
    }

    /// Opens it on a stick, or in a file, to write it.
    ///
    /// # Errors
    /// [`StickError`]; [`StickError::Shared`] for a file with other names, such as an image in a cache.
    pub fn open(path: &Path) -> Result<Self, StickError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(StickError::io("open", path))?;
        let facts = file.metadata().map_err(StickError::io("look at", path))?;
        if facts.is_file() && facts.nlink() > 1 {
            return Err(StickError::Shared(path.to_owned()));
        }
        Self::within(path, file)
    }

    fn within(path: &Path, file: File) -> Result<Self, StickError> {
        let no_image = |why| StickError::NoImage { path: path.to_owned(), why };
        let table = table::read(&file).ok_or_else(|| no_image("it has no partition table"))?;
        let place = table::find(&table, layout::SEED).ok_or_else(|| no_image("it has no partition meadow-seed"))?;
        if place.end - place.start < AREA_BYTES as u64 {
            return Err(no_image("its partition meadow-seed is too small"));
        }
        Ok(Self { path: path.to_owned(), file, start: place.start })
    }

    /// The area `start` bytes into an open device.
    pub(crate) fn at(path: &Path, file: File, start: u64) -> Self {
        Self { path: path.to_owned(), file, start }
    }

    /// The seed; `None` where there is none.
    ///
    /// # Errors
    /// [`StickError`]
    pub fn read(&self) -> Result<Option<Seed>, StickError> {
        Ok(Seed::read(&self.bytes()?)?)
    }

    /// Puts a seed in place of the one that is there, or takes that away. Should power fail, there is the old one or the
    /// new one; at the end nothing of the old one is left.
    ///
    /// # Errors
    /// [`StickError`]
    pub fn write(&self, seed: Option<&Seed>) -> Result<(), StickError> {
        // The second write overwrites the slot that held the old seed, with its token.
        for _ in 0..2 {
            let write = Seed::replace(&self.bytes()?, seed)?;
            let offset = self.start + write.offset as u64;
            self.file.write_all_at(&write.bytes, offset).map_err(StickError::io("write the seed to", &self.path))?;
            let old = record_room(write.bytes.len());
            let rest = offset + write.bytes.len() as u64;
            self.file.write_all_at(&vec![0; old], rest).map_err(StickError::io("write the seed to", &self.path))?;
            self.file.sync_all().map_err(StickError::io("sync", &self.path))?;
            crate::flash::forget(&self.file);
            if self.read()?.as_ref() != seed {
                return Err(StickError::Broken { path: self.path.clone(), offset });
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<Vec<u8>, StickError> {
        let mut area = vec![0; AREA_BYTES];
        self.file.read_exact_at(&mut area, self.start).map_err(StickError::io("read the seed of", &self.path))?;
        Ok(area)
    }
}

/// Bytes behind a record to the end of its slot.
fn record_room(length: usize) -> usize {
    meadow_model::record::SLOT_BYTES.saturating_sub(length)
}
