//! What lies on a disk: its partitions.

use std::path::Path;

use meadow_host::files;
use meadow_model::hardware::DiskPartition;

use super::disks::{SECTOR, UdevSource};
use super::text::{number, printable};

/// More than any partition table has.
const MAX_CHILDREN: usize = 4096;

/// Kernel names and numbers of the partitions of the disk at `path` in sysfs, by number.
pub(super) fn names(path: &Path) -> Vec<(u32, String)> {
    let children = files::list(path, MAX_CHILDREN).unwrap_or_default();
    let numbered = |name: String| {
        let number = number(&path.join(&name).join("partition"))?;
        Some((u32::try_from(number).ok()?, name))
    };
    let mut partitions: Vec<(u32, String)> = children.into_iter().filter_map(numbered).collect();
    partitions.sort_unstable();
    partitions
}

/// The partitions of the disk at `path` in sysfs, by number.
pub(super) fn read(path: &Path, udev: &dyn UdevSource) -> Vec<DiskPartition> {
    let describe = |(number, name): (u32, String)| {
        let known = udev.block_device(&name).unwrap_or_default();
        let property = |key: &str| known.get(key).and_then(|value| printable(&unescaped(value)));
        DiskPartition {
            number,
            name: property("ID_PART_ENTRY_NAME"),
            size_bytes: self::number(&path.join(&name).join("size")).unwrap_or(0).saturating_mul(SECTOR),
            content: property("ID_FS_TYPE"),
            label: property("ID_FS_LABEL_ENC").or_else(|| property("ID_FS_LABEL")),
        }
    };
    names(path).into_iter().map(describe).collect()
}

/// udev writes bytes of names that are not plain as `\x20`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.strip_prefix(b"x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn names_of_udev_are_read() {
        let cases = [
            (r"EFI\x20System\x20Partition", "EFI System Partition"),
            (r"caf\xc3\xa9", "café"),
            (r"a\x2", r"a\x2"),
            (r"a\xzz\", r"a\xzz\"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(unescaped(text), expected);
        }
    }
}
