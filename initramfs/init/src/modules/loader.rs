//! Loads modules for the devices that are there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use rustix::io::Errno;

use super::Index;
use crate::lock;

/// The modules of the running kernel, and which of them were loaded.
#[derive(Debug)]
pub struct Loader {
    root: PathBuf,
    index: Index,
    done: Mutex<HashSet<String>>,
    without_disks: AtomicBool,
}

/// Where the kernel keeps drivers of disks.
const DISK_DRIVERS: [&str; 9] = [
    "drivers/ata/",
    "drivers/block/virtio_blk",
    "drivers/block/xen-blkfront",
    "drivers/message/fusion/",
    "drivers/mmc/",
    "drivers/nvme/",
    "drivers/pci/controller/vmd",
    "drivers/scsi/",
    "drivers/usb/storage/",
];

impl Loader {
    /// Reads the index of the running kernel's modules.
    ///
    /// # Errors
    /// If the initramfs holds no modules for this kernel.
    pub fn open() -> anyhow::Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let root = Path::new("/lib/modules").join(&release);
        let read = |name: &str| {
            let path = root.join(name);
            fs::read_to_string(&path).with_context(|| {
                format!("cannot read {}: kernel {release} and initrd are not of the same image", path.display())
            })
        };
        let index = Index::parse(&read("modules.dep")?, &read("modules.alias")?, &read("modules.softdep")?);
        Ok(Self { root, index, done: Mutex::default(), without_disks: AtomicBool::new(false) })
    }

    /// Leaves disks without a driver until [`Loader::allow_disks`]: who boots over the network and keeps nothing on a
    /// disk touches none, and is quicker.
    pub fn hold_disks_back(&self) {
        self.without_disks.store(true, Ordering::Relaxed);
    }

    /// Disks may have their drivers. Whether they were held back until now, so that it is time to look again.
    pub fn allow_disks(&self) -> bool {
        self.without_disks.swap(false, Ordering::Relaxed)
    }

    fn is_held_back(&self, file: &str) -> bool {
        self.without_disks.load(Ordering::Relaxed) && is_disk_driver(file)
    }

    /// Loads what wants a device with this modalias, or the module of this name.
    ///
    /// # Errors
    /// The kernel's refusal of the last module that failed; the others were tried.
    pub fn load(&self, alias: &str) -> anyhow::Result<()> {
        let mut result = Ok(());
        for name in self.index.resolve(alias) {
            let order = self.index.load_order(name);
            if order.iter().any(|file| self.is_held_back(file)) {
                continue;
            }
            for file in order {
                if let Err(error) = self.insert(file) {
                    result = Err(error);
                    break;
                }
            }
        }
        result
    }

    /// Loads for every device that has no driver yet. Failures are reported to `say`.
    pub fn load_for_devices(&self, say: impl Fn(String)) {
        let mut aliases: Vec<String> = Vec::new();
        for bus in directories(Path::new("/sys/bus")) {
            for device in directories(&bus.join("devices")) {
                if device.join("driver").exists() {
                    continue;
                }
                if let Ok(alias) = fs::read_to_string(device.join("modalias")) {
                    aliases.push(alias.trim_end().to_owned());
                }
            }
        }
        aliases.sort();
        aliases.dedup();
        for alias in aliases {
            if let Err(error) = self.load(&alias) {
                say(format!("{error:#}"));
            }
        }
    }

    fn insert(&self, file: &str) -> anyhow::Result<()> {
        if lock(&self.done).contains(file) {
            return Ok(());
        }
        let path = self.root.join(file);
        let opened = File::open(&path).with_context(|| format!("cannot open module {}", path.display()))?;
        match rustix::system::finit_module(&opened, c"", 0) {
            // EEXIST: loaded meanwhile, by another thread or on the kernel's own wish.
            Ok(()) | Err(Errno::EXIST) => {
                lock(&self.done).insert(file.to_owned());
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("the kernel refused module {file}")),
        }
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn is_disk_driver(file: &str) -> bool {
    let inside = file.strip_prefix("kernel/").unwrap_or(file);
    DISK_DRIVERS.iter().any(|place| inside.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::is_disk_driver;

    #[test]
    fn disks_are_told_from_the_rest() {
        for file in ["ata/ahci.ko", "block/virtio_blk.ko", "nvme/host/nvme.ko", "scsi/sd_mod.ko", "usb/storage/uas.ko"]
        {
            assert!(is_disk_driver(&format!("kernel/drivers/{file}")), "{file}");
        }
        for file in ["block/loop.ko", "net/virtio_net.ko", "md/dm-crypt.ko", "usb/host/xhci-pci.ko", "hid/usbhid.ko"] {
            assert!(!is_disk_driver(&format!("kernel/drivers/{file}")), "{file}");
        }
    }
}
