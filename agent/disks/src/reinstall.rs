//! Writes everything anew that this node boots from: boot code, ESP, the first root. Table, record and state stay.
//!
//! Nothing of the disk may run but the state, so the node has booted over the network or from a stick. A power cut leaves a
//! disk that does not boot, and a node that is booted over the network again and asked again: its identity is in the state.

use std::path::Path;

use meadow_plan::layout;
use rustix::fs::{FlockOperation, flock};

use crate::area::Area;
use crate::esp::Esp;
use crate::image::{Image, LOADER_FILES, ROOT, SLOT_FILES};
use crate::install::{fits, system};
use crate::machine::Machine;
use crate::own_disk::{self, OwnDisk};
use crate::progress::Progress;
use crate::{DiskError, slot, tpm_slot};

/// Share of the ESP that one slot's files may take at most: two slots and the boot loader have to fit.
const ESP_SHARE: u64 = 3;

/// Writes the image. With `only_newer` one is refused that is older than the one that the node had, where its disk still tells.
pub(crate) fn run(
    machine: &dyn Machine,
    folder: &Path,
    only_newer: bool,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    if !own.record.installed {
        return Err(DiskError::refused(
            "this node keeps only its state on its disk, so there is no system to write anew",
        ));
    }
    if own.running(machine).is_some() {
        return Err(DiskError::refused(
            "the system that is to be written anew runs; start this node over the network first",
        ));
    }
    let image = Image::open(folder)?;
    if only_newer {
        image.refuse_older_than(image_before(&own, machine).as_deref())?;
    }
    let names: Vec<&str> = [ROOT].into_iter().chain(SLOT_FILES).chain(LOADER_FILES).collect();
    let place = |name: &'static str| own.node(machine, name);
    // Alone: nothing has mounted or mapped them.
    let root = Area::open_alone(&place(layout::ROOT_A)?)?;
    fits(&image, &[ROOT], root.size()?)?;
    fits(&image, &SLOT_FILES, Area::open_alone(&place(layout::ESP)?)?.size()? / ESP_SHARE)?;
    let bios = own
        .partition(layout::BIOS)
        .ok_or_else(|| DiskError::refused("the disk has no meadow-bios; install it anew"))?;
    fits(&image, &["grub/core.img"], bios.size)?;
    image.check(&names, progress)?;
    tpm_slot::expect_signed(machine, &own, &image)?;
    drop(root);

    let node = machine.disk_node(&own.disk.name);
    let device = Area::open(&node)?;
    flock(device.file(), FlockOperation::LockExclusive).map_err(DiskError::io("lock", &node))?;
    system::write(&image, &own.record.luks_uuid, &place, progress)?;
    system::make_bootable(&image, bios, &place, &device, progress)
}

/// The manifest of the image that this node had, as far as its disk can still be read: a damaged one keeps nobody from mending it.
fn image_before(own: &OwnDisk, machine: &dyn Machine) -> Option<Vec<u8>> {
    let esp = Esp::open_to_read(&own.node(machine, layout::ESP).ok()?).ok()?;
    let blessed = slot::grubenv(&esp).ok()?.blessed;
    slot::manifest(&esp, blessed).ok()?
}
