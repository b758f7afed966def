//! Why a request was not carried out.

use std::io;
use std::path::{Path, PathBuf};

use meadow_luks::LuksError;
use meadow_plan::Refusal;
use meadow_tpm::TpmError;
use rustix::process::geteuid;

const WRITE_PROTECTED: &str = "; it cannot be written: look for a write-protect switch";

/// Why a request was not carried out, with the next step.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk is not taken.
    #[error(transparent)]
    Plan(#[from] Refusal),
    /// The encrypted volume.
    #[error(transparent)]
    Luks(#[from] LuksError),
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The request is not carried out, for the reason given with the next step.
    #[error("{0}")]
    Refused(String),
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
    /// A program failed.
    #[error("{program} failed ({said}); look at the kernel's log, check the disk and try again")]
    Program {
        /// Its name.
        program: &'static str,
        /// The end of what it said.
        said: String,
    },
}

/// What a person does about the commonest refusals.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; there is no room for it: take a larger disk or remove something",
        io::ErrorKind::NotFound => "; is the disk still there? Plug it in and try again",
        io::ErrorKind::ResourceBusy => "; something uses it: stop that, or start the node from the network or a stick",
        // Root is refused by nothing but the device.
        io::ErrorKind::PermissionDenied if geteuid().is_root() => WRITE_PROTECTED,
        io::ErrorKind::PermissionDenied => "; run as root",
        io::ErrorKind::ReadOnlyFilesystem => WRITE_PROTECTED,
        _ => "; check the disk's cable and health, then ask again: it goes on where it was",
    }
}

impl DiskError {
    /// A refused call.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl Fn(E) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}
