//! A node that runs from a stick is installed from it, where no boot server has the image.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use gptman::{GPT, GPTPartitionEntry};
use meadow_disks::Machine;
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode, Partition};

use crate::image;
use crate::install::{assert_complete, run};
use crate::keys::{ask, why};
use crate::machine::MadeUp;

const MIB: u64 = 1 << 20;
/// Name, first MiB and MiBs.
const PARTITIONS: [(&str, u64, u64); 4] =
    [("meadow-bios", 1, 1), ("meadow-esp", 2, 64), ("meadow-root-a", 66, 8), ("meadow-seed", 74, 4)];

fn place((name, start, size): (&str, u64, u64), number: u32) -> Partition {
    Partition { number, name: name.to_owned(), type_guid: String::new(), start: start * MIB, size: size * MIB }
}

/// Plugs in a stick with the image of version 1.
fn plug_in_stick(machine: &MadeUp, name: &str, serial: &str) {
    machine.plug_in(name, serial, 80 * MIB);
    let disk = File::options().read(true).write(true).open(machine.disk_node(name)).unwrap();
    let mut table = GPT::new_from(&mut &disk, 512, [7; 16]).unwrap();
    for ((label, start, size), number) in PARTITIONS.into_iter().zip(1..) {
        table[number] = GPTPartitionEntry {
            partition_type_guid: [1; 16],
            unique_partition_guid: [number as u8; 16],
            starting_lba: start * 2048,
            ending_lba: (start + size) * 2048 - 1,
            attribute_bits: 0,
            partition_name: label.into(),
        };
    }
    table.write_into(&mut &disk).unwrap();
    let folder = image::make(machine, 1);
    fs::write(folder.join("manifest.json.sig"), "signed").unwrap();
    let esp = File::options().read(true).write(true).open(machine.partition_node(name, &place(PARTITIONS[1], 2)));
    let esp = esp.unwrap();
    fatfs::format_volume(&esp, fatfs::FormatVolumeOptions::new()).unwrap();
    let system = fatfs::FileSystem::new(&esp, fatfs::FsOptions::new()).unwrap();
    for made in ["EFI", "EFI/BOOT", "meadow", "meadow/a", "meadow/grub"] {
        system.root_dir().create_dir(made).unwrap();
    }
    for (from, to) in [
        ("vmlinuz", "meadow/a/vmlinuz"),
        ("initrd", "meadow/a/initrd"),
        ("uki.efi", "meadow/a/uki.efi"),
        ("uki.efi.sig", "meadow/a/uki.efi.sig"),
        ("secureboot.cer", "secureboot.cer"),
        ("manifest.json", "meadow/a/manifest.json"),
        ("manifest.json.sig", "meadow/a/manifest.json.sig"),
        ("grub/boot.img", "meadow/grub/boot.img"),
        ("grub/core.img", "meadow/grub/core.img"),
        ("grub/bootx64.efi", "EFI/BOOT/BOOTX64.EFI"),
    ] {
        system.root_dir().create_file(to).unwrap().write_all(&fs::read(folder.join(from)).unwrap()).unwrap();
    }
    system.unmount().unwrap();
    let root = machine.partition_node(name, &place(PARTITIONS[2], 3));
    fs::write(root, image::artifact("root.img", 1)).unwrap();
}

fn folder(machine: &MadeUp) -> PathBuf {
    machine.stick_folder()
}

#[test]
fn the_stick_gives_the_whole_image_and_is_only_read() {
    let machine = MadeUp::new(4 << 30);
    plug_in_stick(&machine, "sdb", "S2");
    machine.boots_stick("S2");
    let before = image::digest(&machine.disk_node("sdb"));
    for _ in 0..2 {
        assert!(matches!(ask(&machine, &DiskRequest::StickImage { serial: None }), DiskReply::Done { disk: None, .. }));
    }
    for name in ["manifest.json", "manifest.json.sig", "vmlinuz"] {
        assert_eq!(
            fs::read(folder(&machine).join(name)).unwrap(),
            fs::read(machine.folder().join("image-1").join(name)).unwrap()
        );
    }
    let mut work = image::work(&machine, InstallMode::System);
    work.image = folder(&machine).to_str().map(str::to_owned);
    let DiskReply::Done { recovery_key, .. } = ask(&machine, &DiskRequest::Install(Box::new(work.clone()))) else {
        panic!("not installed")
    };
    assert!(!folder(&machine).exists(), "its memory is free again");
    assert_eq!(image::digest(&machine.disk_node("sdb")), before);
    assert_complete(&machine, &work, recovery_key.as_ref());
}

#[test]
fn a_damaged_stick_installs_nothing() {
    let machine = MadeUp::new(4 << 30);
    plug_in_stick(&machine, "sdb", "S2");
    machine.boots_stick("S2");
    let root = machine.partition_node("sdb", &place(PARTITIONS[2], 3));
    let mut bytes = image::artifact("root.img", 1);
    bytes[70_000] ^= 1;
    fs::write(root, bytes).unwrap();
    ask(&machine, &DiskRequest::StickImage { serial: None });
    let mut work = image::work(&machine, InstallMode::System);
    work.image = folder(&machine).to_str().map(str::to_owned);
    let blank = image::digest(&machine.disk());
    let refused = run(&machine, &work).unwrap_err();
    assert!(refused.contains("root.img") && refused.contains("nothing was written"), "{refused}");
    assert_eq!(image::digest(&machine.disk()), blank);
}

