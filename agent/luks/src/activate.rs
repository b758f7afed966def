//! Opening and closing: the device mapper's part, which needs dm-crypt in the kernel.

use libcryptsetup_rs::consts::flags::{CryptActivate, CryptDeactivate};
use libcryptsetup_rs::consts::vals::CryptStatusInfo;
use libcryptsetup_rs::{CryptInit, status};
use rustix::io::Errno;

use crate::error::errno;
use crate::key::VolumeKey;
use crate::{LuksError, Volume, messages};

impl Volume {
    /// Opens the volume as `/dev/mapper/NAME`. libcryptsetup checks the key against the header's digest first.
    ///
    /// # Errors
    /// [`LuksError::AlreadyOpen`], [`LuksError::WrongKey`], [`LuksError::Library`]
    pub fn activate(&mut self, name: &str, volume_key: &VolumeKey) -> Result<(), LuksError> {
        messages::catch();
        let mut handle = self.device.activate_handle();
        match handle.activate_by_volume_key(Some(name), Some(volume_key.bytes()), CryptActivate::empty()) {
            Ok(()) => Ok(()),
            Err(error) => Err(match errno(&error) {
                Some(Errno::EXIST) => LuksError::AlreadyOpen(name.to_owned()),
                Some(Errno::PERM) => LuksError::WrongKey,
                Some(Errno::BUSY) => LuksError::Busy(self.path.display().to_string()),
                _ => LuksError::library("open the volume")(error),
            }),
        }
    }
}

/// Whether `/dev/mapper/NAME` is there.
///
/// # Errors
/// [`LuksError::Library`], also where the kernel has no device mapper.
pub fn is_open(name: &str) -> Result<bool, LuksError> {
    messages::catch();
    let found = status(None, name).map_err(LuksError::library("ask the device mapper"))?;
    match found {
        CryptStatusInfo::Active | CryptStatusInfo::Busy => Ok(true),
        CryptStatusInfo::Inactive => Ok(false),
        CryptStatusInfo::Invalid => Err(LuksError::Library {
            action: "ask the device mapper",
            why: messages::take_last_error().unwrap_or_else(|| "it does not answer; is dm-crypt loaded?".to_owned()),
        }),
    }
}

/// Closes `/dev/mapper/NAME`.
///
/// # Errors
/// [`LuksError::Busy`], [`LuksError::Library`]
pub fn close(name: &str) -> Result<(), LuksError> {
    messages::catch();
    let closing = || LuksError::library("close the volume");
    let mut device = CryptInit::init_by_name_and_header(name, None).map_err(closing())?;
    device.activate_handle().deactivate(name, CryptDeactivate::empty()).map_err(|error| match errno(&error) {
        Some(Errno::BUSY) => LuksError::Busy(name.to_owned()),
        _ => closing()(error),
    })
}
