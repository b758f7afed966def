//! A disk's serial number, as udev knows it, without udev.

use std::fs;
use std::path::{Path, PathBuf};

const BLOCK: &str = "/sys/class/block";
/// Vital product data, page 0x80: four bytes of header, then the serial number (SPC-4, 7.8.15).
const PAGE_HEADER: usize = 4;
const PAGE: u8 = 0x80;

/// The serial number of this disk; `None` where it has none.
#[must_use]
pub fn serial(disk: &str) -> Option<String> {
    let place = fs::canonicalize(Path::new(BLOCK).join(disk)).ok()?;
    // A USB disk's own number: its adapter may invent one for the SCSI page behind it.
    let sources = [usb_device(&place).map(|device| device.join("serial"))].into_iter().flatten();
    let attributes = [place.join("serial"), place.join("device/serial")];
    sources
        .chain(attributes)
        .find_map(|path| printable(&fs::read(path).ok()?))
        .or_else(|| unit_serial(&fs::read(place.join("device/vpd_pg80")).ok()?))
}

/// The kernel's names of the disks with this serial number.
#[must_use]
pub fn with_serial(wanted: &str) -> Vec<String> {
    let Ok(disks) = fs::read_dir("/sys/block") else { return Vec::new() };
    let names = disks.flatten().map(|disk| disk.file_name().to_string_lossy().into_owned());
    choose(names.map(|name| (serial(&name), name)), wanted)
}

fn choose(disks: impl Iterator<Item = (Option<String>, String)>, wanted: &str) -> Vec<String> {
    disks.filter(|(found, _)| found.as_ref().is_some_and(|found| same(found, wanted))).map(|(_, name)| name).collect()
}

/// Whether these are one serial number: udev writes runs of blanks as one underscore.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let words = |text: &'_ str| -> Vec<String> {
        let parts = text.split(|c: char| c.is_whitespace() || c == '_');
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (one, other) = (words(one), words(other));
    !one.is_empty() && one == other
}

/// The USB device that the disk is behind, by the attribute that only USB devices have.
fn usb_device(place: &Path) -> Option<PathBuf> {
    place.ancestors().skip(1).find(|path| path.join("bDeviceClass").exists()).map(Path::to_path_buf)
}

fn unit_serial(page: &[u8]) -> Option<String> {
    let body = page.get(PAGE_HEADER..)?;
    (page.get(1) == Some(&PAGE)).then(|| printable(body)).flatten()
}

fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_and_texts() {
        assert_eq!(unit_serial(b"\0\x80\0\x08  WD-123 ").as_deref(), Some("WD-123"));
        assert_eq!(unit_serial(b"\0\x83\0\x08WD-123"), None);
        assert_eq!(unit_serial(b"\0\x80"), None);
        assert_eq!(printable(b"node-1\n").as_deref(), Some("node-1"));
        assert_eq!(printable(b"\0\0"), None);
    }

    #[test]
    fn blanks_and_underscores_are_one() {
        assert!(same("WD 12 3", "WD_12_3") && same(" node-1 ", "node-1"));
        assert!(!same("node-1", "node-2") && !same("", ""));
    }

    #[test]
    fn all_disks_with_one_serial_number_are_found() {
        let chosen = |wanted| {
            let disks = [("vda", None), ("sda", Some("WD 12")), ("sdb", Some("ACME")), ("sdc", Some("WD_12"))];
            choose(disks.map(|(name, serial)| (serial.map(str::to_owned), name.to_owned())).into_iter(), wanted)
        };
        assert_eq!([chosen("WD 12"), chosen("ACME"), chosen("WD")], [vec!["sda", "sdc"], vec!["sdb"], vec![]]);
    }

    proptest! {
        #[test]
        fn any_page_is_read_or_not(page in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = unit_serial(&page);
        }
    }
}
