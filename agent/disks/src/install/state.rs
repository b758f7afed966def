//! The encrypted state.

use std::path::Path;

use meadow_luks::{Key, NewSlot, Volume};
use meadow_model::Secret;
use uuid::Uuid;

use crate::machine::Machine;
use crate::progress::Progress;
use crate::{DiskError, filesystem};

/// Makes the volume with a passphrase and a recovery key, and the file system with a copy of `source` in it; gives the
/// recovery key.
pub(super) fn make(
    machine: &dyn Machine,
    partition: &Path,
    uuid: Uuid,
    passphrase: &Key,
    source: &Path,
    progress: &mut Progress<'_>,
) -> Result<Secret<String>, DiskError> {
    progress("encrypts the state", None);
    let created = Some(machine.now());
    let (mut volume, key) = Volume::format(partition, Some(uuid))?;
    volume.add(&key, passphrase, NewSlot { label: "passphrase", created, ..NewSlot::default() })?;
    let recovery = volume.add_recovery(&key, created)?;
    progress("fills the state", None);
    let device = machine.open_state(&mut volume, &key)?;
    let made = filesystem::make(&device, &machine.mount_point(), source);
    let closed = machine.close_state();
    made.and(closed)?;
    Ok(Secret::new(recovery.text().to_string()))
}
