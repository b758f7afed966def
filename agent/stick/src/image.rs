//! The image of a stick: a file with a whole partition table in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gptman::GPT;
use meadow_plan::layout;

use crate::StickError;
use crate::table::{self, Range};

/// Partitions without which it boots nowhere.
const PARTITIONS: [&str; 4] = [layout::BIOS, layout::ESP, layout::ROOT_A, layout::SEED];

/// An image that can be written.
#[derive(Debug)]
pub struct StickImage {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) table: GPT,
    /// What is in front of the first partition, but for the table.
    pub(crate) boot_sector: [u8; 512],
    /// Everything from the first to the last partition.
    pub(crate) body: Range,
    size: u64,
}

impl StickImage {
    /// Opens an image and looks whether it is one.
    ///
    /// # Errors
    /// [`StickError`]
    pub fn open(path: &Path) -> Result<Self, StickError> {
        let file = File::open(path).map_err(StickError::io("open", path))?;
        let size = file.metadata().map_err(StickError::io("look at", path))?.len();
        let no_image = |why| StickError::NoImage { path: path.to_owned(), why };
        let table = table::read(&file).ok_or_else(|| no_image("it has no partition table"))?;
        for name in PARTITIONS {
            table::find(&table, name).ok_or_else(|| no_image("a partition is missing"))?;
        }
        let body = table::body(&table).filter(|body| body.end <= size).ok_or_else(|| no_image("it is cut off"))?;
        let mut boot_sector = [0; 512];
        file.read_exact_at(&mut boot_sector, 0).map_err(StickError::io("read", path))?;
        Ok(Self { path: path.to_owned(), file, table, boot_sector, body, size })
    }

    /// Bytes that a stick must have at least.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
