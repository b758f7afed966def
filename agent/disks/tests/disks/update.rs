//! Updates: the other slot, tried once, blessed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use meadow_disks::{GrubEnv, Machine};
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode, InstalledDisk};
use sha2::{Digest, Sha256};

use crate::image;
use crate::install::run;
use crate::keys::{ask, why};
use crate::machine::MadeUp;
use crate::stock;

fn installed() -> MadeUp {
    let machine = MadeUp::new(4 << 30);
    run(&machine, &image::work(&machine, InstallMode::System)).unwrap();
    machine.restart_hard();
    machine.boots("S1", BootSlot::A);
    machine
}

fn done(reply: DiskReply) -> InstalledDisk {
    match reply {
        DiskReply::Done { disk: Some(disk), .. } => disk,
        other => panic!("{other:?}"),
    }
}

fn write(folder: &Path) -> DiskRequest {
    DiskRequest::WriteImage { folder: folder.to_str().unwrap().to_owned(), only_newer: false }
}

fn esp(machine: &MadeUp) -> fatfs::FileSystem<fs::File> {
    let part = image::plan_of(machine, "meadow-esp");
    let path = machine.partition_node("sda", &part);
    stock("fsck.vfat", &["-n", path.to_str().unwrap()]);
    fatfs::FileSystem::new(fs::File::open(path).unwrap(), fatfs::FsOptions::new()).unwrap()
}

fn file(machine: &MadeUp, name: &str) -> Option<Vec<u8>> {
    let system = esp(machine);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut system.root_dir().open_file(name).ok()?, &mut bytes).unwrap();
    Some(bytes)
}

fn environment(machine: &MadeUp) -> GrubEnv {
    GrubEnv::parse(&file(machine, "meadow/grubenv").unwrap()).unwrap()
}

#[test]
fn a_new_image_is_written_tried_and_blessed() {
    let machine = installed();
    assert!(
        why(ask(&machine, &DiskRequest::TryOnce { slot: BootSlot::B, only_newer: false }))
            .contains("holds no whole image")
    );
    done(ask(&machine, &write(&image::make(&machine, 2))));
    assert_eq!(environment(&machine), GrubEnv::blessing(BootSlot::A));
    for name in ["vmlinuz", "initrd", "uki.efi", "uki.efi.sig"] {
        assert_eq!(file(&machine, &format!("meadow/a/{name}")).unwrap(), image::artifact(name, 1));
        assert_eq!(file(&machine, &format!("meadow/b/{name}")).unwrap(), image::artifact(name, 2));
    }
    let sums = String::from_utf8(file(&machine, "meadow/b/pc.sha256").unwrap()).unwrap();
    let sum = data_encoding::HEXLOWER.encode(&Sha256::digest(image::artifact("initrd", 2)));
    assert!(sums.contains(&format!("{sum}  initrd\n")) && sums.contains("  vmlinuz\n"), "{sums}");
    assert!(file(&machine, "meadow/b/efi.sha256").unwrap().ends_with(b"  uki.efi\n"));
    done(ask(&machine, &DiskRequest::TryOnce { slot: BootSlot::B, only_newer: false }));
    let told = environment(&machine);
    assert_eq!((told.blessed, told.tried), (BootSlot::A, Some(BootSlot::B)));
    let waiting = done(ask(&machine, &DiskRequest::Look));
    assert_eq!((waiting.tried, waiting.went_back_from), (Some(BootSlot::B), None));
    assert_eq!(waiting.image_in(BootSlot::A), Some(image::manifest_digest(1).as_str()));
    assert_eq!(waiting.image_in(BootSlot::B), Some(image::manifest_digest(2).as_str()));

    // GRUB clears `try` and boots b, whose agent is well.
    machine.restart_hard();
    machine.grub_tries();
    machine.boots("S1", BootSlot::B);
    let disk = done(ask(&machine, &DiskRequest::Look));
    assert_eq!((disk.running, disk.blessed), (Some(BootSlot::B), Some(BootSlot::A)));
    let refused = why(ask(&machine, &write(&image::make(&machine, 3))));
    assert!(refused.contains("slot a is the way back"), "{refused}");
    assert_eq!(machine.restarts(), 0);
    ask(&machine, &DiskRequest::GiveUpTrial);
    assert_eq!(machine.restarts(), 1);
    assert_eq!(done(ask(&machine, &DiskRequest::Bless)).blessed, Some(BootSlot::B));
    assert_eq!(environment(&machine), GrubEnv::blessing(BootSlot::B));
    ask(&machine, &DiskRequest::GiveUpTrial);
    assert_eq!(machine.restarts(), 1, "what is blessed is kept");

    done(ask(&machine, &write(&image::make(&machine, 3))));
    assert_eq!(file(&machine, "meadow/a/uki.efi").unwrap(), image::artifact("uki.efi", 3));
    assert_eq!(file(&machine, "meadow/b/uki.efi").unwrap(), image::artifact("uki.efi", 2));
    assert!(file(&machine, "meadow/a/manifest.json").is_some());
}

