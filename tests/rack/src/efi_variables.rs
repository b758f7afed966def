//! Secure Boot with keys of one's own: writes them into OVMF's empty store of variables, as a person would enrol them in a
//! firmware's setup.
//!
//! The form is EDK2's: a firmware volume whose data is a variable store, in which variables follow each other
//! (`MdeModulePkg/Include/Guid/VariableFormat.h`, `AUTHENTICATED_VARIABLE_HEADER`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// `gEfiAuthenticatedVariableGuid`, the store's signature.
const STORE: [u8; 16] = guid(0xaaf3_2c78, 0x947b, 0x439a, [0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92]);
/// `EFI_GLOBAL_VARIABLE`: whose `PK` and `KEK` are.
const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`: whose `db` is.
const DATABASE: [u8; 16] = guid(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
/// `EFI_CERT_X509_GUID`: a list of certificates.
const X509: [u8; 16] = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
/// Who owns the certificates; nobody asks.
const OWNER: [u8; 16] = [0x6d; 16];
/// Not volatile, for boot and run time, changed only with a signature that has a time.
const ATTRIBUTES: u32 = 0x27;
/// `VARIABLE_STORE_HEADER`.
const STORE_HEADER: usize = 28;

/// Puts `certificate` (DER) into `PK`, `KEK` and `db` of an empty store; with a platform key OVMF switches Secure Boot on.
///
/// # Errors
/// When the file is no empty store of OVMF.
pub fn enrol(store: &Path, certificate: &[u8]) -> Result<()> {
    let mut bytes = fs::read(store).with_context(|| format!("cannot read {}", store.display()))?;
    // EFI_FIRMWARE_VOLUME_HEADER says its own length.
    let header = bytes.get(48..50).context("no firmware volume")?;
    let start = usize::from(u16::from_le_bytes(header.try_into()?));
    ensure!(bytes.get(start..start + 16) == Some(&STORE), "{} holds no variables of OVMF", store.display());
    let list = signature_list(certificate)?;
    let mut all = Vec::new();
    for (name, owner) in [("PK", GLOBAL), ("KEK", GLOBAL), ("db", DATABASE)] {
        all.extend(variable(name, owner, &list)?);
    }
    let place = bytes.get_mut(start + STORE_HEADER..).and_then(|rest| rest.get_mut(..all.len()));
    let place = place.context("the store is too small")?;
    ensure!(place.iter().all(|byte| *byte == 0xff), "{} is not empty", store.display());
    place.copy_from_slice(&all);
    Ok(fs::write(store, bytes)?)
}

fn variable(name: &str, owner: [u8; 16], data: &[u8]) -> Result<Vec<u8>> {
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    // Magic, state "added", reserved, attributes; a counter, which is not used.
    let mut bytes = vec![0xaa, 0x55, 0x3f, 0];
    bytes.extend(ATTRIBUTES.to_le_bytes());
    bytes.extend([0; 8]);
    // EFI_TIME: 2026-01-01; a later change has to be newer.
    bytes.extend(2026_u16.to_le_bytes());
    bytes.extend([1, 1]);
    bytes.extend([0; 12]);
    // Index of a public key, which is not used.
    bytes.extend([0; 4]);
    bytes.extend(u32::try_from(name.len())?.to_le_bytes());
    bytes.extend(u32::try_from(data.len())?.to_le_bytes());
    bytes.extend(owner);
    bytes.extend(name);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0xff);
    Ok(bytes)
}

/// `EFI_SIGNATURE_LIST` with one certificate.
fn signature_list(certificate: &[u8]) -> Result<Vec<u8>> {
    let entry = u32::try_from(OWNER.len() + certificate.len())?;
    let mut bytes = X509.to_vec();
    for number in [28 + entry, 0, entry] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(OWNER);
    bytes.extend(certificate);
    Ok(bytes)
}

const fn guid(first: u32, second: u16, third: u16, rest: [u8; 8]) -> [u8; 16] {
    let (a, b, c, d) = (first.to_le_bytes(), second.to_le_bytes(), third.to_le_bytes(), rest);
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::Ovmf;

    #[test]
    fn variables_are_written_once_and_only_into_an_empty_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store.fd");
        fs::copy(Ovmf::find().expect("OVMF").variables, &store).expect("copied");
        let length = fs::metadata(&store).expect("there").len();
        enrol(&store, &[0x30; 777]).expect("enrolled");
        let bytes = fs::read(&store).expect("read");
        assert_eq!(bytes.len() as u64, length);
        let count = |text: &[u8]| bytes.windows(text.len()).filter(|window| *window == text).count();
        assert_eq!((count(&[0xaa, 0x55, 0x3f, 0]), count(b"K\0E\0K\0\0\0"), count(&X509)), (3, 1, 3));
        assert!(enrol(&store, &[0x30; 777]).is_err());
        fs::write(&store, [0; 100]).expect("written");
        assert!(enrol(&store, b"x").is_err());
    }
}
