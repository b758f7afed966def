//! Installing: what lies on the disk then, and what is refused.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};

use meadow_disks::{Installed, install};
use meadow_luks::{Key, Volume};
use meadow_model::Secret;
use meadow_model::install::{BootSlot, DiskRequest, InstallMode, InstallWork, KeyKind, Partition};
use meadow_model::preboot::{HostKey, Preboot};
use meadow_model::record;

use crate::image::{self, PASSPHRASE};
use crate::keys::ask;
use crate::machine::{DATA_OFFSET, Loop, MadeUp};
use crate::stock;

const GIB: u64 = 1 << 30;
const SYSTEM: InstallMode = InstallMode::System;

pub(crate) fn run(machine: &MadeUp, work: &InstallWork) -> Result<Installed, String> {
    install(machine, work, &mut |_, _| {}).map_err(|error| error.to_string())
}

fn bytes(machine: &MadeUp, partition: &Partition, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open(machine.disk()).unwrap().read_exact_at(&mut bytes, partition.start).unwrap();
    bytes
}

/// Looks at a complete disk with stock tools and with the crates that boot from it.
pub(crate) fn assert_complete(machine: &MadeUp, work: &InstallWork, recovery: Option<&Secret<String>>) {
    machine.restart_hard();
    let parts = &work.plan.partitions;
    let table = stock("sfdisk", &["--json", machine.disk().to_str().unwrap()]);
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let rows = table["partitiontable"]["partitions"].as_array().unwrap();
    assert_eq!(rows.len(), parts.len());
    for (row, part) in rows.iter().zip(parts) {
        assert_eq!(row["name"], part.name.as_str());
        assert_eq!(row["type"].as_str().unwrap().to_lowercase(), part.type_guid.to_lowercase());
        assert_eq!((row["start"].as_u64(), row["size"].as_u64()), (Some(part.start / 512), Some(part.size / 512)));
    }
    stock("sfdisk", &["--verify", machine.disk().to_str().unwrap()]);
    let named = |name: &str| parts.iter().find(|part| part.name == name).unwrap();
    if work.plan.mode == SYSTEM {
        assert_eq!(bytes(machine, named("meadow-root-a"), (3 << 20) + 4096), image::artifact("root.img", 1));
        assert_system(machine, named("meadow-esp"));
        let mut boot = [0; 512];
        fs::File::open(machine.disk()).unwrap().read_exact_at(&mut boot, 0).unwrap();
        assert_eq!(boot[..0x5c], image::artifact("grub/boot.img", 1)[..0x5c]);
        assert_eq!((&boot[0x5c..0x60], &boot[0x66..0x68]), (&[0, 8, 0, 0][..], &[0x90, 0x90][..]));
        assert_eq!((boot[0x1c2], &boot[510..]), (0xee, &[0x55, 0xaa][..]));
        let core = bytes(machine, named("meadow-bios"), 5000);
        assert_eq!(core[0x200..], image::artifact("grub/core.img", 1)[0x200..]);
    }
    let record = bytes(machine, named("meadow-preboot"), record::AREA_BYTES);
    let record: Preboot = serde_json::from_slice(record::newest(&record).unwrap().payload).unwrap();
    assert_eq!((record.node.as_str(), record.installed), ("node-1", work.plan.mode == SYSTEM));
    let state = Loop::over(&machine.disk(), named("meadow-state").start, Some(named("meadow-state").size));
    let mut volume = Volume::open(state.path()).unwrap();
    volume.expect_uuid(&record.luks_uuid).unwrap();
    assert_eq!(volume.test(&Key::typed(PASSPHRASE).unwrap()).unwrap(), 0);
    if let Some(recovery) = recovery {
        assert_eq!(volume.test(&Key::typed(recovery.expose()).unwrap()).unwrap(), 1);
    }
    // Straight from the disk: what a loop device over a loop device reads, and when one is gone, is the kernel's business.
    let inside = format!("{}?offset={}", machine.disk().display(), named("meadow-state").start + DATA_OFFSET);
    stock("e2fsck", &["-f", "-n", &inside]);
    assert_eq!(stock("debugfs", &["-R", "cat lib/meadow/identity/node.key", &inside]), "the node's key");
    let listed = stock("debugfs", &["-R", "stat lib/meadow/identity/node.key", &inside]);
    assert!(listed.contains("Mode:  0600"), "{listed}");
}

