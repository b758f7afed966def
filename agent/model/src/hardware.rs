//! What a computer is made of, and how fast it is.

use serde::{Deserialize, Serialize};

use crate::MacAddress;

/// A first inventory, read from sysfs, SMBIOS and udev without opening a disk for writing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Hardware {
    /// Maker of the computer, as SMBIOS says; often useless on cheap boards.
    pub vendor: Option<String>,
    /// Product name, as SMBIOS says.
    pub product: Option<String>,
    /// SMBIOS system UUID. Never an identity: all-FF and duplicate ones are common.
    pub uuid: Option<String>,
    /// How the firmware started the kernel.
    pub firmware: FirmwareKind,
    /// Whether UEFI Secure Boot is on; `None` where the firmware has none.
    pub secure_boot: Option<bool>,
    /// Whether there is a TPM.
    pub tpm: bool,
    /// The processor.
    pub cpu: Cpu,
    /// Usable memory in bytes (`MemTotal`).
    pub memory_bytes: u64,
    /// The disks, sorted by name.
    pub disks: Vec<Disk>,
    /// The wired and wireless network cards, sorted by name; no virtual interfaces.
    pub nics: Vec<Nic>,
}

/// What a person may change in the firmware's setup between two starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirmwareState {
    /// How the firmware started the kernel.
    pub firmware: FirmwareKind,
    /// Whether UEFI Secure Boot is on; `None` where the firmware has none.
    pub secure_boot: Option<bool>,
    /// Whether there is a TPM.
    pub tpm: bool,
}

impl Hardware {
    /// What the firmware has of it.
    #[must_use]
    pub fn firmware_state(&self) -> FirmwareState {
        FirmwareState { firmware: self.firmware, secure_boot: self.secure_boot, tpm: self.tpm }
    }

    /// Takes what the firmware has now.
    pub fn set_firmware_state(&mut self, now: FirmwareState) {
        FirmwareState { firmware: self.firmware, secure_boot: self.secure_boot, tpm: self.tpm } = now;
    }
}

/// How the firmware started the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareKind {
    /// A PC BIOS, or UEFI's compatibility module.
    Bios,
    /// UEFI.
    Uefi,
    /// Not known, or neither (most ARM boards).
    #[default]
    Unknown,
}

/// A processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Cpu {
    /// Model name as the kernel gives it.
    pub model: String,
    /// Physical cores.
    pub cores: u32,
    /// Hardware threads.
    pub threads: u32,
    /// Whether it can run virtual machines (`vmx` or `svm`).
    pub virtualization: bool,
    /// Whether it computes AES in hardware.
    pub aes: bool,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Disk {
    /// Kernel name, such as `sda`; changes between boots.
    pub name: String,
    /// Model, where it tells one.
    pub model: Option<String>,
    /// Serial number: what consent to wipe is given for.
    pub serial: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether it spins.
    pub rotational: bool,
    /// How it is attached: `nvme`, `sata`, `usb`, `virtio`, `scsi`, `mmc`.
    pub transport: Option<String>,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What lies on it: a partition table or file system type; `None` where it is blank.
    pub signature: Option<String>,
    /// The partitions on it, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<DiskPartition>,
    /// What uses it now: mount points, `swap`, devices made of it. Such a disk is never wiped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_use: Vec<String>,
}

/// A partition that lies on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DiskPartition {
    /// Its number, from 1 on.
    pub number: u32,
    /// Its name in a GPT.
    pub name: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// What lies on it: a file system type or the like; `None` where nothing is recognised.
    pub content: Option<String>,
    /// The label of its file system.
    pub label: Option<String>,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Nic {
    /// Interface name.
    pub name: String,
    /// Hardware address.
    pub mac: MacAddress,
    /// Kernel driver.
    pub driver: Option<String>,
    /// Link speed in Mbit/s; `None` without a link or where the driver does not tell (virtio).
    pub speed_mbit: Option<u32>,
    /// Whether a cable with a link is in.
    pub carrier: bool,
}

/// First measures, made in under ten seconds at the first boot; a full benchmark comes later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Measures {
    /// Work units per second on one core.
    pub cpu_single: Measure,
    /// Work units per second on all cores at once.
    pub cpu_all: Measure,
    /// `cpu_all ÷ cpu_single`: what the cores are really worth together.
    pub effective_cores: Measure,
    /// Memory bandwidth in MB/s (triad: two reads and a write per element).
    pub memory_mb_s: Measure,
    /// Median of writing 4 KiB and `fdatasync`, in microseconds.
    pub fsync_us: Measure,
}

/// One figure, or the reason why there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Measure {
    /// The median; `None` where it was not measured.
    pub value: Option<f64>,
    /// (largest − smallest) ÷ median over the repetitions.
    pub spread: Option<f64>,
    /// Why there is no value.
    pub reason: Option<String>,
}

impl Measure {
    /// A measure that could not be made, and why.
    #[must_use]
    pub fn missing(reason: impl Into<String>) -> Self {
        Self { value: None, spread: None, reason: Some(reason.into()) }
    }

    /// The median and spread of `samples`; missing where there are none.
    #[must_use]
    pub fn of_samples(samples: &[f64]) -> Self {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(first), Some(last), Some(&median)) = (sorted.first(), sorted.last(), sorted.get(sorted.len() / 2))
        else {
            return Self::missing("no sample");
        };
        let spread = if median > 0.0 { Some((last - first) / median) } else { None };
        Self { value: Some(median), spread, reason: None }
    }
}
