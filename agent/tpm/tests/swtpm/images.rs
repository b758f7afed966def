//! Images: what they measure, and what was signed of it.

use data_encoding::{BASE64, HEXLOWER};
use meadow_tpm::{Conditions, ImageKey, Pin, Sealed, Signatures, TpmError, pcr, uki};
use proptest::prelude::*;

use crate::emulator::{Emulator, Signer};

pub(crate) const SECRET: &[u8; 32] = b"thirty-two bytes that are secret";
/// What the image that runs has measured.
pub(crate) const MEASURED: &[u8] = b"an image";

pub(crate) fn value_of(image: &[u8]) -> pcr::Value {
    pcr::extended(&[0; 32], image)
}

/// The file of signatures over images that measure these values.
pub(crate) fn signatures(signer: &Signer, values: &[pcr::Value]) -> Signatures {
    Signatures::parse(&signature_file(signer, values)).unwrap()
}

fn signature_file(signer: &Signer, values: &[pcr::Value]) -> Vec<u8> {
    let entries = values.iter().map(|value| {
        let policy = meadow_tpm::image_policy(*value);
        let (policy, signature) = (HEXLOWER.encode(&policy), BASE64.encode(&signer.sign(&policy)));
        serde_json::json!({"pcrs": [11], "pkfp": "00", "pol": policy, "sig": signature})
    });
    let file = serde_json::json!({"sha1": [], "sha256": entries.collect::<Vec<_>>()});
    file.to_string().into_bytes()
}

/// A computer on which the image was started, and the key that signed it.
pub(crate) fn started() -> (Emulator, Signer, ImageKey) {
    let (emulator, signer) = (Emulator::new(), Signer::new());
    emulator.connect().extend(pcr::IMAGE, MEASURED).unwrap();
    let key = ImageKey::from_pem(&signer.public()).unwrap();
    (emulator, signer, key)
}

pub(crate) fn seal(emulator: &Emulator, key: &ImageKey, registers: &[u8], pin: Option<&Pin>) -> Sealed {
    let mut tpm = emulator.connect();
    let registers = tpm.registers(registers).unwrap();
    tpm.seal(SECRET, &Conditions { image_key: key, registers, pin }).unwrap()
}

/// A program for UEFI with these sections.
fn program(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 0x80];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes.extend(b"PE\0\0\x64\x86");
    bytes.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
    bytes.extend([0; 16]);
    let mut place = bytes.len() + 40 * sections.len();
    for (name, contents) in sections {
        let mut entry = [0; 40];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        let length = u32::try_from(contents.len()).unwrap();
        for (at, number) in [(8, length), (16, length), (20, u32::try_from(place).unwrap())] {
            entry[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes.extend(entry);
        place += contents.len();
    }
    sections.iter().for_each(|(_, contents)| bytes.extend(*contents));
    bytes
}

#[test]
fn the_next_image_is_known_to_open_it_before_it_is_started() {
    let (emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[], None);
    // The stub measures in its own order, each name with its zero.
    let plain = program(&[(".text", b"code"), (".initrd", b"initrd"), (".linux", b"kernel"), (".pcrsig", b"{}")]);
    let mut value = [0; 32];
    for piece in [&b".linux\0"[..], b"kernel", b".initrd\0", b"initrd"] {
        value = pcr::extended(&value, piece);
    }
    assert_eq!(uki::predict(&plain).unwrap(), value);
    let file = [signature_file(&signer, &[value]), vec![0; 100]].concat();
    let next = |initrd: &[u8], file: &[u8]| program(&[(".initrd", initrd), (".linux", b"kernel"), (".pcrsig", file)]);
    let mut tpm = emulator.connect();
    tpm.expect_signed(&sealed, &next(b"initrd", &file)).unwrap();
    assert!(matches!(tpm.expect_signed(&sealed, &next(b"forged", &file)), Err(TpmError::NotSigned)));
    assert!(matches!(tpm.expect_signed(&sealed, &program(&[])), Err(TpmError::NotSigned)));
    let by_another = signature_file(&Signer::new(), &[value]);
    assert!(matches!(tpm.expect_signed(&sealed, &next(b"initrd", &by_another)), Err(TpmError::Refused { .. })));

    emulator.connect();
    let mut next_start = emulator;
    next_start.restart();
    let mut tpm = next_start.connect();
    for piece in [&b".linux\0"[..], b"kernel", b".initrd\0", b"initrd"] {
        tpm.extend(pcr::IMAGE, piece).unwrap();
    }
    let signatures = Signatures::parse(&file).unwrap();
    assert_eq!(tpm.unseal(&sealed, &signatures, None).unwrap().as_slice(), SECRET);
}

#[test]
fn keys_that_a_tpm_may_not_know_are_refused() {
    for wrong in [&b""[..], b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff\xfe"] {
        assert!(ImageKey::from_pem(wrong).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_image_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0..400_usize) {
        let _ = uki::predict(&bytes);
        let mut image = program(&[(".linux", b"kernel"), (".pcrsig", b"{}")]);
        let at = at % image.len();
        image[at] ^= 0xff;
        let _ = uki::predict(&image);
        let _ = uki::predict(&image[..at]);
        let _ = Signatures::parse(&bytes);
    }
}
