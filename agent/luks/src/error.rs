//! What can go wrong with a LUKS2 volume, and what a person does about it.

use std::io;
use std::path::PathBuf;

use libcryptsetup_rs::LibcryptErr;

use crate::messages;
use crate::recovery::Typo;

/// An operation on a LUKS2 volume failed.
#[derive(Debug, thiserror::Error)]
pub enum LuksError {
    /// The device has no LUKS2 header at all.
    #[error("{0} holds no LUKS2 volume; if it is the right partition, install the node again")]
    NotLuks(PathBuf),
    /// Neither copy of the header is whole.
    #[error(
        "both copies of the LUKS2 header on {0} are damaged, no key opens it as it is; restore a backup of the header, or \
         install the node again"
    )]
    HeaderDamaged(PathBuf),
    /// One copy of the header is damaged and could not be written again.
    #[error(
        "the {copy} copy of the LUKS2 header on {device} is damaged and cannot be repaired ({why}); check the disk"
    )]
    CannotRepair {
        /// The device.
        device: PathBuf,
        /// Which copy.
        copy: crate::header::Which,
        /// What libcryptsetup said.
        why: String,
    },
    /// The volume is not the one that was expected.
    #[error(
        "the volume on {device} has the UUID {found}, expected {expected}; somebody exchanged the disk or its header, no \
         key is given to it"
    )]
    AnotherVolume {
        /// The device.
        device: PathBuf,
        /// UUID in its header.
        found: String,
        /// UUID that was expected.
        expected: String,
    },
    /// It is not encrypted as ours are.
    #[error(
        "the volume on {device} or a key slot of it is encrypted as {found}, and Meadow's own never is; somebody exchanged \
         its header, no key is given to it"
    )]
    AnotherCipher {
        /// The device.
        device: PathBuf,
        /// The cipher in its header.
        found: String,
    },
    /// No slot opens with this key.
    #[error("this key opens no slot; check the keyboard layout and caps lock, or use the recovery key")]
    WrongKey,
    /// There is no slot that this kind of key could open.
    #[error("no key slot is of the kind {0}; use a passphrase or the recovery key")]
    NoSlotOfKind(&'static str),
    /// There is no such slot.
    #[error("there is no key slot {0}; list them with `meadow node keys ls`")]
    NoSuchSlot(u32),
    /// It is the last slot that a person can open.
    #[error("slot {0} is the last one that a person can open; add a passphrase or a recovery key first")]
    LastKey(u32),
    /// All 32 slots or tokens are taken.
    #[error("every key slot is taken; remove one with `meadow node keys remove`")]
    Full,
    /// A passphrase that is not taken.
    #[error("{0}")]
    BadPassphrase(&'static str),
    /// A recovery key with a typing error.
    #[error(transparent)]
    Typo(#[from] Typo),
    /// A label that is not taken.
    #[error("a label is 1 to 64 printable characters; choose another one")]
    BadLabel,
    /// It is open already.
    #[error("{0} is open already; nothing needs to be done, or close it first")]
    AlreadyOpen(String),
    /// It is in use and cannot be closed.
    #[error("{0} is in use; unmount what lies on it and try again")]
    Busy(String),
    /// A token of ours cannot be read.
    #[error("key slot token {number} is not of Meadow's form ({why}); remove its slot and add the key again")]
    BadToken {
        /// Number of the token.
        number: u32,
        /// What is wrong with it.
        why: String,
    },
    /// A header backup is not for this volume.
    #[error("{file} is no backup of this volume's header ({why}); use the one that was made of it")]
    BadBackup {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The header on the device is whole, and its keys are not those of the backup.
    #[error(
        "the header on {0} is whole, and its keys were changed since this backup was made: put back, it would open with keys \
         that were removed; nothing was changed. Use another key, or a backup that was made after the last change of keys"
    )]
    KeysChanged(PathBuf),
    /// The system refused.
    #[error("cannot {action} {device}: {source}; check that the disk is there and that you are root")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The device or file.
        device: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// libcryptsetup refused.
    #[error("cannot {action}: {why}; look at the kernel's log and check the disk")]
    Library {
        /// What was tried, as a verb.
        action: &'static str,
        /// What libcryptsetup said.
        why: String,
    },
}

impl LuksError {
    /// Whether another try with another key may help.
    #[must_use]
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::WrongKey | Self::Typo(_))
    }

    pub(crate) fn library(action: &'static str) -> impl FnOnce(LibcryptErr) -> Self {
        move |error| Self::Library { action, why: explain(&error) }
    }
}

/// What libcryptsetup said: its last message says more than the error number.
pub(crate) fn explain(error: &LibcryptErr) -> String {
    let plain = match error {
        LibcryptErr::IOError(error) => error.to_string(),
        other => other.to_string(),
    };
    match messages::take_last_error() {
        Some(message) => format!("{message} ({plain})"),
        None => plain,
    }
}

/// The error number of a refused call.
pub(crate) fn errno(error: &LibcryptErr) -> Option<rustix::io::Errno> {
    match error {
        LibcryptErr::IOError(error) => rustix::io::Errno::from_io_error(error),
        _ => None,
    }
}