fn assert_system(machine: &MadeUp, esp: &Partition) {
    let esp = Loop::over(&machine.disk(), esp.start, Some(esp.size));
    let path = esp.path().to_str().unwrap();
    let checked = stock("fsck.vfat", &["-n", "-v", path]);
    assert!(checked.contains("32 bit"), "{checked}");
    let system = fatfs::FileSystem::new(fs::File::open(path).unwrap(), fatfs::FsOptions::new()).unwrap();
    let read = |name: &str| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut system.root_dir().open_file(name).unwrap(), &mut bytes).unwrap();
        bytes
    };
    for name in ["vmlinuz", "initrd", "uki.efi", "uki.efi.sig"] {
        assert_eq!(read(&format!("meadow/a/{name}")), image::artifact(name, 1));
    }
    assert_eq!(read("EFI/BOOT/BOOTX64.EFI"), image::artifact("grub/bootx64.efi", 1));
    assert_eq!(read("secureboot.cer"), image::artifact("secureboot.cer", 1));
    assert!(
        read("meadow/grubenv")
            .starts_with(b"# GRUB Environment Block\nblessed=a\ntry=\nattempted=\ntrial=\nfailures=0\n##")
    );
    let root: serde_json::Value = serde_json::from_slice(&read("meadow/a/root.json")).unwrap();
    assert_eq!((root["size"].as_u64(), root["hash_offset"].as_u64()), (Some((3 << 20) + 4096), Some(3 << 20)));
    assert!(system.root_dir().open_dir("meadow/b").unwrap().iter().count() <= 2);
}

#[test]
fn a_blank_disk_becomes_a_node() {
    let machine = MadeUp::new(4 * GIB);
    let work = image::work(&machine, SYSTEM);
    let mut steps: Vec<String> = Vec::new();
    let installed = install(&machine, &work, &mut |step, percent| {
        assert!(percent.is_none_or(|percent| percent <= 100));
        if steps.last().is_none_or(|last| last != step) {
            steps.push(step.to_owned());
        }
    })
    .unwrap();
    assert_eq!(
        steps,
        [
            "looks at the disk",
            "checks the image",
            "writes the partition table",
            "writes the system",
            "writes what boots the system",
            "encrypts the state",
            "fills the state",
            "makes the disk bootable"
        ]
    );
    let kinds: Vec<KeyKind> = installed.disk.keys.iter().map(|key| key.kind).collect();
    assert_eq!(kinds, [KeyKind::Passphrase, KeyKind::Recovery]);
    assert_eq!((installed.disk.blessed, installed.disk.running), (Some(BootSlot::A), None));
    assert!(!installed.disk.host_key_sealed);
    assert_complete(&machine, &work, installed.recovery_key.as_ref());

    // The same request again finds a disk that is no longer what was planned.
    let again = run(&machine, &work).unwrap_err();
    assert!(again.contains("is not what the plan was made for") && again.contains("meadow-state"), "{again}");
}

/// udev has the table of a disk that was written to read anew, and the partitions are away for that moment.
#[test]
fn udev_is_kept_off_while_a_disk_is_installed_and_while_it_is_looked_at() {
    let machine = MadeUp::new(4 * GIB);
    run(&machine, &image::work(&machine, SYSTEM)).unwrap();
    let installing = machine.was_steady();
    assert!(installing.len() > 5 && installing.iter().all(|held| *held), "{installing:?}");
    machine.restart_hard();
    ask(&machine, &DiskRequest::Look);
    // What is looked at first tells whether it is a node's disk at all.
    assert_eq!(machine.was_steady().first(), Some(&true));
}

#[test]
fn a_netbooted_node_gets_its_state_only() {
    let machine = MadeUp::new(2 * GIB);
    let work = image::work(&machine, InstallMode::StateOnly);
    let installed = run(&machine, &work).unwrap();
    assert_eq!((installed.disk.mode, installed.disk.blessed), (InstallMode::StateOnly, None));
    // A BIOS that is to start from it goes on to the next device.
    let mut sector = [0; 512];
    fs::File::open(machine.disk()).unwrap().read_exact(&mut sector).unwrap();
    assert_eq!(sector[510..], [0x55, 0xaa]);
    assert!(sector.windows(22).any(|text| text == b"trying the next device"), "no boot code");
    assert_complete(&machine, &work, installed.recovery_key.as_ref());
}

