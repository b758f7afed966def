//! The image of a stick, the one that this computer booted from or one that a person named, gathered in a folder as a boot server would give it.
//!
//! The stick is only read. Whoever asked checks the manifest's signature before anything of it is installed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

use meadow_model::hardware::Disk;
use meadow_model::install::Partition;
use meadow_plan::layout;

use crate::esp::Esp;
use crate::image::ROOT;
use crate::machine::Machine;
use crate::progress::Progress;
use crate::{DiskError, table};

/// Where a file is on the stick's ESP (`image/README.md`), and in an image's folder.
const FILES: [(&str, &str); 10] = [
    ("meadow/a/vmlinuz", "vmlinuz"),
    ("meadow/a/initrd", "initrd"),
    ("meadow/a/uki.efi", "uki.efi"),
    ("meadow/a/uki.efi.sig", "uki.efi.sig"),
    ("meadow/a/manifest.json", "manifest.json"),
    ("meadow/a/manifest.json.sig", "manifest.json.sig"),
    ("meadow/grub/boot.img", "grub/boot.img"),
    ("meadow/grub/core.img", "grub/core.img"),
    ("EFI/BOOT/BOOTX64.EFI", "grub/bootx64.efi"),
    ("secureboot.cer", "secureboot.cer"),
];
/// Larger than any of them.
const LARGEST: u64 = 128 << 20;

/// Puts the image together in [`Machine::stick_folder`]; `root.img` there leads to the stick's partition.
///
/// # Errors
/// [`DiskError`]
pub(crate) fn gather(
    machine: &dyn Machine,
    serial: Option<&str>,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    progress("reads the image from the stick", None);
    let (disk, partitions) = match serial {
        Some(serial) => named(machine, serial)?,
        None => find(machine)?,
    };
    let place = |name: &str| {
        let found = partitions.iter().find(|partition| partition.name == name);
        found.map(|partition| machine.partition_node(&disk, partition)).ok_or_else(|| incomplete(name))
    };
    let folder = machine.stick_folder();
    forget(machine)?;
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    make(&folder.join("grub")).map_err(DiskError::io("make", &folder))?;
    let esp = Esp::open_to_read(&place(layout::ESP)?)?;
    for (from, to) in FILES {
        let bytes = esp.read(from, LARGEST)?.ok_or_else(|| incomplete(from))?;
        write(&folder.join(to), &bytes)?;
    }
    let root = folder.join(ROOT);
    symlink(place(layout::ROOT_A)?, &root).map_err(DiskError::io("make", &root))
}

/// Frees the memory that the files take.
///
/// # Errors
/// [`DiskError::Io`]
pub(crate) fn forget(machine: &dyn Machine) -> Result<(), DiskError> {
    let folder = machine.stick_folder();
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DiskError::io("remove", &folder)(error)),
        _ => Ok(()),
    }
}

/// The stick that a person named.
fn named(machine: &dyn Machine, serial: &str) -> Result<(String, Vec<Partition>), DiskError> {
    let disk = the_disk(machine, serial)?;
    let partitions = table::read(&machine.disk_node(&disk.name))?;
    if partitions.iter().any(|partition| partition.name == layout::SEED) {
        return Ok((disk.name, partitions));
    }
    Err(DiskError::refused(format!("{} ({serial}) is no Meadow stick; write one with `meadow image flash`", disk.name)))
}

/// The one disk with that serial number.
pub(crate) fn the_disk(machine: &dyn Machine, serial: &str) -> Result<Disk, DiskError> {
    let mut same: Vec<Disk> =
        machine.disks().into_iter().filter(|disk| disk.serial.as_deref() == Some(serial)).collect();
    match (same.pop(), same.is_empty()) {
        (Some(disk), true) if !serial.is_empty() => Ok(disk),
        (Some(_), false) => Err(DiskError::refused(format!(
            "several disks say that they have the serial number {serial}; unplug all but the stick that is meant"
        ))),
        _ => Err(DiskError::refused(format!(
            "there is no disk with the serial number {serial}; is the stick plugged in? `meadow node show NODE` lists them"
        ))),
    }
}

/// The stick's disk and its partitions: the one that the initramfs named, if several are plugged in.
fn find(machine: &dyn Machine) -> Result<(String, Vec<Partition>), DiskError> {
    let report = machine.boot_report().filter(|report| report.stick);
    let report = report.ok_or_else(|| DiskError::refused("this computer did not boot from a stick"))?;
    let mut sticks = Vec::new();
    for disk in machine.disks() {
        // Another disk that cannot be read is not the one that this system runs from.
        let Ok(partitions) = table::read(&machine.disk_node(&disk.name)) else { continue };
        if partitions.iter().any(|partition| partition.name == layout::SEED) {
            sticks.push((disk, partitions));
        }
    }
    if sticks.len() > 1 {
        let named = report.disk.unwrap_or_default();
        sticks.retain(|(disk, _)| disk.serial.as_deref().unwrap_or_default() == named);
    }
    match (sticks.pop(), sticks.is_empty()) {
        (Some((disk, partitions)), true) => Ok((disk.name, partitions)),
        (Some(_), false) => {
            Err(DiskError::refused("several sticks are plugged in; unplug all but the one that booted"))
        }
        (None, _) => Err(DiskError::refused("the stick is not there any more; plug it in and ask again")),
    }
}

fn incomplete(what: &str) -> DiskError {
    DiskError::refused(format!("the stick has no {what}; write it anew with `meadow image flash`"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(DiskError::io("write", path))
}
