//! Files: replaced whole or not at all, private where they hold secrets, read with a limit.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::entropy::{Entropy, SystemEntropy};

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600, from the moment the file exists: keys, tokens, tickets.
    Private,
    /// Mode 0644.
    Public,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// An operation on a file or folder failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused; `action` says what was tried.
    #[error("cannot {action} {path}: {source}{}", hint(source))]
    Io {
        /// What was tried, as a verb: "read", "replace".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds more than the caller is ready to read.
    #[error("{path} is larger than {limit} bytes; it is not what was expected there: look at it and move it away")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that would have been read.
        limit: u64,
    },
    /// The path ends in no file name.
    #[error("{0} names no file; give the path of a file")]
    NoName(PathBuf),
}

impl FileError {
    /// What the system said, where it said anything.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::TooLarge { .. } | Self::NoName(_) => None,
        }
    }

    fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// What a person does about the commonest refusals.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space on that file system, nothing was changed",
        io::ErrorKind::ReadOnlyFilesystem => "; remount it writable or choose another folder",
        io::ErrorKind::PermissionDenied => "; run as root",
        _ => "",
    }
}

/// Puts `contents` in place of whatever `path` holds, atomically and durably.
///
/// The bytes go to a new file in the same folder, are synced, then renamed over `path`, and the folder is synced: after
/// a power cut there is either the old file or the new one. A crash in between leaves a hidden file named
/// `.<name>.<random>.new`, which nothing reads.
///
/// # Errors
/// [`FileError`]; the old file is then as it was, and the new one gone.
pub fn replace(path: &Path, contents: &[u8], access: Access) -> Result<(), FileError> {
    replace_with(path, contents, Permissions::from_mode(access.mode()), None)
}

/// Like [`replace`], and keeps mode and owner of the file that is there.
///
/// # Errors
/// As [`replace`].
pub fn replace_like(path: &Path, contents: &[u8], like: &fs::Metadata) -> Result<(), FileError> {
    replace_with(path, contents, Permissions::from_mode(like.mode() & 0o7777), Some((like.uid(), like.gid())))
}

fn replace_with(
    path: &Path,
    contents: &[u8],
    permissions: Permissions,
    owner: Option<(u32, u32)>,
) -> Result<(), FileError> {
    let failed = FileError::io("replace", path);
    let folder = folder_of(path);
    let temporary = folder.join(temporary_name(path)?);
    let written = write_new(&temporary, contents, permissions, owner)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Best effort: where even this fails, the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

fn write_new(path: &Path, contents: &[u8], permissions: Permissions, owner: Option<(u32, u32)>) -> io::Result<()> {
    // Created private, so that not even the moment before the mode is set shows a secret; O_EXCL follows no symlink.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    // After the owner, since a change of owner clears the set-id bits; explicit, since the umask applies to creation.
    file.set_permissions(permissions)?;
    file.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Random, so that two processes replacing one file never write into each other's.
fn temporary_name(path: &Path) -> Result<String, FileError> {
    let name = path.file_name().ok_or_else(|| FileError::NoName(path.to_owned()))?;
    let mut random = [0; 8];
    SystemEntropy
        .fill(&mut random)
        .map_err(|error| FileError::io("make a temporary file beside", path)(io::Error::other(error)))?;
    Ok(format!(".{}.{:016x}.new", name.to_string_lossy(), u64::from_ne_bytes(random)))
}

/// Overwrites an existing file where it lies, without a rename.
///
/// For a file that cannot be replaced, such as one that is itself a bind mount. Not atomic: a reader may see part of
/// the old and part of the new contents for a moment, and a power cut in that moment may leave such a mix.
///
/// # Errors
/// [`FileError`]
pub fn overwrite_in_place(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(contents)?;
        file.set_len(contents.len() as u64)?;
        file.sync_all()
    };
    write().map_err(FileError::io("overwrite", path))
}

/// Reads the whole of a file of at most `limit` bytes.
///
/// # Errors
/// [`FileError::TooLarge`] where there is more, [`FileError::Io`] otherwise.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let failed = FileError::io("read", path);
    let mut contents = Vec::new();
    File::open(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut contents)).map_err(failed)?;
    if contents.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(contents)
}

/// Reads at most `limit` bytes of a file from `offset` on; fewer only at its end.
///
/// # Errors
/// [`FileError::Io`]
pub fn read_piece(path: &Path, offset: u64, limit: u64) -> Result<Vec<u8>, FileError> {
    let failed = FileError::io("read", path);
    let mut piece = Vec::new();
    let read = |mut file: File| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(limit).read_to_end(&mut piece)
    };
    File::open(path).and_then(read).map_err(failed)?;
    Ok(piece)
}

