//! A file onto somebody's stick: nothing else on it changes, and what cannot be written is said.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fatfs::{FileSystem, FsOptions};
use meadow_disks::Machine;
use meadow_model::install::{DiskReply, DiskRequest, InstallMode};

use crate::image;
use crate::install::run;
use crate::keys::{ask, why};
use crate::machine::{Loop, MadeUp};
use crate::stock;

const MIB: u64 = 1 << 20;
const NAME: &str = "meadow-support-node-1-20270115T080000.tar.gz";

fn request(machine: &MadeUp, serial: &str) -> (DiskRequest, Vec<u8>) {
    let from = machine.folder().join("bundle");
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&from, &bytes).unwrap();
    let from = from.display().to_string();
    (DiskRequest::SaveToStick { serial: serial.to_owned(), from, name: NAME.to_owned() }, bytes)
}

/// A stick as shops sell it: an MBR with one FAT partition, and somebody's photo in it. Where that partition begins.
fn shop_stick(machine: &MadeUp, size: u64) -> u64 {
    machine.plug_in("sdb", "S2", size);
    let disk = machine.disk_node("sdb");
    let script = machine.folder().join("script");
    fs::write(&script, "label: dos\nstart=2048, type=c\n").unwrap();
    stock("sh", &["-c", &format!("sfdisk --quiet {} < {}", disk.display(), script.display())]);
    let part = Loop::over(&disk, MIB, None);
    stock("mkfs.vfat", &["-F", "16", part.path().to_str().unwrap()]);
    let system = open(part.path());
    system.root_dir().create_file("photo").unwrap().write_all(b"a photo").unwrap();
    system.unmount().unwrap();
    MIB
}

fn open(device: &Path) -> FileSystem<fs::File> {
    FileSystem::new(OpenOptions::new().read(true).write(true).open(device).unwrap(), FsOptions::new()).unwrap()
}

fn read(machine: &MadeUp, offset: u64, name: &str) -> Vec<u8> {
    let part = Loop::over(&machine.disk_node("sdb"), offset, None);
    stock("fsck.vfat", &["-n", part.path().to_str().unwrap()]);
    let mut bytes = Vec::new();
    open(part.path()).root_dir().open_file(name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_written_and_what_was_there_is_read_and_a_stock_check_finds_no_fault() {
    let machine = MadeUp::new(2 << 30);
    let start = shop_stick(&machine, 64 * MIB);
    let (request, bytes) = request(&machine, "S2");
    for _ in 0..2 {
        let done = ask(&machine, &request);
        assert!(matches!(done, DiskReply::Done { .. }), "{done:?}");
        assert_eq!(read(&machine, start, "photo"), b"a photo");
        assert!(read(&machine, start, NAME) == bytes);
    }
    // A stick without a table, one large file system.
    stock("mkfs.vfat", &["-F", "16", "-I", machine.disk_node("sdb").to_str().unwrap()]);
    assert!(matches!(ask(&machine, &request), DiskReply::Done { .. }));
    assert!(read(&machine, 0, NAME) == bytes);
}

#[test]
fn what_is_no_stick_full_read_only_or_of_another_kind_is_said() {
    let machine = MadeUp::new(2 << 30);
    run(&machine, &image::work(&machine, InstallMode::StateOnly)).unwrap();
    shop_stick(&machine, 64 * MIB);
    let refused = |serial: &str| {
        let digests = || (image::digest(&machine.disk()), image::digest(&machine.disk_node("sdb")));
        let before = digests();
        let why = why(ask(&machine, &request(&machine, serial).0));
        assert!(before == digests(), "something was written: {why}");
        why
    };
    assert!(refused("S1").contains("is a node's disk"));
    assert!(refused("S3").contains("is the stick plugged in"));
    machine.change("sdb", |disk| disk.read_only = true);
    assert!(refused("S2").contains("write-protect"));
    machine.change("sdb", |disk| disk.read_only = false);
    let disk = OpenOptions::new().write(true).open(machine.disk_node("sdb")).unwrap();
    disk.write_all_at(&[0; 512], MIB).unwrap();
    assert!(refused("S2").contains("no FAT file system"));
    machine.plug_in("sdc", "S2", MIB);
    assert!(refused("S2").contains("several disks"));
}

#[test]
fn a_stick_that_turns_out_to_be_read_only_is_told() {
    let machine = MadeUp::new(2 << 30);
    shop_stick(&machine, 64 * MIB);
    let backing = machine.folder().join("backing");
    fs::rename(machine.disk_node("sdb"), &backing).unwrap();
    let device = stock("losetup", &["--find", "--show", "--read-only", backing.to_str().unwrap()]);
    let device = Loop::found(device.trim());
    std::os::unix::fs::symlink(device.path(), machine.disk_node("sdb")).unwrap();
    let before = image::digest(&backing);
    // The inventory did not see it: the switch was moved meanwhile.
    let refused = why(ask(&machine, &request(&machine, "S2").0));
    assert!(refused.contains("look for a write-protect switch"), "{refused}");
    assert!(before == image::digest(&backing));
}

#[test]
fn a_full_stick_keeps_what_it_has() {
    let machine = MadeUp::new(2 << 30);
    machine.plug_in("sdb", "S2", MIB);
    stock("mkfs.vfat", &["-F", "12", "-I", machine.disk_node("sdb").to_str().unwrap()]);
    let refused = why(ask(&machine, &request(&machine, "S2").0));
    assert!(refused.contains("there is no room for it"), "{refused}");
    assert_eq!(open(&machine.disk_node("sdb")).root_dir().iter().count(), 0);
}
