//! A file that arrives piece by piece, and is there only once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written beside its place. Dropped unfinished it is removed.
#[derive(Debug)]
pub struct IncomingFile {
    file: File,
    path: PathBuf,
    part: PathBuf,
    done: bool,
}

impl IncomingFile {
    /// Begins the file that will be at `path`, with the folders above it.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        Ok(Self { file, path: path.to_owned(), part, done: false })
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)
    }

    /// Puts the whole file in its place. It is not synced: what arrives over the network can arrive again.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<()> {
        fs::rename(&self.part, &self.path)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if !self.done {
            // Nobody would look for it.
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_only_once_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grub/core.img");
        let mut file = IncomingFile::create(&path).expect("begun");
        file.append(b"ab").expect("written");
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(folder.path().join("grub")).expect("listed").count(), 0, "a part was left");
        let mut file = IncomingFile::create(&path).expect("begun");
        file.append(b"ab").and_then(|()| file.append(b"c")).expect("written");
        file.finish().expect("whole");
        assert_eq!(fs::read(&path).expect("read"), b"abc");
    }
}
