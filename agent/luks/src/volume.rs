//! A LUKS2 volume: made, opened, identified.

use std::fs;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{CryptDevice, CryptInit, CryptParamsLuks2, CryptParamsLuks2Ref, Either};
use meadow_model::install::KeyKind;
use uuid::Uuid;

use crate::header::{self, Which};
use crate::key::VolumeKey;
use crate::{LABEL, LuksError, messages, pbkdf};

const CIPHER: (&str, &str) = ("aes", "xts-plain64");
const SMALL_SECTOR: u64 = 512;
const LARGE_SECTOR: u64 = 4096;

/// A LUKS2 volume whose header is loaded.
pub struct Volume {
    pub(crate) path: PathBuf,
    pub(crate) device: CryptDevice,
    uuid: String,
    repaired: Option<Which>,
}

impl Volume {
    /// Makes an empty volume labelled [`LABEL`] on `device`: AES-256 in XTS mode, sectors of 4096 bytes where the device
    /// is a multiple of them. It has no key slot yet: add one with [`Volume::add`] before the [`VolumeKey`] is dropped,
    /// or nobody ever opens it.
    ///
    /// **What lay on `device` is lost.** The caller makes sure that somebody consented to that.
    ///
    /// # Errors
    /// [`LuksError::Io`] and [`LuksError::Library`]; a device that is in use is refused.
    pub fn format(device: &Path, uuid: Option<Uuid>) -> Result<(Self, VolumeKey), LuksError> {
        messages::catch();
        let io = |action| move |source| LuksError::Io { action, device: device.to_owned(), source };
        let size =
            fs::File::open(device).and_then(|mut file| file.seek(SeekFrom::End(0))).map_err(io("find the size of"))?;
        let sector = if size.is_multiple_of(LARGE_SECTOR) { LARGE_SECTOR } else { SMALL_SECTOR };
        let key = VolumeKey::generate().map_err(io("make a random key for"))?;
        let params = CryptParamsLuks2 {
            pbkdf: Some(pbkdf::for_kind(KeyKind::Passphrase)),
            integrity: None,
            integrity_params: None,
            data_alignment: 0,
            data_device: None,
            sector_size: u32::try_from(sector).unwrap_or(512),
            label: Some(LABEL.to_owned()),
            subsystem: None,
        };
        let action = "make a LUKS2 volume";
        let mut params: CryptParamsLuks2Ref<'_> = (&params).try_into().map_err(LuksError::library(action))?;
        let mut crypt = CryptInit::init(device).map_err(LuksError::library(action))?;
        crypt
            .context_handle()
            .format(EncryptionFormat::Luks2, CIPHER, uuid, Either::Left(key.bytes()), Some(&mut params))
            .map_err(LuksError::library(action))?;
        let uuid = crypt.status_handle().get_uuid().map_err(LuksError::library(action))?.to_string();
        Ok((Self { path: device.to_owned(), device: crypt, uuid, repaired: None }, key))
    }

    /// Loads the header of the volume on `device`. One damaged copy of it is written again from the other one; then
    /// [`Volume::repaired`] says which, and people should be told.
    ///
    /// # Errors
    /// [`LuksError::NotLuks`], [`LuksError::HeaderDamaged`], [`LuksError::CannotRepair`], [`LuksError::Io`] and
    /// [`LuksError::Library`].
    pub fn open(device: &Path) -> Result<Self, LuksError> {
        let copies = header::inspect(device)?;
        let Some(newest) = copies.newest() else {
            return Err(if copies.traces {
                LuksError::HeaderDamaged(device.to_owned())
            } else {
                LuksError::NotLuks(device.to_owned())
            });
        };
        let (uuid, damaged) = (newest.uuid.clone(), copies.damaged());
        let crypt = Self::load(device)?;
        if let (Some(copy), Some(_)) = (damaged, header::inspect(device)?.damaged()) {
            let why = messages::take_last_error().unwrap_or_else(|| "it stays as it was".to_owned());
            return Err(LuksError::CannotRepair { device: device.to_owned(), copy, why });
        }
        if let Some(copy) = damaged {
            tracing::warn!(device = %device.display(), %copy, "repaired a damaged copy of the LUKS2 header");
        }
        Ok(Self { path: device.to_owned(), device: crypt, uuid, repaired: damaged })
    }

    pub(crate) fn load(device: &Path) -> Result<CryptDevice, LuksError> {
        messages::catch();
        let action = "load the LUKS2 header";
        let mut crypt = CryptInit::init(device).map_err(LuksError::library(action))?;
        crypt.context_handle().load::<()>(Some(EncryptionFormat::Luks2), None).map_err(LuksError::library(action))?;
        Ok(crypt)
    }

    /// UUID in the header.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Makes sure that this is the volume with that UUID. To be called before any key is tried: who swaps the volume
    /// must not be given a key.
    ///
    /// # Errors
    /// [`LuksError::AnotherVolume`]
    pub fn expect_uuid(&self, expected: &str) -> Result<(), LuksError> {
        if self.uuid.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(LuksError::AnotherVolume {
            device: self.path.clone(),
            found: self.uuid.clone(),
            expected: expected.to_owned(),
        })
    }

    /// Makes sure that data and slot are encrypted as ours are: a header with a cipher that is none would open with any key.
    pub(crate) fn expect_cipher(&mut self, slot: u32) -> Result<(), LuksError> {
        let reading = || LuksError::library("read how the volume is encrypted");
        let cipher = self.device.status_handle().get_cipher().map_err(reading())?;
        let mode = self.device.status_handle().get_cipher_mode().map_err(reading())?;
        let data = format!("{cipher}-{mode}");
        let mut keyslots = self.device.keyslot_handle();
        let (of_slot, _) = keyslots.get_encryption(Some(slot)).map_err(reading())?;
        let expected = format!("{}-{}", CIPHER.0, CIPHER.1);
        match [data, of_slot.to_owned()].into_iter().find(|found| *found != expected) {
            Some(found) => Err(LuksError::AnotherCipher { device: self.path.clone(), found }),
            None => Ok(()),
        }
    }

    /// The copy of the header that was damaged and was written again when the volume was opened. A disk that does that
    /// should be watched or replaced.
    #[must_use]
    pub fn repaired(&self) -> Option<Which> {
        self.repaired
    }
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume").field("path", &self.path).field("uuid", &self.uuid).finish_non_exhaustive()
    }
}
