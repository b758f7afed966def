//! What the work needs of the computer that it runs on; a test hands in one made of files.

use std::path::PathBuf;

use meadow_luks::{Volume, VolumeKey};
use meadow_model::Timestamp;
use meadow_model::boot::BootReport;
use meadow_model::hardware::Disk;
use meadow_model::install::Partition;
use meadow_tpm::{Tpm, TpmError};

use crate::DiskError;
use crate::area::Area;

/// What the start of this computer left for its TPM: an image that measured itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The public half of the key that signs images, in PEM.
    pub image_key: Vec<u8>,
    /// The running image's signatures, as systemd-measure(1) writes them.
    pub signatures: Vec<u8>,
    /// Whether Secure Boot is on.
    pub secure_boot: bool,
}

/// The computer.
pub trait Machine {
    /// Its disks, looked at now.
    fn disks(&self) -> Vec<Disk>;

    /// The device of a disk, by kernel name.
    fn disk_node(&self, disk: &str) -> PathBuf;

    /// The device of a partition.
    fn partition_node(&self, disk: &str, partition: &Partition) -> PathBuf;

    /// Lets the kernel read the partition table again and waits until the devices of these partitions are there.
    ///
    /// # Errors
    /// [`DiskError`] where a partition is in use or does not appear.
    fn reread(&self, disk: &str, device: &Area, partitions: &[Partition]) -> Result<(), DiskError>;

    /// What the initramfs said of this start.
    fn boot_report(&self) -> Option<BootReport>;

    /// Kernel name of the disk with the state that is `/var` now.
    fn state_disk(&self) -> Option<String>;

    /// Opens a new volume, under a name of its own, and gives its device.
    ///
    /// # Errors
    /// [`DiskError::Luks`]
    fn open_state(&self, volume: &mut Volume, key: &VolumeKey) -> Result<PathBuf, DiskError>;

    /// Closes what [`Machine::open_state`] opened, also what an earlier process of ours left open.
    ///
    /// # Errors
    /// [`DiskError::Luks`]
    fn close_state(&self) -> Result<(), DiskError>;

    /// A folder of our own to mount the new state on.
    fn mount_point(&self) -> PathBuf;

    /// A folder of our own for the image of a stick.
    fn stick_folder(&self) -> PathBuf;

    /// A file of our own in memory, for a backup of a header while it is made.
    fn header_file(&self) -> PathBuf;

    /// Wall-clock time.
    fn now(&self) -> Timestamp;

    /// What this start measured; `None` where it did not, as by a BIOS or over the network.
    fn measured(&self) -> Option<Measured>;

    /// Its TPM.
    ///
    /// # Errors
    /// [`TpmError::NoTpm`] where it has none.
    fn tpm(&self) -> Result<Tpm, TpmError>;

    /// Begins a restart in order.
    ///
    /// # Errors
    /// [`DiskError::Program`]
    fn restart(&self) -> Result<(), DiskError>;
}
