use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use meadow_init::state::UploadTurn;
use meadow_luks::{Key, NewSlot, RecoveryKey, Volume, VolumeKey};

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    files: RunFiles,
    volume_key: VolumeKey,
    recovery: RecoveryKey,
}

impl Bench {
    /// A locked state with a recovery key, which is quick to try.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = RunFiles::within(folder.path());
        let device = folder.path().join("state");
        File::create(&device).unwrap().set_len(32 << 20).unwrap();
        let (mut volume, volume_key) = Volume::format(&device, None).unwrap();
        let recovery = volume.add_recovery(&volume_key, None).unwrap();
        let (node, luks_uuid) = ("node-1".parse().unwrap(), volume.uuid().to_owned());
        store(&files.known(), &Known { device, luks_uuid, node, cluster: "home".to_owned(), pin: false }).unwrap();
        Self { folder, files, volume_key, recovery }
    }

    fn device(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn back_up(&self) -> Vec<u8> {
        let file = self.folder.path().join("backup of an admin");
        Volume::open(&self.device()).unwrap().back_up_header(&file).unwrap();
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        bytes
    }

    fn flip(&self, offset: u64) {
        let device = File::options().read(true).write(true).open(self.device()).unwrap();
        let mut byte = [0];
        device.read_exact_at(&mut byte, offset).unwrap();
        device.write_all_at(&[byte[0] ^ 4], offset).unwrap();
    }

    fn opens(&self) -> bool {
        Volume::open(&self.device()).unwrap().test(&Key::recovery(&self.recovery)).is_ok()
    }

    fn restore(&self, from: impl Read) -> Result<(), Refused> {
        restore(&self.files, from, &mut |_| ())
    }
}

#[test]
fn input_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup");
    assert!(receive(io::empty(), &path).is_err());
    assert!(receive(io::repeat(0), &path).is_err());
    assert!(fs::metadata(&path).unwrap().len() <= LARGEST + 1);
    assert!(receive(&b"header"[..], &path).is_ok());
}

#[test]
fn a_damaged_key_slot_is_repaired_and_other_keys_do_not_come_back() {
    let bench = Bench::new();
    let backup = bench.back_up();
    // Where libcryptsetup puts the first slot, behind both copies of the header.
    bench.flip((32 << 10) + 1000);
    assert!(!bench.opens());
    store(&bench.files.attempts(), &Attempts { wrong: 12, ..Attempts::default() }).unwrap();
    bench.restore(&backup[..]).unwrap();
    assert!(bench.opens());
    assert_eq!(
        load::<Attempts>(&bench.files.attempts()),
        Some(Attempts::default()),
        "nobody waits for that disk's fault"
    );

    let passphrase = Key::new_passphrase("another passphrase").unwrap();
    let slot = NewSlot { label: "second", ..NewSlot::default() };
    Volume::open(&bench.device()).unwrap().add(&bench.volume_key, &passphrase, slot).unwrap();
    let refused = bench.restore(&backup[..]).unwrap_err();
    assert!(refused.code == USAGE && refused.why.contains("keys were changed since"), "{refused:?}");
    // Nothing tells any more which keys there were.
    bench.flip(5000);
    bench.flip(0x4000 + 5000);
    bench.restore(&backup[..]).unwrap();
    assert!(bench.opens());
    assert!(!bench.files.header_backup().exists());
}

#[test]
fn nothing_is_taken_where_nothing_is_locked() {
    let bench = Bench::new();
    let refused = bench.restore(&b"no header"[..]).unwrap_err();
    assert!(refused.code == IMPOSSIBLE && refused.why.contains("damaged itself"), "{refused:?}");
    UploadTurn::take(bench.folder.path()).unwrap().forget_state().unwrap();
    let refused = bench.restore(&bench.back_up()[..]).unwrap_err();
    assert!(refused.code == USAGE && refused.why.contains("no locked state"), "{refused:?}");
}

#[test]
fn the_boot_and_other_sessions_wait_for_a_backup_that_comes() {
    let bench = Bench::new();
    let backup = bench.back_up();
    bench.flip((32 << 10) + 1000);
    let (reader, mut writer) = io::pipe().unwrap();
    let (ended, boot) = mpsc::channel();
    thread::scope(|scope| {
        let session = scope.spawn(|| bench.restore(reader));
        // More than a pipe holds: when it is written, the session has its turn.
        writer.write_all(&backup[..1 << 20]).unwrap();
        let refused = bench.restore(&backup[..]).unwrap_err();
        assert!(refused.why.contains("somebody else"), "{refused:?}");
        scope.spawn(|| {
            let turn = UploadTurn::take(bench.folder.path()).unwrap();
            ended.send(bench.opens()).unwrap();
            drop(turn);
        });
        assert_eq!(boot.try_recv(), Err(mpsc::TryRecvError::Empty));
        writer.write_all(&backup[1 << 20..]).unwrap();
        drop(writer);
        session.join().unwrap().unwrap();
        assert!(boot.recv().unwrap(), "the boot went on before the header was there");
    });
}
