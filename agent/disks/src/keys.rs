//! Keys of the state.

use meadow_luks::{Key, NewSlot};
use meadow_model::Secret;

use crate::machine::Machine;
use crate::{DiskError, own_disk, tpm_slot};

/// Adds a passphrase.
pub(crate) fn add_passphrase(
    machine: &dyn Machine,
    existing: &Secret<String>,
    new: &Secret<String>,
    label: &str,
) -> Result<(), DiskError> {
    let new = Key::new_passphrase(new.expose())?;
    let mut volume = own_disk::require(machine)?.volume(machine)?;
    let (_, volume_key) = volume.unlock(&Key::typed(existing.expose())?)?;
    volume.add(&volume_key, &new, NewSlot { label, created: Some(machine.now()), ..NewSlot::default() })?;
    Ok(())
}

/// Makes a recovery key in place of the old one.
pub(crate) fn renew_recovery(machine: &dyn Machine, existing: &Secret<String>) -> Result<Secret<String>, DiskError> {
    let mut volume = own_disk::require(machine)?.volume(machine)?;
    let (_, volume_key) = volume.unlock(&Key::typed(existing.expose())?)?;
    let recovery = volume.renew_recovery(&volume_key, Some(machine.now()))?;
    Ok(Secret::new(recovery.text().to_string()))
}

/// Removes a key slot.
pub(crate) fn remove(machine: &dyn Machine, slot: u32) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    let mut volume = own.volume(machine)?;
    volume.remove(slot)?;
    tpm_slot::release_host_key(machine, &own, &mut volume)
}
