//! What the benchmark and the inventory ask of disks: never a write but to a file of ours in a folder of ours.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::clock::Clock;

/// The kind of file system that a path lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// One that keeps its data on a disk of this machine: the name.
    Disk(&'static str),
    /// One in memory, over a network, or laid over others: the name, as far as it is known.
    Other(String),
}

/// The magic numbers of `statfs(2)` for the file systems that a state folder may lie on.
const DISK_FILE_SYSTEMS: &[(u64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
];

/// Those that are often met and keep nothing, or not here.
const OTHER_FILE_SYSTEMS: &[(u64, &str)] = &[
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlayfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x7371_7368, "squashfs"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
];

/// The file system that `path` lies on.
///
/// # Errors
/// Where the path is not there or not allowed.
pub fn file_system(path: &Path) -> io::Result<FileSystem> {
    // A signed field whose low 32 bits are the number.
    let magic = rustix::fs::statfs(path)?.f_type as u64 & 0xffff_ffff;
    let named =
        |table: &[(u64, &'static str)]| table.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name);
    Ok(match (named(DISK_FILE_SYSTEMS), named(OTHER_FILE_SYSTEMS)) {
        (Some(name), _) => FileSystem::Disk(name),
        (None, Some(name)) => FileSystem::Other(name.to_owned()),
        (None, None) => FileSystem::Other(format!("an unknown file system (0x{magic:x})")),
    })
}

/// Writes `block` again and again to a new file in `folder`, each time followed by `fdatasync`, and gives how long each
/// took. Stops after `count` writes or when `budget` is used up, whichever comes first; the file is removed.
///
/// # Errors
/// What the file system refused.
pub fn synced_write_times(
    folder: &Path,
    block: &[u8],
    count: usize,
    budget: Duration,
    clock: &dyn Clock,
) -> io::Result<Vec<Duration>> {
    let path = folder.join(format!(".fsync-{:016x}.bench", clock.boottime().as_nanos()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let result = time_writes(&mut file, block, count, budget, clock);
    fs::remove_file(&path)?;
    result
}

fn time_writes(
    file: &mut File,
    block: &[u8],
    count: usize,
    budget: Duration,
    clock: &dyn Clock,
) -> io::Result<Vec<Duration>> {
    let start = clock.boottime();
    let mut times = Vec::with_capacity(count);
    let mut last = start;
    while times.len() < count && last - start < budget {
        file.write_all(block)?;
        file.sync_data()?;
        let now = clock.boottime();
        times.push(now - last);
        last = now;
    }
    Ok(times)
}

/// Whether the first and the last `length` bytes of a disk or file are all zero: there is then no partition table, file
/// system or RAID member on it that any tool would know. Opened for reading only.
///
/// # Errors
/// Where it cannot be read.
pub fn has_blank_edges(path: &Path, length: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.seek(SeekFrom::End(0))?;
    for start in [0, size.saturating_sub(length)] {
        file.seek(SeekFrom::Start(start))?;
        let mut edge = (&mut file).take(length);
        let mut buffer = [0; 8192];
        loop {
            let read = edge.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            if buffer.iter().take(read).any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[test]
    fn pseudo_file_systems_are_no_disks() {
        assert!(matches!(file_system(Path::new("/proc")), Ok(FileSystem::Other(_))));
        assert!(file_system(Path::new("/no/such/path")).is_err());
    }

    #[test]
    fn timed_writes_stop_at_the_count_and_leave_no_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let hour = Duration::from_secs(3600);
        let times = synced_write_times(folder.path(), &[1; 4096], 5, hour, &SystemClock).expect("written");
        assert_eq!(times.len(), 5);
        let none = synced_write_times(folder.path(), &[1; 4096], 5, Duration::ZERO, &SystemClock).expect("written");
        assert_eq!(none, []);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn one_byte_at_either_end_makes_a_disk_not_blank() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("disk");
        for (size, set, blank) in [
            (0_usize, None, true),
            (100_000, None, true),
            (100_000, Some(0), false),
            (100_000, Some(99_999), false),
            (100_000, Some(19_999), false),
            // The middle is data of nobody knows whom, and no signature.
            (100_000, Some(50_000), true),
            (10, Some(5), false),
        ] {
            let mut bytes = vec![0; size];
            if let Some(index) = set {
                bytes[index] = 1;
            }
            fs::write(&path, bytes).expect("written");
            assert_eq!(has_blank_edges(&path, 20_000).expect("read"), blank, "{size} {set:?}");
        }
    }
}
