//! A TPM slot over the helper's lines: what it adds, when it refuses, and what goes with it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use data_encoding::{BASE64, HEXLOWER};
use meadow_disks::{Machine, Measured};
use meadow_luks::{Key, Volume};
use meadow_model::Secret;
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode, InstalledDisk, KeyKind};
use meadow_model::preboot::{HostKey, Preboot};
use meadow_model::record;
use meadow_tpm::{Pin, Sealed, Signatures, TpmError, pcr};
use sha2::{Digest, Sha256};

use crate::chip::Chip;
use crate::image::{self, PASSPHRASE};
use crate::install::run;
use crate::keys::{ask, why};
use crate::machine::MadeUp;

const IMAGE: &[u8] = b"the image that runs";

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The file of signatures for an image that measures this.
fn signatures(folder: &Path, image: &[u8]) -> Vec<u8> {
    let policy = meadow_tpm::image_policy(pcr::extended(&[0; 32], image));
    let [key, message, signature] = ["pcr.key", "message", "signature"].map(|name| folder.join(name));
    fs::write(&message, policy).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    openssl(&["dgst", "-sha256", "-sign", &text(&key), "-out", &text(&signature), &text(&message)]);
    let signature = BASE64.encode(&fs::read(signature).unwrap());
    serde_json::json!({"sha256": [{"pcrs": [11], "pkfp": "", "pol": HEXLOWER.encode(&policy), "sig": signature}]})
        .to_string()
        .into_bytes()
}

/// An installed node with a TPM, started from its disk.
fn started(secure_boot: bool) -> MadeUp {
    let machine = MadeUp::new(4 << 30);
    run(&machine, &image::work(&machine, InstallMode::System)).unwrap();
    machine.restart_hard();
    machine.boots("S1", BootSlot::A);
    let key = machine.folder().join("pcr.key").to_str().unwrap().to_owned();
    let public = machine.folder().join("pcr.pem").to_str().unwrap().to_owned();
    openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &key]);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]);
    let signatures = signatures(machine.folder(), IMAGE);
    *machine.measured.borrow_mut() = Some(Measured { image_key: fs::read(public).unwrap(), signatures, secure_boot });
    *machine.tpm.borrow_mut() = Some(Chip::new());
    machine.tpm().unwrap().extend(pcr::IMAGE, IMAGE).unwrap();
    machine
}

fn add(existing: &str, pin: Option<&str>) -> DiskRequest {
    let secret = |text: &str| Secret::new(text.to_owned());
    DiskRequest::AddTpm { existing: secret(existing), pin: pin.map(secret), label: "by itself".to_owned() }
}

fn done(reply: DiskReply) -> InstalledDisk {
    match reply {
        DiskReply::Done { disk: Some(disk), .. } => disk,
        other => panic!("{other:?}"),
    }
}

fn volume(machine: &MadeUp) -> Volume {
    Volume::open(&machine.partition_node("sda", &image::plan_of(machine, "meadow-state"))).unwrap()
}

/// What is on the disk for the only TPM slot.
fn sealed(machine: &MadeUp) -> Sealed {
    let tokens = volume(machine).tokens().unwrap();
    let mut found = tokens.into_iter().filter(|(_, token)| token.kind == KeyKind::Tpm2);
    let (_, token) = found.next().unwrap();
    assert!(found.next().is_none());
    serde_json::from_value(token.extra["tpm2"].clone()).unwrap()
}

fn record(machine: &MadeUp) -> Preboot {
    let mut area = vec![0; record::AREA_BYTES];
    let start = image::plan_of(machine, "meadow-preboot").start;
    fs::File::open(machine.disk()).unwrap().read_exact_at(&mut area, start).unwrap();
    serde_json::from_slice(record::newest(&area).unwrap().payload).unwrap()
}

/// The next start of the same image.
fn next_start(machine: &MadeUp) -> Signatures {
    machine.tpm.borrow_mut().as_mut().unwrap().restart();
    machine.tpm().unwrap().extend(pcr::IMAGE, IMAGE).unwrap();
    Signatures::parse(&machine.measured().unwrap().signatures).unwrap()
}

