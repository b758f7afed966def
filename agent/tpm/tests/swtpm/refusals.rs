//! When the TPM gives nothing back, and what a person is told.

use meadow_tpm::{Sealed, TpmError, pcr};
use proptest::prelude::*;

use crate::emulator::{Bus, Emulator, Signer};
use crate::images::{MEASURED, SECRET, seal, signatures, started, value_of};

#[test]
fn another_image_gets_nothing() {
    let (mut emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[], None);
    emulator.restart();
    let mut tpm = emulator.connect();
    tpm.extend(pcr::IMAGE, b"a changed image").unwrap();
    let not_signed = tpm.unseal(&sealed, &signatures(&signer, &[value_of(MEASURED)]), None);
    assert!(matches!(not_signed, Err(TpmError::NotSigned)), "{not_signed:?}");
    // Signed, by somebody else.
    let by_another = signatures(&Signer::new(), &[value_of(b"a changed image")]);
    let refused = tpm.unseal(&sealed, &by_another, None).unwrap_err();
    assert!(refused.to_string().contains("not by the key that it was sealed for"), "{refused}");
}

#[test]
fn another_state_of_secure_boot_gets_nothing() {
    let (mut emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[pcr::SECURE_BOOT], None);
    let signatures = signatures(&signer, &[value_of(MEASURED)]);
    emulator.restart();
    let mut tpm = emulator.connect();
    tpm.extend(pcr::IMAGE, MEASURED).unwrap();
    tpm.extend(pcr::SECURE_BOOT, b"Secure Boot is off").unwrap();
    let changed = tpm.unseal(&sealed, &signatures, None).unwrap_err();
    assert!(changed.to_string().contains("Secure Boot is not set as it was"), "{changed}");
}

#[test]
fn another_tpm_and_a_cleared_one_say_so() {
    let (emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[], None);
    let signatures = signatures(&signer, &[value_of(MEASURED)]);
    let other = Emulator::new();
    other.connect().extend(pcr::IMAGE, MEASURED).unwrap();
    let refused = other.connect().unseal(&sealed, &signatures, None);
    assert!(matches!(refused, Err(TpmError::AnotherTpm)), "{refused:?}");
    emulator.clear();
    let refused = emulator.connect().unseal(&sealed, &signatures, None);
    assert!(matches!(refused, Err(TpmError::AnotherTpm)), "{refused:?}");
}

#[test]
fn who_changes_answers_on_the_bus_is_found_out() {
    let (emulator, signer, key) = started();
    let sealed = seal(&emulator, &key, &[], None);
    let signatures = signatures(&signer, &[value_of(MEASURED)]);
    let forged = (0..20).map(|number| emulator.connect_by(Bus::Turn(number)).unseal(&sealed, &signatures, None));
    let results: Vec<_> = forged.collect();
    assert!(results.iter().any(|result| matches!(result, Err(TpmError::Forged))), "{results:?}");
    for result in results {
        // Answers behind the last one that counts are nobody's concern.
        assert!(result.is_err() || result.is_ok_and(|given| given.as_slice() == SECRET));
    }
}

#[test]
fn what_lies_damaged_on_the_disk_is_refused() {
    let (emulator, signer, key) = started();
    let sealed = serde_json::to_value(seal(&emulator, &key, &[], None)).unwrap();
    let signatures = signatures(&signer, &[value_of(MEASURED)]);
    for name in ["public", "private", "storage", "image_key"] {
        for damage in [String::new(), "?".to_owned(), "AAAA".to_owned(), "A".repeat(5000)] {
            let mut damaged = sealed.clone();
            damaged[name] = damage.clone().into();
            let damaged: Sealed = serde_json::from_value(damaged).unwrap();
            assert!(emulator.connect().unseal(&damaged, &signatures, None).is_err(), "{name} {damage:.10}");
        }
        let mut turned = sealed.clone();
        let text = turned[name].as_str().unwrap().to_owned();
        let other = if text.as_bytes()[20] == b'A' { "B" } else { "A" };
        turned[name] = format!("{}{other}{}", &text[..20], &text[21..]).into();
        let turned: Sealed = serde_json::from_value(turned).unwrap();
        assert!(emulator.connect().unseal(&turned, &signatures, None).is_err(), "{name}");
    }
    let mut weaker = sealed.clone();
    weaker["registers"] = serde_json::json!([]);
    let weaker: Sealed = serde_json::from_value(weaker).unwrap();
    assert!(emulator.connect().unseal(&weaker, &signatures, None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_tpm_that_says_anything_makes_nothing_panic(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut framed = vec![0x80, 0x01];
        framed.extend(u32::try_from(answer.len() + 10).unwrap().to_be_bytes());
        framed.extend([0; 4]);
        framed.extend(&answer);
        std::io::Write::write_all(&mut &theirs, &framed).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut tpm = meadow_tpm::Tpm::over(ours);
        let _ = tpm.registers(&[pcr::IMAGE]);
        let _ = tpm.tries();
    }
}
