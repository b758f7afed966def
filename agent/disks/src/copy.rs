//! Copies a folder with modes, owners and times.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::DiskError;

/// Bytes that the files of a folder have, symlinks and special files left out.
pub(crate) fn size(folder: &Path) -> Result<u64, DiskError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(DiskError::io("list", folder))? {
        let path = entry.map_err(DiskError::io("list", folder))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(DiskError::io("look at", &path))?;
        bytes += if metadata.is_dir() { size(&path)? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Makes `to` a copy of the folder `from`; sockets, pipes and devices are left out.
pub(crate) fn folder(from: &Path, to: &Path) -> Result<(), DiskError> {
    let mut open: Vec<(PathBuf, PathBuf)> = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        let metadata = fs::symlink_metadata(&from).map_err(DiskError::io("look at", &from))?;
        copy(&from, &to, &metadata).map_err(DiskError::io("copy", &from))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&from).map_err(DiskError::io("list", &from))? {
                let name = entry.map_err(DiskError::io("list", &from))?.file_name();
                open.push((from.join(&name), to.join(&name)));
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    let (owner, group) = (Some(metadata.uid()), Some(metadata.gid()));
    let mode = Permissions::from_mode(metadata.mode() & 0o7777);
    if metadata.is_dir() {
        DirBuilder::new().mode(0o700).create(to)?;
        chown(to, owner, group)?;
        return fs::set_permissions(to, mode);
    }
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, owner, group);
    }
    if !metadata.is_file() {
        return Ok(());
    }
    let mut source = File::open(from)?;
    // Private from the first moment: keys are among them.
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut target)?;
    chown(to, owner, group)?;
    target.set_permissions(mode)?;
    target.set_times(FileTimes::new().set_modified(metadata.modified()?).set_accessed(metadata.accessed()?))?;
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_like_the_original() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("keys/old")).unwrap();
        fs::set_permissions(from.join("keys"), Permissions::from_mode(0o700)).unwrap();
        fs::write(from.join("keys/node.key"), "secret").unwrap();
        fs::set_permissions(from.join("keys/node.key"), Permissions::from_mode(0o600)).unwrap();
        symlink("node.key", from.join("keys/current")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(from.join("api.sock")).unwrap());
        folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("keys/current")).unwrap(), "secret");
        for name in ["keys", "keys/old", "keys/node.key"] {
            let (old, new) = (fs::metadata(from.join(name)).unwrap(), fs::metadata(to.join(name)).unwrap());
            assert_eq!((old.mode(), old.uid(), old.gid()), (new.mode(), new.uid(), new.gid()), "{name}");
        }
        let modified = |place: &Path| fs::metadata(place.join("keys/node.key")).unwrap().modified().unwrap();
        assert_eq!(modified(&from), modified(&to));
        assert!(!to.join("api.sock").exists());
        assert_eq!(size(&to).unwrap(), 6 + 8);
        assert!(folder(&from, &to).is_err());
    }
}
