//! LUKS2 volumes in files: everything but opening one, which needs dm-crypt.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use meadow_luks::header::{self, Which};
use meadow_luks::{Key, LuksError, NewSlot, RecoveryKey, Volume, VolumeKey, restore_header, strip_backup};
use meadow_model::Timestamp;
use meadow_model::install::KeyKind;
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery staple";

struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("disk")).unwrap().set_len(bytes).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn flip(&self, offset: u64) {
        let file = OpenOptions::new().read(true).write(true).open(self.path()).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
    }
}

fn passphrase(text: &str) -> Key {
    Key::new_passphrase(text).unwrap()
}

fn named(label: &str) -> NewSlot<'_> {
    NewSlot { label, ..NewSlot::default() }
}

fn formatted() -> (Disk, Volume, VolumeKey) {
    let disk = Disk::new(64 << 20);
    let (mut volume, key) = Volume::format(&disk.path(), None).unwrap();
    volume.add(&key, &passphrase(PASSPHRASE), named("first")).unwrap();
    (disk, volume, key)
}

/// What stock cryptsetup says of the header.
fn dump(disk: &Path) -> serde_json::Value {
    let output = Command::new("cryptsetup").args(["luksDump", "--dump-json-metadata"]).arg(disk).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stock_opens(disk: &Path, typed: &str) -> bool {
    let mut child = Command::new("cryptsetup")
        .args(["open", "--test-passphrase", "--key-file=-"])
        .arg(disk)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

#[test]
fn the_form_on_the_disk_is_what_was_decided() {
    let (disk, mut volume, key) = formatted();
    let recovery = volume.add_recovery(&key, Some(Timestamp::from_millis(1_800_000_000_000))).unwrap();
    drop(volume);
    let seen = dump(&disk.path());
    let segment = &seen["segments"]["0"];
    assert_eq!(
        (segment["encryption"].as_str(), segment["sector_size"].as_u64()),
        (Some("aes-xts-plain64"), Some(4096))
    );
    let slots = &seen["keyslots"];
    assert_eq!(slots["0"]["key_size"], 64);
    let argon = &slots["0"]["kdf"];
    assert_eq!((argon["type"].as_str(), argon["memory"].as_u64()), (Some("argon2id"), Some(128 * 1024)));
    assert_eq!(argon["time"], 4);
    let lanes = std::thread::available_parallelism().unwrap().get().min(2);
    assert_eq!(argon["cpus"], lanes);
    let pbkdf2 = &slots["1"]["kdf"];
    assert_eq!((pbkdf2["type"].as_str(), pbkdf2["iterations"].as_u64()), (Some("pbkdf2"), Some(1000)));
    assert_eq!(
        seen["tokens"]["0"],
        serde_json::json!({"type": "meadow", "keyslots": ["0"], "kind": "passphrase", "label": "first", "created": null})
    );
    assert_eq!(seen["tokens"]["1"]["kind"], "recovery");
    assert_eq!(header::inspect(&disk.path()).unwrap().newest().unwrap().label, "meadow-state");
    assert!(stock_opens(&disk.path(), PASSPHRASE));
    assert!(stock_opens(&disk.path(), &recovery.text()));
    assert!(!stock_opens(&disk.path(), "correct horse battery stable"));
}

#[test]
fn sectors_are_small_where_the_device_is_not_a_multiple_of_large_ones() {
    let disk = Disk::new((32 << 20) + 512);
    drop(Volume::format(&disk.path(), None).unwrap());
    assert_eq!(dump(&disk.path())["segments"]["0"]["sector_size"], 512);
}

#[test]
fn keys_open_the_slots_of_their_kind_only() {
    let (disk, mut volume, key) = formatted();
    let recovery = volume.add_recovery(&key, None).unwrap();
    let sealed = Zeroizing::new(vec![7; 32]);
    let machine = Key::of_machine(KeyKind::Tpm2, sealed.clone());
    assert!(matches!(volume.unlock(&machine), Err(LuksError::NoSlotOfKind("tpm2"))));
    let extra = serde_json::json!({"blob": "AAAA"}).as_object().unwrap().clone();
    let slot = volume.add(&key, &machine, NewSlot { label: "TPM", created: None, extra }).unwrap();
    drop((volume, key));

    let mut volume = Volume::open(&disk.path()).unwrap();
    assert_eq!(volume.test(&Key::typed(PASSPHRASE).unwrap()).unwrap(), 0);
    assert_eq!(volume.test(&Key::typed(&recovery.text().to_uppercase()).unwrap()).unwrap(), 1);
    assert_eq!(volume.test(&machine).unwrap(), slot);
    assert_eq!(volume.tokens().unwrap()[2].1.extra["blob"], "AAAA");

    for wrong in ["something else", PASSPHRASE.to_uppercase().as_str()] {
        let error = volume.unlock(&Key::typed(wrong).unwrap()).unwrap_err();
        assert!(error.is_wrong_key(), "{error}");
    }
    let other = RecoveryKey::generate().unwrap();
    assert!(volume.unlock(&Key::recovery(&other)).unwrap_err().is_wrong_key());
    let (_, volume_key) = volume.unlock(&Key::typed(PASSPHRASE).unwrap()).unwrap();
    volume.verify(&volume_key).unwrap();
}

#[test]
fn the_last_key_of_a_person_stays() {
    let (disk, mut volume, key) = formatted();
    let machine = Key::of_machine(KeyKind::Tpm2, Zeroizing::new(vec![7; 32]));
    let tpm = volume.add(&key, &machine, named("TPM")).unwrap();
    assert!(matches!(volume.remove(0), Err(LuksError::LastKey(0))));
    let second = volume.add(&key, &passphrase("another passphrase"), named("second")).unwrap();
    volume.remove(0).unwrap();
    assert!(matches!(volume.remove(second), Err(LuksError::LastKey(_))));
    assert!(matches!(volume.remove(0), Err(LuksError::NoSuchSlot(0))));
    volume.remove(tpm).unwrap();
    drop(volume);

    let mut volume = Volume::open(&disk.path()).unwrap();
    let keys: Vec<(u32, String)> = volume.keys().unwrap().into_iter().map(|key| (key.slot, key.label)).collect();
    assert_eq!(keys, [(second, "second".to_owned())]);
    assert_eq!(volume.tokens().unwrap().len(), 1);
    assert!(volume.unlock(&Key::typed(PASSPHRASE).unwrap()).unwrap_err().is_wrong_key());
}

#[test]
fn an_old_recovery_key_ends_only_for_a_new_one_that_somebody_has() {
    let (disk, mut volume, key) = formatted();
    // The second one was never seen by anybody.
    let [old, _unseen, new] = [(); 3].map(|()| volume.add_recovery(&key, None).unwrap());
    volume.test(&Key::recovery(&old)).unwrap();
    let slots = |volume: &mut Volume| volume.keys().unwrap().iter().map(|key| key.slot).collect::<Vec<u32>>();
    assert_eq!(slots(&mut volume), [0, 1, 2, 3]);
    let stranger = Key::recovery(&RecoveryKey::generate().unwrap());
    assert!(volume.end_older_recovery(&stranger).unwrap_err().is_wrong_key());
    let refused = volume.end_older_recovery(&passphrase(PASSPHRASE)).unwrap_err();
    assert!(matches!(refused, LuksError::NoSlotOfKind("recovery")), "{refused}");
    assert_eq!(slots(&mut volume), [0, 1, 2, 3]);

    // Twice: whoever was cut off does it again.
    for _ in 0..2 {
        volume.end_older_recovery(&Key::recovery(&new)).unwrap();
        assert_eq!(slots(&mut volume), [0, 3]);
    }
    drop(volume);
    let mut volume = Volume::open(&disk.path()).unwrap();
    assert!(volume.test(&Key::recovery(&old)).unwrap_err().is_wrong_key());
    volume.test(&Key::recovery(&new)).unwrap();
}

#[test]
fn a_slot_that_was_cut_off_is_shown_opens_and_counts_for_nobody() {
    let (disk, volume, _key) = formatted();
    drop(volume);
    let added = Command::new("cryptsetup").args(["token", "remove", "--token-id=0"]).arg(disk.path()).status().unwrap();
    assert!(added.success());
    let mut volume = Volume::open(&disk.path()).unwrap();
    let keys = volume.keys().unwrap();
    assert!(keys[0].label.starts_with("unknown"), "{keys:?}");
    let (_, key) = volume.unlock(&Key::typed(PASSPHRASE).unwrap()).unwrap();
    assert!(matches!(volume.remove(0), Err(LuksError::LastKey(0))));
    volume.add(&key, &passphrase("another passphrase"), named("second")).unwrap();
    volume.remove(0).unwrap();
}

#[test]
fn bad_labels_are_refused_and_add_nothing() {
    let (_disk, mut volume, key) = formatted();
    for label in ["", "two\nlines", &"x".repeat(65)] {
        let refused = volume.add(&key, &passphrase("another passphrase"), named(label));
        assert!(matches!(refused, Err(LuksError::BadLabel)));
    }
    assert_eq!(volume.keys().unwrap().len(), 1);
}

#[test]
fn another_volume_is_recognised() {
    let (_disk, volume, _key) = formatted();
    volume.expect_uuid(volume.uuid()).unwrap();
    volume.expect_uuid(&volume.uuid().to_uppercase()).unwrap();
    let other = volume.expect_uuid("00000000-0000-4000-8000-000000000000").unwrap_err();
    assert!(other.to_string().contains("exchanged"), "{other}");
}

#[test]
fn a_flipped_bit_in_either_copy_is_told_and_repaired() {
    for (offset, which) in
        [(0, Which::First), (5000, Which::First), (0x4000 + 200, Which::Second), (0x4000, Which::Second)]
    {
        let (disk, volume, _key) = formatted();
        let uuid = volume.uuid().to_owned();
        assert_eq!(volume.repaired(), None);
        drop(volume);
        disk.flip(offset);
        let seen = header::inspect(&disk.path()).unwrap();
        assert_eq!(seen.damaged(), Some(which));
        let mut volume = Volume::open(&disk.path()).unwrap();
        assert_eq!(volume.repaired(), Some(which), "{offset}");
        volume.expect_uuid(&uuid).unwrap();
        volume.test(&Key::typed(PASSPHRASE).unwrap()).unwrap();
        drop(volume);
        assert_eq!(header::inspect(&disk.path()).unwrap().damaged(), None);
        assert_eq!(Volume::open(&disk.path()).unwrap().repaired(), None);
    }
}

#[test]
fn two_damaged_copies_are_restored_from_a_backup_only() {
    let (disk, mut volume, _key) = formatted();
    let uuid = volume.uuid().to_owned();
    let backup = disk.folder.path().join("header");
    volume.back_up_header(&backup).unwrap();
    let whole = fs::read(&backup).unwrap();
    strip_backup(&backup).unwrap();
    let stripped = fs::read(&backup).unwrap();
    assert_eq!(stripped.len(), whole.len());
    let zeros = stripped.iter().filter(|byte| **byte == 0).count();
    assert!(zeros > 15 << 20, "{zeros} zeros only: what nobody uses is gone");
    Volume::open(&backup).unwrap().test(&Key::typed(PASSPHRASE).unwrap()).unwrap();
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o077, 0);
    assert!(volume.back_up_header(&backup).is_err());
    drop(volume);
    disk.flip(5000);
    disk.flip(0x4000 + 5000);
    let error = Volume::open(&disk.path()).unwrap_err();
    assert!(matches!(error, LuksError::HeaderDamaged(_)), "{error}");

    let other = formatted();
    let foreign = restore_header(&disk.path(), &backup, other.1.uuid()).unwrap_err();
    assert!(matches!(foreign, LuksError::BadBackup { .. }), "{foreign}");
    let mut volume = restore_header(&disk.path(), &backup, &uuid).unwrap();
    volume.test(&Key::typed(PASSPHRASE).unwrap()).unwrap();

    let bytes = OpenOptions::new().write(true).open(&backup).unwrap();
    bytes.write_all_at(b"x", 4200).unwrap();
    let damaged = restore_header(&disk.path(), &backup, &uuid).unwrap_err();
    assert!(matches!(damaged, LuksError::BadBackup { .. }), "{damaged}");
}

/// The first byte of a slot's own area.
fn area_of(disk: &Path, slot: &str) -> u64 {
    dump(disk)["keyslots"][slot]["area"]["offset"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_flipped_bit_in_a_key_slot_is_repaired_from_a_backup() {
    let (disk, mut volume, _key) = formatted();
    let uuid = volume.uuid().to_owned();
    let backup = disk.folder.path().join("header");
    volume.back_up_header(&backup).unwrap();
    strip_backup(&backup).unwrap();
    drop(volume);
    disk.flip(area_of(&disk.path(), "0") + 1000);
    let before = fs::read(disk.path()).unwrap();
    let mut volume = Volume::open(&disk.path()).unwrap();
    assert_eq!(volume.repaired(), None, "no checksum covers it");
    assert!(volume.test(&passphrase(PASSPHRASE)).unwrap_err().is_wrong_key());
    drop(volume);

    let start = disk.folder.path().join("start of a header");
    fs::write(&start, &fs::read(&backup).unwrap()[..100_000]).unwrap();
    let cut = restore_header(&disk.path(), &start, &uuid).unwrap_err();
    assert!(matches!(&cut, LuksError::BadBackup { why, .. } if why.contains("end is missing")), "{cut}");
    assert!(fs::read(disk.path()).unwrap() == before, "nothing is written");

    // A power cut while it is put back leaves a whole header over slots that are not: it is put back once more.
    for _ in 0..2 {
        let mut volume = restore_header(&disk.path(), &backup, &uuid).unwrap();
        volume.test(&passphrase(PASSPHRASE)).unwrap();
        drop(volume);
        disk.flip(area_of(&disk.path(), "0"));
    }
}

#[test]
fn a_backup_of_other_keys_takes_no_whole_headers_place() {
    let (disk, mut volume, key) = formatted();
    let uuid = volume.uuid().to_owned();
    let backup = disk.folder.path().join("header");
    volume.back_up_header(&backup).unwrap();
    let second = volume.add(&key, &passphrase("another passphrase"), named("second")).unwrap();
    volume.remove(0).unwrap();
    drop(volume);
    // One damaged copy changes nothing: the other one tells which keys there are.
    for damaged in [None, Some(5000)] {
        damaged.into_iter().for_each(|offset| disk.flip(offset));
        let refused = restore_header(&disk.path(), &backup, &uuid).unwrap_err();
        assert!(matches!(refused, LuksError::KeysChanged(_)), "{refused}");
    }
    let mut volume = Volume::open(&disk.path()).unwrap();
    assert_eq!(volume.test(&passphrase("another passphrase")).unwrap(), second);
    assert!(volume.test(&passphrase(PASSPHRASE)).unwrap_err().is_wrong_key());
    let other = Disk::new(64 << 20);
    let made = Volume::format(&other.path(), None).unwrap();
    drop(made);
    let exchanged = restore_header(&other.path(), &backup, &uuid).unwrap_err();
    assert!(matches!(exchanged, LuksError::AnotherVolume { .. }), "{exchanged}");
}

#[test]
fn other_disks_are_no_volumes() {
    let disk = Disk::new(32 << 20);
    assert!(matches!(Volume::open(&disk.path()), Err(LuksError::NotLuks(_))));
    assert!(matches!(Volume::open(&disk.folder.path().join("none")), Err(LuksError::Io { .. })));
}

#[test]
fn a_volume_with_another_cipher_gets_no_key() {
    let disk = Disk::new(32 << 20);
    let mut made = Command::new("cryptsetup")
        .args([
            "luksFormat",
            "--batch-mode",
            "--type",
            "luks2",
            "--cipher",
            "aes-cbc-essiv:sha256",
            "--key-size",
            "256",
        ])
        .args(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-"])
        .arg(disk.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut made.stdin.take().unwrap(), PASSPHRASE.as_bytes()).unwrap();
    assert!(made.wait().unwrap().success());
    let mut volume = Volume::open(&disk.path()).unwrap();
    let refused = volume.test(&passphrase(PASSPHRASE)).unwrap_err();
    assert!(matches!(&refused, LuksError::AnotherCipher { found, .. } if found == "aes-cbc-essiv:sha256"), "{refused}");
}
