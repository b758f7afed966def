//! What a unified kernel image will measure into PCR 11, known before it is started: systemd-stub(7) measures the name and
//! then the contents of each of its sections.

use crate::image_key::Signatures;
use crate::pcr::{self, Value};
use crate::{Sealed, Tpm, TpmError, policy};

/// In the order of measuring; `.pcrsig`, which signs the result, is left out.
const MEASURED: [&str; 14] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile",
    ".dtbauto", ".hwids", ".efifw",
];
/// Of a section's entry in the table.
const ENTRY: usize = 40;

/// A section's contents; `None` where there is none of that name.
///
/// # Errors
/// [`TpmError::BadInput`] where it is no program for UEFI.
pub fn section<'a>(uki: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, TpmError> {
    read(uki, name)
        .ok_or_else(|| TpmError::input("the unified kernel image", "it is no program for UEFI, or is cut off"))
}

/// `None` where the form is wrong, `Some(None)` where there is no such section.
fn read<'a>(uki: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    let header = number(uki, 0x3c)?;
    let coff = uki.get(header..)?;
    if !uki.starts_with(b"MZ") || !coff.starts_with(b"PE\0\0") {
        return None;
    }
    let (count, optional) = (short(coff, 6)?, short(coff, 20)?);
    for index in 0..count {
        let entry = coff.get(24 + optional + index * ENTRY..)?.get(..ENTRY)?;
        let end = entry.iter().take(8).position(|byte| *byte == 0).unwrap_or(8);
        if entry.get(..end)? == name.as_bytes() {
            let (length, start) = (number(entry, 8)?, number(entry, 20)?);
            return Some(Some(uki.get(start..start.checked_add(length)?)?));
        }
    }
    Some(None)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

/// The value of PCR 11 once this image runs.
///
/// # Errors
/// [`TpmError::BadInput`]
pub fn predict(uki: &[u8]) -> Result<Value, TpmError> {
    let mut value = Value::default();
    for name in MEASURED {
        if let Some(contents) = section(uki, name)? {
            let with_end = [name.as_bytes(), &[0]].concat();
            value = pcr::extended(&pcr::extended(&value, &with_end), contents);
        }
    }
    Ok(value)
}

impl Tpm {
    /// Makes sure, before it is started, that an image will be given back what was sealed: that it measures what it has a
    /// signature for, by the key that was sealed for. Secure Boot and the PIN are not looked at.
    ///
    /// # Errors
    /// [`TpmError::NotSigned`], [`TpmError::BadInput`]; what the TPM says of a wrong signature.
    pub fn expect_signed(&mut self, sealed: &Sealed, uki: &[u8]) -> Result<(), TpmError> {
        let digest = policy::of_image(predict(uki)?);
        let signatures = section(uki, ".pcrsig")?.map(Signatures::parse).transpose()?.unwrap_or_default();
        let signature = signatures.over(&digest).ok_or(TpmError::NotSigned)?;
        sealed.image_key()?.approve(self, &digest, signature).map(drop)
    }
}
