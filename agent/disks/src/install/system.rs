//! The system: ESP, root and boot code.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use meadow_model::install::{BootSlot, Partition};
use meadow_plan::layout;

use crate::area::{Area, read_file};
use crate::esp::Esp;
use crate::grubenv::GrubEnv;
use crate::image::{CERTIFICATE, Image, ROOT};
use crate::progress::{Counter, Progress};
use crate::{DiskError, bios, slot, table};

const FOLDERS: [&str; 5] = ["EFI", "EFI/BOOT", "meadow", "meadow/a", "meadow/b"];
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
const IMAGE_LIMIT: u64 = 4 << 20;

/// Writes slot A and an ESP from which nothing boots yet; the FAT file system gets a serial number made of `mark`, hexadecimal.
pub(crate) fn write(
    image: &Image,
    mark: &str,
    place: &dyn Fn(&'static str) -> Result<PathBuf, DiskError>,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let root = image.artifact(ROOT)?;
    let area = Area::open(&place(layout::ROOT_A)?)?;
    area.copy_checked(&image.path(ROOT), root.size, &root.sha256, "writes the system", progress)?;

    let volume_id = u32::from_str_radix(mark.get(..8).unwrap_or_default(), 16).unwrap_or(0);
    let esp = Esp::format(&place(layout::ESP)?, volume_id, &FOLDERS)?;
    slot::write_files(&esp, image, BootSlot::A, progress)?;
    esp.write_bytes(CERTIFICATE, &read_file(&image.path(CERTIFICATE), IMAGE_LIMIT)?)?;
    esp.write_bytes(slot::GRUBENV, &GrubEnv::blessing(BootSlot::A).bytes())?;
    esp.close()?;
    slot::compare_files(&place(layout::ESP)?, image, BootSlot::A)
}

/// Whether the boot code lies on the disk, which is written after everything else: an installation has nothing left to write then.
pub(crate) fn is_bootable(disk: &Path, bios: &Partition) -> Result<bool, DiskError> {
    let mut sector = [0; 512];
    // To read only: udev looks at a disk anew that was open for writing.
    File::open(disk).and_then(|file| file.read_exact_at(&mut sector, 0)).map_err(DiskError::io("read", disk))?;
    Ok(bios::is_placed(&sector, bios.start))
}

/// Writes GRUB for UEFI and for BIOS, of that first what the boot code loads, then the boot code. Done again it comes to the same.
pub(crate) fn make_bootable(
    image: &Image,
    bios: &Partition,
    place: &dyn Fn(&'static str) -> Result<PathBuf, DiskError>,
    disk: &Area,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let path = image.path("grub/bootx64.efi");
    let mut loader = File::open(&path).map_err(DiskError::io("open", &path))?;
    let mut counter = Counter::new("makes the disk bootable", image.size(&["grub/bootx64.efi"])?);
    let node = place(layout::ESP)?;
    // An earlier run may have been cut off here.
    Esp::sweep(&node, &["EFI", "BOOT"], "BOOTX64")?;
    let esp = Esp::open(&node)?;
    esp.write(LOADER, &mut loader, &mut counter, progress)?;
    esp.close()?;
    write_boot_code(image, bios, &place(layout::BIOS)?, disk)
}

fn write_boot_code(image: &Image, partition: &Partition, node: &Path, disk: &Area) -> Result<(), DiskError> {
    let read = |name| read_file(&image.path(name), IMAGE_LIMIT);
    let bios = bios::place(&read("grub/boot.img")?, &read("grub/core.img")?, partition.start)
        .map_err(|error| DiskError::refused(error.to_string()))?;
    Area::open(node)?.write(0, &bios.core)?;
    table::write_boot_code(disk, &bios)
}
