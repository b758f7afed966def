//! Backups of the header with its key slots: about 16 MiB, opened by the keys that the volume had then.

use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use libcryptsetup_rs::CryptInit;
use libcryptsetup_rs::consts::vals::EncryptionFormat;

use crate::header::{self, Sound};
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

/// Overwrites all of a backup with zeros but the header itself and the areas of its key slots: what lies between them is
/// noise from when the volume was made. Restored, it opens as the whole one does.
///
/// # Errors
/// [`LuksError::BadBackup`], [`LuksError::Io`]
pub fn strip_backup(file: &Path) -> Result<(), LuksError> {
    let bad = |why: &str| LuksError::BadBackup { file: file.to_owned(), why: why.to_owned() };
    let copies = header::inspect(file)?;
    let newest = copies.newest().ok_or_else(|| bad("it holds no header"))?;
    let used = newest.used(file)?.ok_or_else(|| bad("it does not say where its key slots lie"))?;
    let wipe = || {
        let backup = OpenOptions::new().read(true).write(true).open(file)?;
        let length = backup.metadata()?.len();
        let mut at = 0;
        for Range { start, end } in used {
            zero(&backup, at, start.min(length))?;
            at = at.max(end);
        }
        zero(&backup, at, length)
    };
    wipe().map_err(|source| LuksError::Io { action: "clean the backup", device: file.to_owned(), source })
}

fn zero(file: &std::fs::File, start: u64, end: u64) -> io::Result<()> {
    let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
    file.write_all_at(&vec![0; length], start)
}

/// Puts a backup of the header in place of what lies on `device`, and opens the volume.
///
/// The backup must be whole and of the volume with the UUID `expected`; another one's would make the data unreadable
/// for good. Where a copy of the header on `device` is whole, it must say the very same as the backup: then only the key
/// slots themselves, which no checksum covers, can differ, and are repaired. Any other backup would bring back keys that
/// were removed since. Cut off in the middle, it can be done again.
///
/// # Errors
/// [`LuksError::BadBackup`], [`LuksError::KeysChanged`], [`LuksError::AnotherVolume`], [`LuksError::Library`] and those of
/// [`Volume::open`].
pub fn restore_header(device: &Path, file: &Path, expected: &str) -> Result<Volume, LuksError> {
    let backup = whole_backup(file, expected)?;
    match header::inspect(device)?.newest() {
        Some(now) if !now.uuid.eq_ignore_ascii_case(expected) => {
            let (found, expected) = (now.uuid.clone(), expected.to_owned());
            return Err(LuksError::AnotherVolume { device: device.to_owned(), found, expected });
        }
        Some(now) if !now.has_the_keys_of(&backup) => return Err(LuksError::KeysChanged(device.to_owned())),
        _ => {}
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

fn whole_backup(file: &Path, expected: &str) -> Result<Sound, LuksError> {
    let bad = |why: String| LuksError::BadBackup { file: file.to_owned(), why };
    let copies = header::inspect(file)?;
    let whole = copies.newest().filter(|_| copies.damaged().is_none());
    let copy = whole.ok_or_else(|| bad("it is damaged itself".to_owned()))?;
    if !copy.uuid.eq_ignore_ascii_case(expected) {
        return Err(bad(format!("it is of the volume {}, not of {expected}", copy.uuid)));
    }
    // A connection that broke leaves the start of one.
    let length = file.metadata().map(|about| about.len());
    let length =
        length.map_err(|source| LuksError::Io { action: "read the backup", device: file.to_owned(), source })?;
    let end = copy.used(file)?.and_then(|used| used.iter().map(|range| range.end).max());
    if end.is_none_or(|end| end > length) {
        return Err(bad("its end is missing".to_owned()));
    }
    Ok(copy.clone())
}