#[test]
fn the_tpm_opens_the_state_and_keeps_the_host_key() {
    let machine = started(true);
    let before = done(ask(&machine, &DiskRequest::Look));
    assert!(why(ask(&machine, &add("wrong passphrase", None))).contains("opens no slot"));
    assert_eq!(done(ask(&machine, &DiskRequest::Look)), before);
    // As a start leaves it: the initramfs has let go.
    machine.tpm().unwrap().close().unwrap();
    let disk = done(ask(&machine, &add(PASSPHRASE, None)));
    assert!(disk.host_key_sealed && disk.host_key != before.host_key, "{disk:?}");
    assert_eq!(disk.keys.iter().filter(|key| key.kind == KeyKind::Tpm2).count(), 1);

    let signatures = next_start(&machine);
    let sealed = sealed(&machine);
    assert!(sealed.binds_secure_boot() && !sealed.needs_pin());
    let secret = machine.tpm().unwrap().unseal(&sealed, &signatures, None).unwrap();
    let slot = volume(&machine).test(&Key::of_machine(KeyKind::Tpm2, secret)).unwrap();
    let HostKey::Sealed { blob, fingerprint } = record(&machine).host_key else { panic!("not sealed") };
    let host_key: Sealed = serde_json::from_slice(&BASE64.decode(blob.as_bytes()).unwrap()).unwrap();
    let file = machine.tpm().unwrap().unseal(&host_key, &signatures, None).unwrap();
    assert_eq!(fingerprint, disk.host_key);
    // Dropbear's form: the public half is at the end.
    let blob = [&11_u32.to_be_bytes()[..], b"ssh-ed25519", &32_u32.to_be_bytes(), &file[file.len() - 32..]].concat();
    let shown = format!("SHA256:{}", data_encoding::BASE64_NOPAD.encode(&Sha256::digest(&blob)));
    assert_eq!(shown, fingerprint);

    // Removed, it leaves nothing behind that only the TPM could give back.
    let disk = done(ask(&machine, &DiskRequest::RemoveKey { slot }));
    assert!(!disk.host_key_sealed && disk.host_key != fingerprint);
    assert!(matches!(record(&machine).host_key, HostKey::Plain { .. }));
}

#[test]
fn a_slot_with_a_pin_takes_the_place_of_one_without() {
    let machine = started(false);
    done(ask(&machine, &add(PASSPHRASE, None)));
    for wrong in ["123", "12345678"] {
        assert!(why(ask(&machine, &add(PASSPHRASE, Some(wrong)))).contains("4 to 7 characters"));
    }
    let disk = done(ask(&machine, &add(PASSPHRASE, Some("4711"))));
    assert_eq!(disk.keys.iter().filter(|key| key.kind == KeyKind::Tpm2).count(), 1);
    let signatures = next_start(&machine);
    let sealed = sealed(&machine);
    assert!(sealed.needs_pin() && !sealed.binds_secure_boot());
    let mut tpm = machine.tpm().unwrap();
    assert!(matches!(tpm.unseal(&sealed, &signatures, None), Err(TpmError::PinNeeded)));
    let secret = tpm.unseal(&sealed, &signatures, Some(&Pin::new("4711").unwrap())).unwrap();
    volume(&machine).test(&Key::of_machine(KeyKind::Tpm2, secret)).unwrap();
}

#[test]
fn a_start_that_measures_nothing_and_an_image_that_nobody_signed_get_no_slot() {
    let machine = started(false);
    let before = image::digest(&machine.disk());
    let measured = machine.measured.borrow_mut().take();
    let refused = why(ask(&machine, &add(PASSPHRASE, None)));
    assert!(refused.contains("started by a BIOS, or over the network"), "{refused}");
    *machine.measured.borrow_mut() = measured;
    machine.tpm().unwrap().extend(pcr::IMAGE, b"something more").unwrap();
    let refused = why(ask(&machine, &add(PASSPHRASE, None)));
    assert!(refused.contains("not an image signed for this TPM slot"), "{refused}");
    machine.tpm.borrow_mut().take();
    let refused = why(ask(&machine, &add(PASSPHRASE, None)));
    assert!(refused.contains("has no TPM 2.0"), "{refused}");
    assert!(image::digest(&machine.disk()) == before);
}

#[test]
fn an_image_that_the_tpm_would_not_know_is_not_written() {
    let machine = started(false);
    done(ask(&machine, &add(PASSPHRASE, None)));
    let before = image::digest(&machine.disk());
    let folder = image::make(&machine, 2);
    let request = DiskRequest::WriteImage { folder: folder.to_str().unwrap().to_owned(), only_newer: false };
    let refused = why(ask(&machine, &request));
    assert!(refused.contains("would not open this node's state for the new image"), "{refused}");
    assert!(image::digest(&machine.disk()) == before);
    // Without the slot nobody waits for the TPM.
    let slot = done(ask(&machine, &DiskRequest::Look)).keys.iter().find(|key| key.kind == KeyKind::Tpm2).unwrap().slot;
    done(ask(&machine, &DiskRequest::RemoveKey { slot }));
    done(ask(&machine, &request));
}
