//! Why a stick is not written or read.

use std::io;
use std::path::{Path, PathBuf};

use meadow_model::seed::InvalidSeed;
use rustix::process::geteuid;

const WRITE_PROTECTED: &str = "; it is read-only: look for a write-protect switch, or take another one";

/// Why a stick is not written or read, with the next step.
#[derive(Debug, thiserror::Error)]
pub enum StickError {
    /// The system refused.
    #[error("cannot {action} {path}: {source}{}", hint(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Device or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a stick's image.
    #[error("{path} is no image of a Meadow stick ({why}); `make image` builds stick.img, `make install` installs it")]
    NoImage {
        /// The file or device.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// A part of a disk.
    #[error("{path} is a partition of {disk}; give the whole device")]
    Partition {
        /// What was given.
        path: PathBuf,
        /// Kernel name of its disk.
        disk: String,
    },
    /// Neither a block device nor a file.
    #[error("{0} is neither a device nor a file; give a stick such as /dev/sdb, or a file")]
    NoTarget(PathBuf),
    /// Another one than a moment ago.
    #[error("{0} is not the one any more that was looked at; was a stick pulled? Nothing was written, begin again")]
    Changed(PathBuf),
    /// The image itself.
    #[error("{0} is the image itself; write a copy of it, and keep the image as it was built")]
    SameFile(PathBuf),
    /// A file with several names.
    #[error("{0} has other names too (hard links), and all of them would change; make a copy with cp --sparse=always")]
    Shared(PathBuf),
    /// Something that no run of before left.
    #[error(
        "{0} is there, and is a link or somebody else's file; remove it, or write into a folder that nobody else writes to"
    )]
    Planted(PathBuf),
    /// The device gave back other bytes.
    #[error(
        "{path} gives back other bytes than were written to it, at {offset}; it is broken, or smaller than it says: take \
         another one"
    )]
    Broken {
        /// The device.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// The partition table cannot be written.
    #[error("the partition table of {path} cannot be written ({why}); check the device and try again")]
    Table {
        /// The device.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The seed.
    #[error(transparent)]
    Seed(#[from] InvalidSeed),
}

impl StickError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        // Root is refused by nothing but the device.
        io::ErrorKind::PermissionDenied if geteuid().is_root() => WRITE_PROTECTED,
        io::ErrorKind::PermissionDenied => "; run as root",
        io::ErrorKind::ResourceBusy => "; something uses it: unmount it and try again",
        io::ErrorKind::StorageFull => "; free some space there and try again",
        io::ErrorKind::ReadOnlyFilesystem => WRITE_PROTECTED,
        io::ErrorKind::NotFound => "; is the path right?",
        _ => "",
    }
}
