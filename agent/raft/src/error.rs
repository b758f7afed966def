//! What can be wrong with the state on disk.

use std::io;
use std::path::PathBuf;

use crate::backend::NoRoom;

/// Why the state on disk cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no space left. What was acknowledged is on disk.
    #[error("the disk that holds {} is full: {source}; free some space", file.display())]
    Full {
        /// The file of the state.
        file: PathBuf,
        /// Whether the write certainly did not happen.
        certain: bool,
        /// The error of the system.
        source: io::Error,
    },
    /// Something on disk is not what was written.
    #[error(
        "{} is damaged: {what}. Nothing was changed. Put the file back from a backup; or, to give this node up, move it \
         away, take the node out with `meadow node remove` on another node, and enrol it again",
        file.display()
    )]
    Corrupt {
        /// The file of the state.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Written by a program that knows more.
    #[error("{} was written by a newer Meadow ({what}); install that version", file.display())]
    Newer {
        /// The file of the state.
        file: PathBuf,
        /// What this one does not know.
        what: String,
    },
    /// It belongs to another replica.
    #[error("{} belongs to replica {found}, and this is replica {expected}; give each its own folder", file.display())]
    OtherReplica {
        /// The file of the state.
        file: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who asked for it.
        expected: u64,
    },
    /// Another process has it open.
    #[error("{} is in use by another process; stop the other meadowd first", file.display())]
    InUse {
        /// The file of the state.
        file: PathBuf,
    },
    /// The system refused to read or write.
    #[error("{} cannot be read or written: {what}; look at the kernel's log and at the disk", file.display())]
    Io {
        /// The file of the state.
        file: PathBuf,
        /// What the system says.
        what: String,
    },
    /// The consensus library did what it must not do.
    #[error("a defect in the handling of the log: {0}")]
    Defect(String),
}

impl StoreError {
    pub(crate) fn from_redb(file: &std::path::Path, error: redb::Error) -> Self {
        let file = file.to_owned();
        match error {
            redb::Error::Io(source) => Self::from_io(file, source),
            redb::Error::Corrupted(what) => Self::Corrupt { file, what },
            redb::Error::DatabaseAlreadyOpen => Self::InUse { file },
            redb::Error::UpgradeRequired(version) => Self::Corrupt { file, what: format!("its format is {version}") },
            other => Self::Io { file, what: other.to_string() },
        }
    }

    pub(crate) fn from_io(file: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let certain = source.get_ref().is_some_and(|inner| inner.is::<NoRoom>());
                Self::Full { file, certain, source }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Corrupt { file, what: source.to_string() }
            }
            _ => Self::Io { file, what: source.to_string() },
        }
    }
}
