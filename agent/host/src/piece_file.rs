//! A file that comes in pieces, over restarts, and gets its name once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The pieces of a file; they lie beside its place.
#[derive(Clone, Debug)]
pub struct PieceFile {
    path: PathBuf,
    part: PathBuf,
}

impl PieceFile {
    /// The pieces of the file that will be at `path`.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        Self { path: path.to_owned(), part: PathBuf::from(part) }
    }

    /// Bytes that are there; 0 where there is none.
    #[must_use]
    pub fn len(&self) -> u64 {
        fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a piece that begins at `offset`; what lay behind that is gone. Makes the folders above the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn put(&self, offset: u64, piece: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.part)?;
        file.set_len(offset)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(piece)
    }

    /// Opens what is there, to read it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.part)
    }

    /// Gives the file its name, durably.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(&self) -> io::Result<()> {
        File::open(&self.part)?.sync_all()?;
        fs::rename(&self.part, &self.path)?;
        File::open(self.path.parent().unwrap_or(&self.path))?.sync_all()
    }

    /// Throws the pieces away.
    ///
    /// # Errors
    /// What the system says.
    pub fn discard(&self) -> io::Result<()> {
        fs::remove_file(&self.part)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn pieces_grow_begin_anew_and_become_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        let pieces = PieceFile::of(&path);
        assert!(pieces.is_empty());
        pieces.put(0, b"abc").expect("written");
        pieces.put(3, b"def").expect("written");
        assert_eq!(pieces.len(), 6);
        pieces.put(0, b"xy").expect("written");
        let mut text = String::new();
        pieces.open().expect("open").read_to_string(&mut text).expect("read");
        assert_eq!(text, "xy");
        assert!(!path.exists());
        pieces.finish().expect("named");
        assert_eq!(fs::read(&path).expect("there"), b"xy");
        assert!(pieces.is_empty() && pieces.discard().is_err());
    }
}
