//! LUKS2 for the partition `meadow-state`, over libcryptsetup: what `docs/decisions/0006-installed-nodes.md` says of it.
//!
//! Everything here blocks, and a [`Volume`] stays on the thread that opened it, since libcryptsetup is not safe to be
//! used from several; async callers give it one thread of its own. Nothing here asks or shows anything: keys come in as
//! [`Key`] and go out as [`RecoveryKey`], both wiped when they are dropped.
//!
//! ```no_run
//! use meadow_luks::{Key, MAPPING, Volume};
//! # fn main() -> Result<(), meadow_luks::LuksError> {
//! let mut volume = Volume::open("/dev/disk/by-partlabel/meadow-state".as_ref())?;
//! volume.expect_uuid("0f9c7a1e-5d0c-4a59-9d9e-4c5d6a1f2b3c")?;
//! let (_slot, volume_key) = volume.unlock(&Key::typed("correct horse battery staple")?)?;
//! volume.activate(MAPPING, &volume_key)?;
//! # Ok(())
//! # }
//! ```

mod activate;
mod backup;
mod erase;
mod error;
pub mod header;
mod key;
mod messages;
mod pbkdf;
mod recovery;
mod slots;
mod token;
mod volume;

pub use activate::{close, is_open};
pub use backup::{restore_header, strip_backup};
pub use erase::{HEADER_BYTES, erase};
pub use error::LuksError;
pub use key::{Key, LONGEST_PASSPHRASE, SHORTEST_PASSPHRASE, VolumeKey};
pub use recovery::{RecoveryKey, Typo};
pub use slots::NewSlot;
pub use token::Token;
pub use volume::Volume;

/// Label in the LUKS2 header.
pub const LABEL: &str = "meadow-state";
/// Name of the opened volume: `/dev/mapper/meadow-state`.
pub const MAPPING: &str = "meadow-state";
