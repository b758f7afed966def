//! The inventory.
//!
//! Every part is a function of a root folder (`/` on a real machine, a tree of fixtures in tests) and, for disks, of
//! what udev knows; nothing here changes anything.

mod cpu;
mod disks;
mod firmware;
mod nics;
mod partitions;
mod text;
mod udev_db;
mod usage;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use meadow_host::links::{LinkError, Links};
use meadow_model::MacAddress;
use meadow_model::hardware::{Disk, Hardware};

pub use disks::{UdevProperties, UdevSource};
pub use udev_db::UdevDatabase;

/// The inventory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The interfaces could not be asked for their hardware addresses.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// The thread that read sysfs did not end well.
    #[error("the inventory was interrupted ({0}); it is made again at the next start")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Looks at the machine that this runs on.
///
/// Waits up to `udev_timeout` until udev has looked at every disk; one that it has not looked at by then is reported
/// with the signature `unknown`, never as blank.
///
/// # Errors
/// [`InventoryError`]; what single files of sysfs do not tell is left out instead.
pub async fn inventory(udev_timeout: Duration) -> Result<Hardware, InventoryError> {
    let links = Links::open()?.list().await?;
    let permanent = links.into_iter().filter_map(|link| Some((link.name, link.permanent_mac?))).collect();
    let read = move || {
        udev_db::wait_until_initialized(udev_timeout);
        read(Path::new("/"), &UdevDatabase, &permanent)
    };
    Ok(tokio::task::spawn_blocking(read).await?)
}

/// The disks of the machine that this runs on, as in [`inventory`]. Blocks up to `udev_timeout`.
#[must_use]
pub fn disks(udev_timeout: Duration) -> Vec<Disk> {
    udev_db::wait_until_initialized(udev_timeout);
    disks::read(Path::new("/"), &UdevDatabase)
}

/// Whether Secure Boot is on; `None` on a computer without it.
#[must_use]
pub fn secure_boot() -> Option<bool> {
    firmware::secure_boot(Path::new("/"))
}

/// A look at one block device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceLook {
    /// The device.
    pub disk: Disk,
    /// Whether it is made to be carried about: a stick, a card, anything on USB.
    pub portable: bool,
}

/// Looks at the block device with this kernel name, which may be a virtual one; `None` where there is none, or it is a
/// partition. Blocks up to `udev_timeout`.
#[must_use]
pub fn device(name: &str, udev_timeout: Duration) -> Option<DeviceLook> {
    udev_db::wait_until_initialized(udev_timeout);
    device_within(Path::new("/"), name, &UdevDatabase)
}

/// The block device with this kernel name in the tree at `root`.
#[must_use]
pub fn device_within(root: &Path, name: &str, udev: &dyn UdevSource) -> Option<DeviceLook> {
    let disk = disks::describe(root, name, udev)?;
    Some(DeviceLook { disk, portable: disks::is_portable(root, name) })
}

/// The inventory of the tree at `root`.
#[must_use]
pub fn read(root: &Path, udev: &dyn UdevSource, permanent_macs: &BTreeMap<String, MacAddress>) -> Hardware {
    let smbios = firmware::read_smbios(root);
    Hardware {
        vendor: smbios.vendor,
        product: smbios.product,
        uuid: smbios.uuid,
        firmware: firmware::kind(root, std::env::consts::ARCH),
        secure_boot: firmware::secure_boot(root),
        tpm: firmware::has_tpm(root),
        cpu: cpu::read(root),
        memory_bytes: cpu::memory_bytes(root),
        disks: disks::read(root, udev),
        nics: nics::read(root, permanent_macs),
    }
}
