//! Sealing and giving back, and the PIN.

use meadow_tpm::{Pin, Sealed, TpmError, pcr};

use crate::emulator::Emulator;
use crate::images::{MEASURED, SECRET, seal, signatures, started, value_of};

fn pin(text: &str) -> Pin {
    Pin::new(text).unwrap()
}

#[test]
fn a_signed_image_gets_it_back_after_a_restart_and_nobody_on_the_bus_does() {
    let (mut emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[pcr::SECURE_BOOT], None);
    assert!(sealed.binds_secure_boot() && !sealed.needs_pin());
    let on_disk = serde_json::to_string(&sealed).unwrap();
    let sealed: Sealed = serde_json::from_str(&on_disk).unwrap();
    let signatures = signatures(&signer, &[value_of(b"the image of before"), value_of(MEASURED)]);
    for _ in 0..3 {
        emulator.restart();
        let mut tpm = emulator.connect();
        tpm.extend(pcr::IMAGE, MEASURED).unwrap();
        // Twice: nothing is left over in the TPM that the second one would lack room for.
        for _ in 0..4 {
            assert_eq!(tpm.unseal(&sealed, &signatures, None).unwrap().as_slice(), SECRET);
        }
    }
    assert!(!emulator.was_heard(SECRET), "it was on the bus");
    assert!(!on_disk.contains("secret"));
}

#[test]
fn the_initramfs_lets_go_of_it_until_the_next_start() {
    let (mut emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[], None);
    let signatures = signatures(&signer, &[value_of(MEASURED)]);
    let mut tpm = emulator.connect();
    tpm.unseal(&sealed, &signatures, None).unwrap();
    tpm.close().unwrap();
    let refused = tpm.unseal(&sealed, &signatures, None).unwrap_err();
    assert!(refused.to_string().contains("has let go of its secrets already"), "{refused}");
    // What is sealed then is for the next start too.
    let later = seal(&emulator, &key, &[], None);
    emulator.restart();
    let mut tpm = emulator.connect();
    tpm.extend(pcr::IMAGE, MEASURED).unwrap();
    for sealed in [&sealed, &later] {
        assert_eq!(tpm.unseal(sealed, &signatures, None).unwrap().as_slice(), SECRET);
    }
}

#[test]
fn wrong_pins_are_counted_until_the_tpm_takes_none() {
    let (mut emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[], Some(&pin("4711")));
    let signatures = signatures(&signer, &[value_of(MEASURED)]);
    let mut tpm = emulator.connect();
    assert!(sealed.needs_pin());
    assert!(matches!(tpm.unseal(&sealed, &signatures, None), Err(TpmError::PinNeeded)));
    let before = tpm.tries().unwrap().left;
    assert_eq!(tpm.unseal(&sealed, &signatures, Some(&pin("4711"))).unwrap().as_slice(), SECRET);
    let first = tpm.unseal(&sealed, &signatures, Some(&pin("0000"))).unwrap_err();
    assert!(matches!(first, TpmError::WrongPin { left, .. } if left + 1 == before), "{first}");
    // A restart gives no tries back; one that the TPM was not told of before costs another one.
    emulator.restart();
    let mut tpm = emulator.connect();
    tpm.extend(pcr::IMAGE, MEASURED).unwrap();
    let left = tpm.tries().unwrap().left;
    assert!(left > 0 && left < before, "{left} of {before}");
    for number in 1..=left + 1 {
        let wrong = tpm.unseal(&sealed, &signatures, Some(&pin(&format!("1{number:03}")))).unwrap_err();
        let locked = matches!(wrong, TpmError::Locked { .. });
        assert_eq!(locked, number >= left, "{number} of {left}: {wrong}");
    }
    let right = tpm.unseal(&sealed, &signatures, Some(&pin("4711"))).unwrap_err();
    assert!(matches!(right, TpmError::Locked { .. }), "{right}");
    assert!(!emulator.was_heard(b"4711"));
}

#[test]
fn a_pin_is_no_passphrase() {
    assert!(Pin::new("1234\n").is_ok() && Pin::new("größe").is_ok());
    for wrong in ["", "123", "12345678", "12\t45"] {
        assert!(Pin::new(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn registers_are_those_that_were_measured() {
    let emulator = Emulator::new();
    let mut tpm = emulator.connect();
    assert_eq!(tpm.registers(&[pcr::IMAGE, pcr::CLOSED]).unwrap()[&pcr::IMAGE], [0; 32]);
    tpm.extend(pcr::IMAGE, MEASURED).unwrap();
    assert_eq!(tpm.registers(&[pcr::IMAGE]).unwrap()[&pcr::IMAGE], value_of(MEASURED));
}
