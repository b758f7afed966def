//! The image of the stick that this computer booted from, gathered in a folder as a boot server would give it.
//!
//! The stick is only read. Whoever asked checks the manifest's signature before anything of it is installed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

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
pub(crate) fn gather(machine: &dyn Machine, progress: &mut Progress<'_>) -> Result<(), DiskError> {
    progress("reads the image from the stick", None);
    let (disk, partitions) = find(machine)?;
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