#[test]
fn a_slot_that_was_given_up_is_told_until_another_image_comes() {
    let machine = installed();
    done(ask(&machine, &write(&image::make(&machine, 2))));
    done(ask(&machine, &DiskRequest::TryOnce { slot: BootSlot::B, only_newer: false }));
    machine.restart_hard();
    machine.grub_tries();
    machine.restart_hard();
    machine.grub_counts(0);
    machine.boots("S1", BootSlot::A);
    for _ in 0..2 {
        assert_eq!(done(ask(&machine, &DiskRequest::Look)).went_back_from, Some(BootSlot::B));
        machine.restart_hard();
    }
    done(ask(&machine, &write(&image::make(&machine, 3))));
    assert_eq!(done(ask(&machine, &DiskRequest::Look)).went_back_from, None);
}

#[test]
fn a_blessed_slot_that_does_not_start_is_told_and_replaced_and_its_stand_in_is_kept() {
    let machine = installed();
    done(ask(&machine, &write(&image::make(&machine, 2))));
    done(ask(&machine, &DiskRequest::TryOnce { slot: BootSlot::B, only_newer: false }));
    machine.restart_hard();
    machine.grub_tries();
    machine.boots("S1", BootSlot::B);
    done(ask(&machine, &DiskRequest::Bless));
    machine.restart_hard();
    machine.grub_counts(2);
    machine.boots("S1", BootSlot::A);
    let disk = done(ask(&machine, &DiskRequest::Look));
    assert_eq!((disk.blessed, disk.went_back_from), (Some(BootSlot::B), Some(BootSlot::B)));
    ask(&machine, &DiskRequest::GiveUpTrial);
    assert_eq!(machine.restarts(), 0, "a restart would end here again");
    // What does not start is no way back: another image takes its place, and until it is whole a boots.
    let damaged = image::make(&machine, 3);
    fs::write(damaged.join("uki.efi"), b"?").unwrap();
    why(ask(&machine, &write(&damaged)));
    assert_eq!(environment(&machine).blessed, BootSlot::B, "refused before anything was touched");
    let disk = done(ask(&machine, &write(&image::make(&machine, 4))));
    assert_eq!((disk.blessed, disk.went_back_from), (Some(BootSlot::A), None));
    assert_eq!(environment(&machine), GrubEnv::blessing(BootSlot::A));
    assert_eq!(file(&machine, "meadow/b/uki.efi").unwrap(), image::artifact("uki.efi", 4));
}

#[test]
fn a_damaged_image_leaves_both_slots_alone() {
    let machine = installed();
    done(ask(&machine, &write(&image::make(&machine, 2))));
    let before = image::digest(&machine.disk());
    let folder = image::make(&machine, 3);
    let mut bytes = fs::read(folder.join("root.img")).unwrap();
    bytes[77] ^= 1;
    fs::write(folder.join("root.img"), bytes).unwrap();
    assert!(why(ask(&machine, &write(&folder))).contains("is not what the manifest says"));
    assert!(before == image::digest(&machine.disk()));
}

#[test]
fn a_slot_that_rotted_is_not_tried() {
    let machine = installed();
    done(ask(&machine, &write(&image::make(&machine, 2))));
    machine.restart_hard();
    let root = image::plan_of(&machine, "meadow-root-b");
    let disk = OpenOptions::new().write(true).open(machine.disk()).unwrap();
    disk.write_all_at(b"?", root.start + 12345).unwrap();
    assert!(
        why(ask(&machine, &DiskRequest::TryOnce { slot: BootSlot::B, only_newer: false }))
            .contains("holds no whole image")
    );
    assert_eq!(environment(&machine), GrubEnv::blessing(BootSlot::A));
}

#[test]
fn only_what_runs_from_this_disk_is_blessed() {
    let machine = installed();
    machine.boots("another disk", BootSlot::B);
    let refused = why(ask(&machine, &DiskRequest::Bless));
    assert!(refused.contains("restart from the disk first"), "{refused}");
    assert_eq!(environment(&machine), GrubEnv::blessing(BootSlot::A));
}

#[test]
fn two_disks_of_nodes_are_not_guessed_about() {
    let machine = installed();
    fs::copy(machine.disk(), machine.disk_node("copy")).unwrap();
    machine.plug_in_copy("copy", "S2");
    let refused = why(ask(&machine, &DiskRequest::Look));
    assert!(refused.contains("unplug those that are not this node's"), "{refused}");
}
