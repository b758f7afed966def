//! The files of a slot on the ESP.

use std::fs::File;
use std::path::Path;

use meadow_model::image::SlotImage;
use meadow_model::install::BootSlot;
use sha2::{Digest, Sha256};

use crate::DiskError;
use crate::area::read_file;
use crate::esp::Esp;
use crate::grubenv::GrubEnv;
use crate::image::{Image, RootJson, SLOT_FILES};
use crate::progress::{Counter, Progress};

/// The boot loader's state.
pub(crate) const GRUBENV: &str = "meadow/grubenv";
/// What the image is, for people and for those who fetch it from this node; beside the artifacts where it is there.
const DESCRIPTION: [&str; 2] = ["manifest.json", "manifest.json.sig"];
/// What GRUB checks before it starts a slot, by its name of the platform: `sha256sum`'s form.
const SUMS: [(&str, &[&str]); 2] = [("pc.sha256", &["vmlinuz", "initrd"]), ("efi.sha256", &["uki.efi"])];
const SMALL: u64 = 4 << 20;
/// Larger than any artifact of a slot.
const LARGEST: u64 = 256 << 20;

fn place(slot: BootSlot, name: &str) -> String {
    format!("meadow/{}/{name}", slot.letter())
}

/// Writes the files of a slot into its empty folder; `root.json`, which makes the slot count as complete, comes last.
pub(crate) fn write_files(
    esp: &Esp,
    image: &Image,
    slot: BootSlot,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let mut counter = Counter::new("writes what boots the system", image.size(&SLOT_FILES)?);
    for name in SLOT_FILES {
        let path = image.path(name);
        let mut file = File::open(&path).map_err(DiskError::io("open", &path))?;
        esp.write(&place(slot, name), &mut file, &mut counter, progress)?;
    }
    for (list, names) in SUMS {
        let line = |name: &&str| Ok(format!("{}  {name}\n", image.artifact(name)?.sha256));
        let lines = names.iter().map(line).collect::<Result<String, DiskError>>()?;
        esp.write_bytes(&place(slot, list), lines.as_bytes())?;
    }
    for name in DESCRIPTION.into_iter().filter(|name| image.path(name).exists()) {
        esp.write_bytes(&place(slot, name), &read_file(&image.path(name), SMALL)?)?;
    }
    esp.sync()?;
    esp.write_bytes(&place(slot, "root.json"), &image.root_json()?)?;
    esp.sync()
}

/// Makes a slot count as incomplete, and then empties it. Nobody may have the file system open.
pub(crate) fn clear(partition: &Path, slot: BootSlot) -> Result<(), DiskError> {
    // `root.json` goes first: its short name begins with that, and no other one of a slot does.
    Esp::sweep(partition, &["meadow", slot.letter()], "ROOT")
}

/// Reads the files of a slot back and compares them with the image.
pub(crate) fn compare_files(partition: &Path, image: &Image, slot: BootSlot) -> Result<(), DiskError> {
    let esp = Esp::open_to_read(partition)?;
    for name in SLOT_FILES {
        let bytes = esp.read(&place(slot, name), LARGEST)?.unwrap_or_default();
        if data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)) != image.artifact(name)?.sha256 {
            return Err(DiskError::refused(format!(
                "{} gives back another {name} than was written; the disk is broken, take another one",
                partition.display()
            )));
        }
    }
    Ok(())
}

/// What a complete slot says of its root; `None` where the slot is not complete.
pub(crate) fn root(esp: &Esp, slot: BootSlot) -> Result<Option<RootJson>, DiskError> {
    let bytes = esp.read(&place(slot, "root.json"), SMALL)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The manifest of the image in a slot, where it lies there.
pub(crate) fn manifest(esp: &Esp, slot: BootSlot) -> Result<Option<Vec<u8>>, DiskError> {
    esp.read(&place(slot, "manifest.json"), SMALL)
}

/// The image in a slot that holds a whole one.
pub(crate) fn image(esp: &Esp, slot: BootSlot) -> Result<Option<SlotImage>, DiskError> {
    if root(esp, slot)?.is_none() {
        return Ok(None);
    }
    let digest = manifest(esp, slot)?.map(|bytes| data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)));
    Ok(Some(SlotImage { slot, digest }))
}

/// What the boot loader does next; a file that it cannot read makes it take slot a.
pub(crate) fn grubenv(esp: &Esp) -> Result<GrubEnv, DiskError> {
    let bytes = esp.read(GRUBENV, meadow_grubenv::BYTES as u64 + 1)?.unwrap_or_default();
    Ok(GrubEnv::parse(&bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "the boot loader's state is damaged");
        GrubEnv::blessing(BootSlot::A)
    }))
}

/// Tells the boot loader what to do next, in place and durably.
pub(crate) fn set_grubenv(esp: &Esp, environment: &GrubEnv) -> Result<(), DiskError> {
    esp.overwrite(GRUBENV, &environment.bytes())?;
    esp.sync()
}