#[test]
fn only_the_stick_that_booted_is_read() {
    let machine = MadeUp::new(4 << 30);
    assert!(why(ask(&machine, &DiskRequest::StickImage { serial: None })).contains("did not boot from a stick"));
    machine.boots("S1", BootSlot::A);
    assert!(why(ask(&machine, &DiskRequest::StickImage { serial: None })).contains("did not boot from a stick"));
    machine.boots_stick("S2");
    assert!(why(ask(&machine, &DiskRequest::StickImage { serial: None })).contains("plug it in"));
    plug_in_stick(&machine, "sdb", "S2");
    plug_in_stick(&machine, "sdc", "S3");
    assert!(matches!(ask(&machine, &DiskRequest::StickImage { serial: None }), DiskReply::Done { .. }));
    machine.change("sdc", |disk| disk.serial = Some("S2".to_owned()));
    assert!(why(ask(&machine, &DiskRequest::StickImage { serial: None })).contains("several sticks"));
}

#[test]
fn an_installed_node_is_updated_from_a_write_protected_stick_that_a_person_named() {
    let machine = MadeUp::new(4 << 30);
    let mut work = image::work(&machine, InstallMode::System);
    work.image = Some(says(&machine, "0.0.9", 7, std::env::consts::ARCH).display().to_string());
    run(&machine, &work).unwrap();
    machine.boots("S1", BootSlot::A);
    plug_in_stick(&machine, "sdb", "S2");
    // Its switch is on, so whatever opened it to write would fail.
    machine.protect("sdb");
    let before = image::digest(&machine.disk_node("sdb"));
    for (serial, expected) in [("S9", "is the stick plugged in"), ("S1", "is no Meadow stick")] {
        let request = DiskRequest::StickImage { serial: Some(serial.to_owned()) };
        let refused = why(ask(&machine, &request));
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(matches!(
        ask(&machine, &DiskRequest::StickImage { serial: Some("S2".to_owned()) }),
        DiskReply::Done { .. }
    ));
    let write = |only_newer| DiskRequest::WriteImage { folder: folder(&machine).display().to_string(), only_newer };
    let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &write(true)) else { panic!("not written") };
    assert!(disk.image_in(BootSlot::B).is_some() && disk.blessed == Some(BootSlot::A), "{disk:?}");
    assert!(!folder(&machine).exists(), "the memory is free again");
    assert!(matches!(
        ask(&machine, &DiskRequest::TryOnce { slot: BootSlot::B, only_newer: false }),
        DiskReply::Done { .. }
    ));
    assert!(before == image::digest(&machine.disk_node("sdb")), "the stick is only read");
}

/// As `manifest.json` of a real image tells it.
pub(crate) fn says(machine: &MadeUp, version: &str, date: i64, architecture: &str) -> PathBuf {
    let folder = image::make(machine, 1);
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["image"] = version.into();
    manifest["date"] = date.into();
    manifest["architecture"] = architecture.into();
    fs::write(path, manifest.to_string()).unwrap();
    folder
}

#[test]
fn an_older_image_the_same_one_and_one_for_other_processors_are_refused() {
    let machine = MadeUp::new(4 << 30);
    let arch = std::env::consts::ARCH;
    let mut work = image::work(&machine, InstallMode::System);
    work.image = Some(says(&machine, "0.2.0-a", 7, arch).display().to_string());
    run(&machine, &work).unwrap();
    machine.boots("S1", BootSlot::A);
    let before = image::digest(&machine.disk());
    for (version, date, architecture, expected) in [
        ("0.1.0-b", 9, arch, "is older than 0.2.0-a"),
        ("0.2.0-b", 6, arch, "is older than 0.2.0-a"),
        ("0.2.0-a", 7, arch, "runs already"),
        ("0.3.0-a", 7, "z80", "is for z80 processors"),
    ] {
        let folder = says(&machine, version, date, architecture).display().to_string();
        let refused = why(ask(&machine, &DiskRequest::WriteImage { folder, only_newer: true }));
        assert!(refused.contains(expected), "{version}: {refused}");
    }
    assert!(before == image::digest(&machine.disk()), "nothing was written");
    let folder = says(&machine, "0.1.0-b", 9, arch).display().to_string();
    let written = ask(&machine, &DiskRequest::WriteImage { folder, only_newer: false });
    assert!(matches!(written, DiskReply::Done { .. }), "{written:?}");

    // It may lie there from before, so whoever has it tried has to mean it too.
    let try_once = |only_newer| DiskRequest::TryOnce { slot: BootSlot::B, only_newer };
    let refused = why(ask(&machine, &try_once(true)));
    assert!(
        refused.contains("0.1.0-b is older than 0.2.0-a, which this node has") && refused.contains("--allow-older"),
        "{refused}"
    );
    let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &DiskRequest::Look) else { panic!("no node") };
    assert_eq!(disk.tried, None);
    assert!(matches!(ask(&machine, &try_once(false)), DiskReply::Done { .. }));
}
