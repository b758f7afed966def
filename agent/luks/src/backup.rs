//! Backups of the header with its key slots: about 16 MiB, opened by the keys that the volume had then.

use std::path::Path;

use libcryptsetup_rs::CryptInit;
use libcryptsetup_rs::consts::vals::EncryptionFormat;

use crate::header;
use crate::{LuksError, Volume, messages};

impl Volume {
    /// Writes header and key slots into a new file, readable by its owner only. Who has it and an old passphrase opens
    /// the volume, also after that passphrase was removed; keep it accordingly.
    ///
    /// # Errors
    /// [`LuksError::Library`], also where the file exists.
    pub fn back_up_header(&mut self, file: &Path) -> Result<(), LuksError> {
        messages::catch();
        self.device
            .backup_handle()
            .header_backup(Some(EncryptionFormat::Luks2), file)
            .map_err(LuksError::library("back up the LUKS2 header"))
    }
}

/// Puts a backup of the header in place of what lies on `device`, and opens the volume.
///
/// The backup must be whole and of the volume with the UUID `expected`; another one's would make the data unreadable
/// for good.
///
/// # Errors
/// [`LuksError::BadBackup`], [`LuksError::Library`] and those of [`Volume::open`].
pub fn restore_header(device: &Path, file: &Path, expected: &str) -> Result<Volume, LuksError> {
    let bad = |why: String| LuksError::BadBackup { file: file.to_owned(), why };
    let copies = header::inspect(file)?;
    match copies.newest() {
        Some(copy) if copies.damaged().is_none() && copy.uuid.eq_ignore_ascii_case(expected) => {}
        Some(copy) if copies.damaged().is_none() => {
            return Err(bad(format!("it is of the volume {}, not of {expected}", copy.uuid)));
        }
        _ => return Err(bad("it is damaged itself".to_owned())),
    }
    messages::catch();
    let action = "restore the LUKS2 header";
    let mut crypt = CryptInit::init(device).map_err(LuksError::library(action))?;
    crypt.backup_handle().header_restore(Some(EncryptionFormat::Luks2), file).map_err(LuksError::library(action))?;
    drop(crypt);
    let volume = Volume::open(device)?;
    volume.expect_uuid(expected)?;
    Ok(volume)
}
