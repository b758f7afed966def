//! What uses a disk now.

use std::path::Path;

use meadow_host::files;

use super::partitions;
use super::text::{attribute, printable};

const MAX_HOLDERS: usize = 64;
/// Tables of mounts and swaps are small; a host with thousands of mounts has less than this.
const TABLE_LIMIT: u64 = 4 << 20;

/// Mount points, `swap` and devices that are made of the disk at `path` in sysfs or of one of its partitions, sorted.
pub(super) fn read(root: &Path, path: &Path, name: &str) -> Vec<String> {
    let mut parts = vec![(name.to_owned(), path.to_owned())];
    parts.extend(partitions::names(path).into_iter().map(|(_, name)| (name.clone(), path.join(name))));
    let mounts = table(&root.join("proc/self/mountinfo"));
    let swaps = table(&root.join("proc/swaps"));
    let mut found = Vec::new();
    for (name, path) in &parts {
        found.extend(holders(root, path));
        let device = format!("/dev/{name}");
        let number = attribute(&path.join("dev"));
        found.extend(mounts.lines().filter_map(|line| mount_point(line, number.as_deref(), &device)));
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(&device)) {
            found.push("swap".to_owned());
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn table(path: &Path) -> String {
    files::read(path, TABLE_LIMIT).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Devices made of this one, such as `dm-0 (meadow-state)` or `md0`.
fn holders(root: &Path, path: &Path) -> Vec<String> {
    let names = files::list(&path.join("holders"), MAX_HOLDERS).unwrap_or_default();
    let describe = |name: String| match attribute(&root.join("sys/block").join(&name).join("dm/name")) {
        Some(mapping) => format!("{name} ({mapping})"),
        None => name,
    };
    names.into_iter().map(describe).collect()
}

/// The mount point of a line of mountinfo (proc(5)) that is about this device. Some file systems have a device number of
/// their own, so the source counts too.
fn mount_point(line: &str, number: Option<&str>, device: &str) -> Option<String> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ');
    let (major_minor, point) = (fields.nth(2)?, fields.nth(1)?);
    let source = right.split(' ').nth(1)?;
    (Some(major_minor) == number || source == device).then(|| printable(point)).flatten()
}

#[cfg(test)]
mod tests {
    use super::mount_point;

    #[test]
    fn a_mount_is_found_by_number_or_source() {
        let line = "36 35 8:1 / /boot rw,noatime shared:1 - ext4 /dev/sda1 rw";
        assert_eq!(mount_point(line, Some("8:1"), "/dev/other"), Some("/boot".to_owned()));
        assert_eq!(mount_point(line, None, "/dev/sda1"), Some("/boot".to_owned()));
        assert_eq!(mount_point(line, Some("8:17"), "/dev/sda"), None);
        assert_eq!(mount_point("36 35", Some("8:1"), "/dev/sda1"), None);
    }
}