/// Reads a file as [`read`], or `None` where there is none.
///
/// # Errors
/// As [`read`], without the case of a missing file.
pub fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    match read(path, limit) {
        Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
        other => other.map(Some),
    }
}

/// Makes a folder and those above it; a new one has mode 0700 where `access` is private, else 0755.
///
/// # Errors
/// [`FileError::Io`]
pub fn make_folder(path: &Path, access: Access) -> Result<(), FileError> {
    let mode = match access {
        Access::Private => 0o700,
        Access::Public => 0o755,
    };
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), mode);
    builder.create(path).map_err(FileError::io("make the folder", path))
}

/// Removes a file; no error where there is none.
///
/// # Errors
/// [`FileError::Io`]
pub fn remove(path: &Path) -> Result<(), FileError> {
    unless_missing(fs::remove_file(path)).map_err(FileError::io("remove", path))
}

/// Removes a folder with everything in it; no error where there is none.
///
/// # Errors
/// [`FileError::Io`]
pub fn remove_folder(path: &Path) -> Result<(), FileError> {
    unless_missing(fs::remove_dir_all(path)).map_err(FileError::io("remove the folder", path))
}

fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives a folder its name, durably; an empty folder that has the name already makes place.
///
/// # Errors
/// [`FileError::Io`], also where a folder of that name holds anything.
pub fn rename_folder(from: &Path, to: &Path) -> Result<(), FileError> {
    let rename = || {
        fs::rename(from, to)?;
        File::open(folder_of(to))?.sync_all()
    };
    rename().map_err(FileError::io("put the new folder at", to))
}

/// Lets only the owner read and write.
///
/// # Errors
/// [`FileError::Io`]
pub fn make_private(path: &Path) -> Result<(), FileError> {
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(FileError::io("protect", path))
}

/// The names in a folder, sorted; at most `limit` of them.
///
/// # Errors
/// [`FileError::Io`]
pub fn list(path: &Path, limit: usize) -> Result<Vec<String>, FileError> {
    let failed = FileError::io("list", path);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(&failed)?.take(limit) {
        names.push(entry.map_err(&failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether something is there: file, folder, device or dangling symlink.
#[must_use]
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The path with every symlink followed, or `None` where it leads nowhere.
#[must_use]
pub fn resolve(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("file is there").mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_has_the_new_bytes_the_mode_and_no_leftovers() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key.pem");
        for (contents, access, expected) in [("one", Access::Public, 0o644), ("two", Access::Private, 0o600)] {
            replace(&path, contents.as_bytes(), access).expect("replaced");
            assert_eq!(fs::read_to_string(&path).expect("read"), contents);
            assert_eq!(mode(&path), expected);
        }
        assert_eq!(list(folder.path(), 10).expect("listed"), ["key.pem"]);
    }

    #[test]
    fn a_failed_replace_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("taken");
        fs::create_dir(&path).expect("a folder where the file should go");
        assert!(replace(&path, b"x", Access::Public).is_err());
        assert_eq!(list(folder.path(), 10).expect("listed"), ["taken"]);
    }

    #[test]
    fn the_owner_and_mode_of_the_old_file_stay() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("hosts");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("mode set");
        let like = fs::metadata(&path).expect("metadata");
        replace_like(&path, b"new", &like).expect("replaced");
        let now = fs::metadata(&path).expect("metadata");
        assert_eq!((now.mode(), now.uid(), now.gid()), (like.mode(), like.uid(), like.gid()));
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("big");
        fs::write(&path, [7; 100]).expect("written");
        assert_eq!(read(&path, 100).expect("fits").len(), 100);
        assert!(matches!(read(&path, 99), Err(FileError::TooLarge { limit: 99, .. })));
        assert!(matches!(read(Path::new("/dev/zero"), 4096), Err(FileError::TooLarge { .. })));
        assert_eq!(read_optional(&folder.path().join("none"), 9).expect("no error"), None);
    }

    #[test]
    fn overwriting_keeps_the_inode_and_drops_the_tail() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("hosts");
        fs::write(&path, "a long old text").expect("written");
        let inode = fs::metadata(&path).expect("metadata").ino();
        overwrite_in_place(&path, b"new").expect("overwritten");
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(fs::metadata(&path).expect("metadata").ino(), inode);
    }
}
