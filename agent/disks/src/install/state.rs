//! The encrypted state.

use std::path::Path;

use meadow_luks::{Key, NewSlot, Volume};
use meadow_model::Secret;

use crate::machine::Machine;
use crate::progress::Progress;
use crate::{DiskError, filesystem};

/// A new state.
pub(super) struct NewState {
    /// UUID of the volume.
    pub(super) uuid: String,
    /// The recovery key.
    pub(super) recovery_key: Secret<String>,
}

/// Makes the volume with a passphrase and a recovery key, and the file system with a copy of `source` in it.
pub(super) fn make(
    machine: &dyn Machine,
    partition: &Path,
    passphrase: &Key,
    source: &Path,
    progress: &mut Progress<'_>,
) -> Result<NewState, DiskError> {
    progress("encrypts the state", None);
    let created = Some(machine.now());
    let (mut volume, key) = Volume::format(partition, None)?;
    volume.add(&key, passphrase, NewSlot { label: "passphrase", created, ..NewSlot::default() })?;
    let recovery = volume.add_recovery(&key, created)?;
    progress("fills the state", None);
    let device = machine.open_state(&mut volume, &key)?;
    let made = filesystem::make(&device, &machine.mount_point(), source);
    let closed = machine.close_state();
    made.and(closed)?;
    Ok(NewState { uuid: volume.uuid().to_owned(), recovery_key: Secret::new(recovery.text().to_string()) })
}
