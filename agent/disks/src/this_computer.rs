//! The computer that this runs on.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use meadow_bench::inventory;
use meadow_host::{Clock, SystemClock};
use meadow_luks::{MAPPING, Volume, VolumeKey};
use meadow_model::Timestamp;
use meadow_model::boot::BootReport;
use meadow_model::hardware::Disk;
use meadow_model::install::Partition;
use meadow_tpm::{Tpm, TpmError};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, ioctl};

use crate::DiskError;
use crate::area::{Area, read_file};
use crate::machine::{Machine, Measured};
use crate::program;

/// Name of the new state while it is filled; the node's present state may be open under its own.
const NEW_MAPPING: &str = "meadow-new-state";
const UDEV_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a probing udev may keep a partition open, and how long its device may take to appear.
const REREAD_TRIES: u32 = 200;
const REREAD_PAUSE: Duration = Duration::from_millis(50);
/// A key and a file of signatures have some KiB.
const SMALL: u64 = 64 << 10;
/// `_IO(0x12, 95)` of `linux/fs.h`.
const BLKRRPART: u32 = 0x125f;

/// The computer that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisComputer;

impl Machine for ThisComputer {
    fn disks(&self) -> Vec<Disk> {
        inventory::disks(UDEV_TIMEOUT)
    }

    fn disk_node(&self, disk: &str) -> PathBuf {
        Path::new("/dev").join(disk)
    }

    fn partition_node(&self, disk: &str, partition: &Partition) -> PathBuf {
        Path::new("/dev").join(partition_name(disk, partition.number))
    }

    fn reread(&self, disk: &str, device: &Area, partitions: &[Partition]) -> Result<(), DiskError> {
        let node = self.disk_node(disk);
        for attempt in 1.. {
            // SAFETY: BLKRRPART takes no argument and writes to no memory of ours.
            match unsafe { ioctl(device.file(), NoArg::<BLKRRPART>::new()) } {
                Err(Errno::BUSY) if attempt < REREAD_TRIES => thread::sleep(REREAD_PAUSE),
                Err(error) => return Err(DiskError::io("let the kernel read the new partitions of", &node)(error)),
                Ok(()) => break,
            }
        }
        for partition in partitions {
            let device = self.partition_node(disk, partition);
            for attempt in 1.. {
                if device.exists() && kernel_place(disk, partition.number) == Some((partition.start, partition.size)) {
                    break;
                }
                if attempt >= REREAD_TRIES {
                    return Err(DiskError::refused(format!(
                        "{} does not appear as it was written; look at the kernel's log and try again",
                        device.display()
                    )));
                }
                thread::sleep(REREAD_PAUSE);
            }
        }
        Ok(())
    }

    fn boot_report(&self) -> Option<BootReport> {
        let bytes = read_file(Path::new("/run/meadow/boot-report.json"), 1 << 20).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn state_disk(&self) -> Option<String> {
        // By its name in sysfs: with udev the device's path is a link to another name, without it is not.
        let named =
            |folder: &PathBuf| fs::read_to_string(folder.join("dm/name")).is_ok_and(|name| name.trim_end() == MAPPING);
        let mut devices = fs::read_dir("/sys/class/block").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let slaves = devices.find(named)?.join("slaves");
        let partition = fs::read_dir(slaves).ok()?.next()?.ok()?.file_name();
        // A partition's folder lies in that of its disk.
        let place = fs::canonicalize(Path::new("/sys/class/block").join(partition)).ok()?;
        Some(place.parent()?.file_name()?.to_string_lossy().into_owned())
    }

    fn open_state(&self, volume: &mut Volume, key: &VolumeKey) -> Result<PathBuf, DiskError> {
        volume.activate(NEW_MAPPING, key)?;
        Ok(Path::new("/dev/mapper").join(NEW_MAPPING))
    }

    fn close_state(&self) -> Result<(), DiskError> {
        // Without a device mapper nothing of ours is open.
        if Path::new("/sys/module/dm_mod").exists() && meadow_luks::is_open(NEW_MAPPING)? {
            meadow_luks::close(NEW_MAPPING)?;
        }
        Ok(())
    }

    fn mount_point(&self) -> PathBuf {
        PathBuf::from("/run/meadow-disks/state")
    }

    fn stick_folder(&self) -> PathBuf {
        // The agent looks there too.
        PathBuf::from("/run/meadow-disks/stick")
    }

    fn header_file(&self) -> PathBuf {
        PathBuf::from("/run/meadow-disks/header")
    }

    fn now(&self) -> Timestamp {
        SystemClock.wall()
    }

    fn measured(&self) -> Option<Measured> {
        let read = |name: &str| read_file(&Path::new("/run/meadow").join(name), SMALL).ok();
        Some(Measured {
            image_key: read("tpm2-pcr-public-key.pem")?,
            signatures: read("tpm2-pcr-signature.json")?,
            secure_boot: inventory::secure_boot() == Some(true),
        })
    }

    fn tpm(&self) -> Result<Tpm, TpmError> {
        Tpm::open()
    }

    fn restart(&self) -> Result<(), DiskError> {
        program::run("systemctl", &["--no-block".as_ref(), "reboot".as_ref()])
    }
}

/// Kernel name of a partition: `sda1`, `nvme0n1p1`.
fn partition_name(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

/// Where the kernel thinks that a partition lies: first byte and size.
fn kernel_place(disk: &str, number: u32) -> Option<(u64, u64)> {
    let folder = Path::new("/sys/class/block").join(partition_name(disk, number));
    let sectors = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    Some((sectors("start")?.checked_mul(512)?, sectors("size")?.checked_mul(512)?))
}

#[cfg(test)]
mod tests {
    use super::partition_name;

    #[test]
    fn partitions_have_their_kernel_names() {
        let cases = [("sda", "sda6"), ("vda", "vda6"), ("nvme0n1", "nvme0n1p6"), ("mmcblk0", "mmcblk0p6")];
        for (disk, name) in cases {
            assert_eq!(partition_name(disk, 6), name);
        }
    }
}
