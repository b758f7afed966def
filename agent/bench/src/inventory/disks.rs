//! Disks, from sysfs and udev.

use std::collections::BTreeMap;
use std::path::Path;

use meadow_host::{files, storage};
use meadow_model::hardware::Disk;

use super::text::{attribute, flag, number, printable};
use super::{partitions, usage};

const MAX_DISKS: usize = 1024;
/// sysfs counts in sectors of 512 bytes, whatever the disk's own are.
pub(super) const SECTOR: u64 = 512;
/// SCSI peripheral device type of a CD-ROM (SPC-4).
const CD_ROM: u64 = 5;
/// What is looked at on a disk that udev finds nothing on: every known signature lies in its first or last MiB.
const EDGE_BYTES: u64 = 1 << 20;

/// Properties that udev keeps about a device: `ID_FS_TYPE`, `ID_SERIAL_SHORT` and so on.
pub type UdevProperties = BTreeMap<String, String>;

/// Where udev's properties come from.
pub trait UdevSource {
    /// The properties of a block device, or `None` where udev has not looked at it.
    fn block_device(&self, name: &str) -> Option<UdevProperties>;
}

/// The disks, sorted by name: no partitions, no virtual devices, no CD-ROM drives, no empty card readers.
pub(super) fn read(root: &Path, udev: &dyn UdevSource) -> Vec<Disk> {
    let names = files::list(&root.join("sys/block"), MAX_DISKS).unwrap_or_default();
    names.iter().filter_map(|name| disk(root, name, udev)).collect()
}

fn disk(root: &Path, name: &str, udev: &dyn UdevSource) -> Option<Disk> {
    let path = root.join("sys/block").join(name);
    // Boot and replay-protected areas of an eMMC chip are disks to the kernel only.
    let area = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    let cd_rom = number(&path.join("device/type")) == Some(CD_ROM);
    if area || cd_rom || flag(&path.join("hidden")) || !files::exists(&path.join("device")) {
        return None;
    }
    describe(root, name, udev)
}

/// Any block device that is no partition, virtual ones too.
pub(super) fn describe(root: &Path, name: &str, udev: &dyn UdevSource) -> Option<Disk> {
    let properties = udev.block_device(name);
    let path = root.join("sys/block").join(name);
    let size_bytes = number(&path.join("size"))?.checked_mul(SECTOR).filter(|size| *size > 0)?;
    let known = properties.clone().unwrap_or_default();
    let property = |key: &str| known.get(key).and_then(|value| printable(value));
    Some(Disk {
        name: name.to_owned(),
        // An eMMC chip calls its model a name.
        model: attribute(&path.join("device/model"))
            .or_else(|| attribute(&path.join("device/name")))
            .or_else(|| property("ID_MODEL").map(|model| model.replace('_', " "))),
        serial: property("ID_SERIAL_SHORT")
            .or_else(|| attribute(&path.join("device/serial")))
            .or_else(|| attribute(&path.join("serial"))),
        size_bytes,
        rotational: flag(&path.join("queue/rotational")),
        transport: transport(&path, name, property("ID_BUS").as_deref()),
        read_only: flag(&path.join("ro")),
        signature: signature(&path, properties.as_ref(), &root.join("dev").join(name)),
        partitions: partitions::read(&path, udev),
        in_use: usage::read(root, &path, name),
    })
}

/// Whether it is made to be carried about: a stick, a card, anything on USB.
pub(super) fn is_portable(root: &Path, name: &str) -> bool {
    let path = root.join("sys/block").join(name);
    let card = attribute(&path.join("device/type")).is_some_and(|kind| kind == "SD");
    let usb = transport(&path, name, None).is_some_and(|transport| transport == "usb");
    flag(&path.join("removable")) || usb || card
}

/// The way to the disk: its place in sysfs tells, where its name does not.
fn transport(path: &Path, name: &str, bus: Option<&str>) -> Option<String> {
    let by_name = [("nvme", "nvme"), ("vd", "virtio"), ("mmcblk", "mmc")];
    if let Some((_, transport)) = by_name.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        return Some((*transport).to_owned());
    }
    let device = files::resolve(&path.join("device")).unwrap_or_default();
    let place = device.to_string_lossy();
    let by_place = [("/usb", "usb"), ("/ata", "sata"), ("/virtio", "virtio"), ("/host", "scsi")];
    let found = by_place.iter().find(|(part, _)| place.contains(part)).map(|(_, transport)| (*transport).to_owned());
    found.or_else(|| bus.map(str::to_owned))
}

/// What lies on the disk, or `None` where it is certainly blank. In doubt it is not: nobody may take a disk for free
/// because a probe failed.
fn signature(path: &Path, properties: Option<&UdevProperties>, node: &Path) -> Option<String> {
    let property = |key: &str| properties?.get(key).and_then(|value| printable(value));
    if let Some(found) = property("ID_PART_TABLE_TYPE").or_else(|| property("ID_FS_TYPE")) {
        return Some(found);
    }
    if !files::list(&path.join("holders"), 1).unwrap_or_default().is_empty() {
        return Some("in use".to_owned());
    }
    if !partitions::names(path).is_empty() {
        return Some("partitions".to_owned());
    }
    match storage::has_blank_edges(node, EDGE_BYTES) {
        Ok(true) if properties.is_some() => None,
        Ok(true) => Some("unknown".to_owned()),
        Ok(false) => Some("unknown data".to_owned()),
        Err(error) => {
            tracing::warn!(disk = %node.display(), %error, "cannot read the disk; it is treated as holding data");
            Some("unreadable".to_owned())
        }
    }
}
