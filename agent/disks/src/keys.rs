//! Keys of the state.

use std::path::Path;
use std::{fs, io};

use meadow_luks::{Key, NewSlot, Volume, strip_backup};
use meadow_model::Secret;
use meadow_model::header_backup::{HeaderBackup, LARGEST_HEADER};
use zeroize::Zeroizing;

use crate::area::read_file;
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

/// Adds a recovery key; those of before open until somebody has this one.
pub(crate) fn add_recovery(machine: &dyn Machine, existing: &Secret<String>) -> Result<Secret<String>, DiskError> {
    let mut volume = own_disk::require(machine)?.volume(machine)?;
    let (_, volume_key) = volume.unlock(&Key::typed(existing.expose())?)?;
    let recovery = volume.add_recovery(&volume_key, Some(machine.now()))?;
    Ok(Secret::new(recovery.text().to_string()))
}

/// Removes every recovery key but this one.
pub(crate) fn end_older_recovery(machine: &dyn Machine, kept: &Secret<String>) -> Result<(), DiskError> {
    let kept = Key::typed(kept.expose())?;
    Ok(own_disk::require(machine)?.volume(machine)?.end_older_recovery(&kept)?)
}

/// Makes a backup of the header, packed, once the key has opened that very backup.
pub(crate) fn back_up_header(machine: &dyn Machine, existing: &Secret<String>) -> Result<Secret<String>, DiskError> {
    let existing = Key::typed(existing.expose())?;
    let mut volume = own_disk::require(machine)?.volume(machine)?;
    let file = machine.header_file();
    remove_file(&file)?;
    let mut packed = || {
        volume.back_up_header(&file)?;
        strip_backup(&file)?;
        let mut backup = Volume::open(&file)?;
        backup.expect_uuid(volume.uuid())?;
        backup.test(&existing)?;
        let bytes = Zeroizing::new(read_file(&file, LARGEST_HEADER)?);
        HeaderBackup::of(&bytes).pack().map_err(|error| DiskError::refused(error.to_string()))
    };
    let packed = packed();
    remove_file(&file)?;
    packed
}

/// Of an earlier process of ours, or of this one.
fn remove_file(file: &Path) -> Result<(), DiskError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::io("remove", file)(error)),
        _ => Ok(()),
    }
}

/// Removes a key slot.
pub(crate) fn remove(machine: &dyn Machine, slot: u32) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    let mut volume = own.volume(machine)?;
    volume.remove(slot)?;
    tpm_slot::release_host_key(machine, &own, &mut volume)
}
