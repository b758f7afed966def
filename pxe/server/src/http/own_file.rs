//! Files for other systems, which an admin laid into a folder: served as they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::artifacts::Artifact;

/// Opens the file `name` below `folder`; no link leads out of it.
pub(super) fn open(folder: &Path, name: &str) -> io::Result<Artifact> {
    let folder = openat(CWD, folder, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH, Mode::empty())?;
    // Not blocking: a FIFO would hold the thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file =
        File::from(openat2(folder, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is no file"));
    }
    // Nobody knows its digest: which file it is, when it was changed and its size tell another one.
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let sha256 = format!("{:x}-{seconds:x}.{nanoseconds:x}-{:x}", metadata.ino(), metadata.len());
    Ok(Artifact { name: name.to_owned(), size: metadata.len(), sha256, digest: None, file })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_files_below_the_folder_are_opened() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("files");
        fs::create_dir_all(folder.join("debian")).unwrap();
        fs::write(folder.join("debian/linux"), "kernel").unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("debian/linux", folder.join("inside")).unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("outside")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("absolute")).unwrap();
        for (name, size) in [("debian/linux", Some(6)), ("inside", Some(6)), ("outside", None), ("absolute", None)] {
            assert_eq!(open(&folder, name).ok().map(|file| file.size), size, "{name}");
        }
        assert!(open(&folder, "debian").is_err(), "a folder");
        assert!(open(&folder, "../secret").is_err());
        assert!(open(&folder.join("none"), "x").is_err());
    }
}
