//! What this computer's TPM keeps: a key slot of the state, and the SSH host key (`docs/decisions/0007-tpm.md`).

use std::collections::BTreeMap;

use meadow_luks::{Key, NewSlot, Volume};
use meadow_model::Secret;
use meadow_model::install::KeyKind;
use meadow_model::preboot::{HostKey, Preboot};
use meadow_tpm::{Conditions, ImageKey, Pin, Sealed, Signatures, Tpm, TpmError, pcr};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::DiskError;
use crate::area::read_file;
use crate::host_key;
use crate::image::Image;
use crate::machine::{Machine, Measured};
use crate::own_disk::{self, OwnDisk};

/// Field of the LUKS2 token.
const FIELD: &str = "tpm2";
const KEY_BYTES: usize = 32;
/// No unified kernel image is larger: two of them fit on an ESP.
const LARGEST_IMAGE: u64 = 128 << 20;

/// Adds a slot that the TPM opens for an image that was signed as the running one is, in place of older ones.
///
/// Cut off anywhere, the slots of before open, or the new one does too; asked again it comes to its end.
pub(crate) fn add(
    machine: &dyn Machine,
    existing: &Secret<String>,
    pin: Option<&Secret<String>>,
    label: &str,
) -> Result<(), DiskError> {
    let pin = pin.map(|pin| Pin::new(pin.expose())).transpose()?;
    let measured = machine.measured().ok_or(TpmError::NotMeasured(
        "this node was started by a BIOS, or over the network: nothing there measures what is started, so a TPM cannot tell \
         this image from another one; start the node by UEFI from its own disk, then ask again",
    ))?;
    let mut tpm = machine.tpm()?;
    let image_key = ImageKey::from_pem(&measured.image_key)?;
    let registers = conditions(&mut tpm, &measured)?;

    let own = own_disk::require(machine)?;
    let mut volume = own.volume(machine)?;
    let (_, volume_key) = volume.unlock(&Key::typed(existing.expose())?)?;
    let older = slots(&mut volume)?;
    // All that the TPM has to do comes first, so that it fails before anything is changed.
    let (secret, host_key) = (random()?, host_key::generate()?);
    let with_pin = Conditions { image_key: &image_key, registers, pin: pin.as_ref() };
    let sealed = tpm.seal(&secret, &with_pin)?;
    // New, since the one of before lay readable on the disk. Without a PIN: it is there before anybody can type one.
    let sealed_host_key = tpm.seal(&host_key.file, &Conditions { pin: None, ..with_pin })?;
    let blob = data_encoding::BASE64.encode(&serde_json::to_vec(&sealed_host_key).map_err(unwritable)?);

    let key = Key::of_machine(KeyKind::Tpm2, secret);
    volume.add(&volume_key, &key, NewSlot { label, created: Some(machine.now()), extra: extra(&sealed)? })?;
    older.into_iter().try_for_each(|slot| volume.remove(slot))?;
    set_host_key(machine, &own, HostKey::Sealed { blob, fingerprint: host_key.fingerprint })
}

/// Registers that have to be as they are now; makes sure that the running image is one that the TPM will know again.
fn conditions(tpm: &mut Tpm, measured: &Measured) -> Result<BTreeMap<u8, pcr::Value>, DiskError> {
    let mut values = tpm.registers(&[pcr::SECURE_BOOT, pcr::IMAGE])?;
    let image = values.remove(&pcr::IMAGE).unwrap_or_default();
    if !Signatures::parse(&measured.signatures)?.are_for(image) {
        return Err(TpmError::NotSigned.into());
    }
    // Without Secure Boot it says nothing, and would only keep the node from starting after an update of its firmware.
    if !measured.secure_boot {
        values.clear();
    }
    Ok(values)
}

/// With the last TPM slot goes what the TPM kept beside it: nobody could tell any more when it will not be given back.
pub(crate) fn release_host_key(machine: &dyn Machine, own: &OwnDisk, volume: &mut Volume) -> Result<(), DiskError> {
    if matches!(own.record.host_key, HostKey::Plain { .. }) || !slots(volume)?.is_empty() {
        return Ok(());
    }
    set_host_key(machine, own, host_key::generate()?.plain())
}

/// Makes sure that an image will be given the keys that are sealed, before it is written.
pub(crate) fn expect_signed(machine: &dyn Machine, own: &OwnDisk, image: &Image) -> Result<(), DiskError> {
    let sealed = sealed(&mut own.volume(machine)?)?;
    if sealed.is_empty() {
        return Ok(());
    }
    let mut tpm = match machine.tpm() {
        Ok(tpm) => tpm,
        // No image gets anything from a TPM that is not there.
        Err(error) => {
            tracing::warn!(%error, "the TPM slots cannot be checked for the new image");
            return Ok(());
        }
    };
    let uki = read_file(&image.path("uki.efi"), LARGEST_IMAGE)?;
    sealed.iter().try_for_each(|sealed| tpm.expect_signed(sealed, &uki)).map_err(|error| {
        DiskError::refused(format!(
            "the TPM would not open this node's state for the new image ({error}), so that it would wait for a passphrase; \
             nothing was written. Build the image with the key (pcr.key) that the running one was built with, or remove the \
             TPM slot with `meadow node keys remove` and add it again once the new image runs"
        ))
    })
}

fn slots(volume: &mut Volume) -> Result<Vec<u32>, DiskError> {
    let keys = volume.keys()?.into_iter().filter(|key| key.kind == KeyKind::Tpm2);
    Ok(keys.map(|key| key.slot).collect())
}

/// What was sealed for the slots; one that cannot be understood opens for no image.
fn sealed(volume: &mut Volume) -> Result<Vec<Sealed>, DiskError> {
    let tokens =
        volume.tokens()?.into_iter().filter(|(_, token)| token.kind == KeyKind::Tpm2 && token.slot().is_some());
    Ok(tokens.filter_map(|(_, mut token)| serde_json::from_value(token.extra.remove(FIELD)?).ok()).collect())
}

fn extra(sealed: &Sealed) -> Result<Map<String, Value>, DiskError> {
    let value = serde_json::to_value(sealed).map_err(unwritable)?;
    Ok([(FIELD.to_owned(), value)].into_iter().collect())
}

fn set_host_key(machine: &dyn Machine, own: &OwnDisk, host_key: HostKey) -> Result<(), DiskError> {
    own.write_record(machine, &Preboot { host_key, ..own.record.clone() })
}

fn random() -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    let random = aws_lc_rs::rand::SystemRandom::new();
    aws_lc_rs::rand::SecureRandom::fill(&random, &mut bytes)
        .map_err(|_| DiskError::refused("no random numbers for the key; try again"))?;
    Ok(bytes)
}

fn unwritable(error: serde_json::Error) -> DiskError {
    DiskError::refused(format!("what the TPM sealed cannot be written ({error}); try again"))
}