#[test]
fn stock_dropbear_reads_the_host_key() {
    let machine = MadeUp::new(2 * GIB);
    let work = image::work(&machine, InstallMode::StateOnly);
    let installed = run(&machine, &work).unwrap();
    let preboot = work.plan.partitions.iter().find(|part| part.name == "meadow-preboot").unwrap();
    machine.restart_hard();
    let record = bytes(&machine, preboot, record::AREA_BYTES);
    let record: Preboot = serde_json::from_slice(record::newest(&record).unwrap().payload).unwrap();
    let HostKey::Plain { key, fingerprint } = record.host_key else { panic!("there is no TPM") };
    assert_eq!(fingerprint, installed.disk.host_key);
    let path = machine.folder().join("host_key");
    fs::write(&path, data_encoding::BASE64.decode(key.expose().as_bytes()).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = stock("dropbearkey", &["-y", "-f", path.to_str().unwrap()]);
    assert!(shown.contains(&fingerprint), "{shown} {fingerprint}");
}

/// Nothing is written where the request is refused.
fn assert_refused(machine: &MadeUp, work: &InstallWork, expected: &str) {
    let before = image::digest(&machine.disk());
    let why = run(machine, work).unwrap_err();
    assert!(why.contains(expected), "{why}");
    assert!(before == image::digest(&machine.disk()), "something was written");
}

#[test]
fn a_disk_that_is_not_as_planned_is_left_alone() {
    let machine = MadeUp::new(3 * GIB);
    let work = image::work(&machine, SYSTEM);
    let forged = InstallWork {
        plan: {
            let mut plan = work.plan.clone();
            plan.loses.push("more".to_owned());
            plan
        },
        ..work.clone()
    };
    assert_refused(&machine, &forged, "not the one that somebody consented to");
    let disk = OpenOptions::new().write(true).open(machine.disk()).unwrap();
    disk.write_all_at(b"precious", 1 << 20).unwrap();
    machine.change("sda", |disk| disk.signature = Some("unknown data".to_owned()));
    assert_refused(&machine, &work, "is not what the plan was made for, it is now: data of an unknown kind");
    machine.change("sda", |disk| disk.in_use = vec!["/home".to_owned()]);
    assert_refused(&machine, &work, "in use (/home)");
    machine.change("sda", |disk| {
        (disk.signature, disk.in_use) = (None, Vec::new());
        disk.serial = Some("S2".to_owned());
    });
    assert_refused(&machine, &work, "no disk with the serial number S1; it has S2");
    machine.change("sda", |disk| (disk.serial, disk.size_bytes) = (Some("S1".to_owned()), 4 * GIB));
    assert_refused(&machine, &work, "the plan was made for");
    machine.change("sda", |disk| disk.size_bytes = 3 * GIB);
    machine.plug_in("sdb", "S1", 3 * GIB);
    assert_refused(&machine, &work, "the same serial number S1");
}

#[test]
fn bad_requests_change_nothing() {
    let machine = MadeUp::new(3 * GIB);
    let work = image::work(&machine, SYSTEM);
    let weak = InstallWork { passphrase: Secret::new("short".to_owned()), ..work.clone() };
    assert_refused(&machine, &weak, "at least 8 characters");
    assert_refused(&machine, &InstallWork { image: None, ..work.clone() }, "no image was given");
    assert_refused(
        &machine,
        &InstallWork { state_from: "/does/not/exist".to_owned(), ..work.clone() },
        "is the disk still",
    );
    let folder = image::make(&machine, 2);
    let damaged = InstallWork { image: Some(folder.to_str().unwrap().to_owned()), ..work };
    for name in ["root.img", "uki.efi", "uki.efi.sig", "grub/core.img"] {
        let old = fs::read(folder.join(name)).unwrap();
        let mut flipped = old.clone();
        flipped[1000 % old.len()] ^= 1;
        fs::write(folder.join(name), &flipped).unwrap();
        assert_refused(&machine, &damaged, "is not what the manifest says; fetch the image again");
        fs::write(folder.join(name), &old[..old.len() - 1]).unwrap();
        assert_refused(&machine, &damaged, "is not what the manifest says");
        fs::write(folder.join(name), &old).unwrap();
    }
    fs::write(folder.join("manifest.json"), "{").unwrap();
    assert_refused(&machine, &damaged, "is no manifest");
}

#[test]
fn a_used_disk_loses_what_was_consented_to_and_nothing_old_is_recognised() {
    let machine = MadeUp::new(4 * GIB);
    let disk = machine.disk();
    let disk = disk.to_str().unwrap();
    let script = machine.folder().join("script");
    fs::write(&script, "label: gpt\nsize=1GiB, name=old\nname=data\n").unwrap();
    stock("sh", &["-c", &format!("sfdisk --quiet {disk} < {}", script.display())]);
    let work = image::work(&machine, SYSTEM);
    assert_eq!(work.plan.loses.len(), 3, "{:?}", work.plan.loses);
    let state = work.plan.partitions.last().unwrap();
    // An ext4 that would be found at the very place of the new state, and a disk-wide one.
    for (offset, size) in [(state.start, 512 << 20), (0, 64 << 20)] {
        let old = Loop::over(&machine.disk(), offset, Some(size));
        if offset > 0 {
            stock("mke2fs", &["-q", "-F", old.path().to_str().unwrap()]);
        }
    }
    let installed = run(&machine, &work).unwrap();
    assert_complete(&machine, &work, installed.recovery_key.as_ref());
    for part in work.plan.partitions.iter().filter(|part| part.name.starts_with("meadow-root-b")) {
        let device = Loop::over(&machine.disk(), part.start, Some(part.size));
        assert_eq!(stock("wipefs", &["--noheadings", device.path().to_str().unwrap()]), "");
    }
}
