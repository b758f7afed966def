//! A new image in the slot that does not run; which slot boots.

use std::path::Path;

use meadow_model::install::BootSlot;
use meadow_plan::layout;
use rustix::fs::{FlockOperation, flock};

use crate::area::Area;
use crate::esp::Esp;
use crate::grubenv::GrubEnv;
use crate::image::{Image, ROOT, SLOT_FILES, refuse_older};
use crate::install::fits;
use crate::machine::Machine;
use crate::own_disk::{self, OwnDisk};
use crate::progress::{Counter, Progress};
use crate::{DiskError, slot, tpm_slot};

/// Writes an image into the slot that does not run; the boot loader is told nothing yet. With `only_newer` one that is not
/// newer than the running one is refused.
pub(crate) fn write_image(
    machine: &dyn Machine,
    folder: &Path,
    only_newer: bool,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    let (esp_node, image) = (own.node(machine, layout::ESP)?, Image::open(folder)?);
    let mut environment = slot::grubenv(&Esp::open_to_read(&esp_node)?)?;
    let running = own.running(machine).unwrap_or(environment.blessed);
    let target = running.other();
    let never_started = running != environment.blessed && !is_trial_of(&environment, running);
    if target == environment.blessed && !never_started {
        return Err(DiskError::refused(format!(
            "slot {} runs and is not blessed yet, and slot {} is the way back; bless the running one or restart first",
            running.letter(),
            target.letter()
        )));
    }
    image.refuse_for(slot::manifest(&Esp::open_to_read(&esp_node)?, running)?.as_deref(), only_newer)?;
    // Alone: a root that something runs from is never written.
    let root = Area::open_alone(&own.node(machine, layout::root_name(target))?)?;
    fits(&image, &[ROOT], root.size()?)?;
    fits(&image, &SLOT_FILES, Area::open(&esp_node)?.size()? / 3)?;
    let names: Vec<&str> = [ROOT].into_iter().chain(SLOT_FILES).collect();
    image.check(&names, progress)?;
    tpm_slot::expect_signed(machine, &own, &image)?;

    let _lock = lock(machine, &own)?;
    // A power cut from here on must not boot a slot that is half the old and half the new image.
    let told = if never_started {
        Some(environment.with_blessed(running))
    } else {
        let is_told = environment.tried.take().is_some() | environment.attempted.take().is_some();
        is_told.then_some(environment)
    };
    if let Some(told) = told {
        let esp = Esp::open(&esp_node)?;
        slot::set_grubenv(&esp, &told)?;
        esp.close()?;
    }
    slot::clear(&esp_node, target)?;
    let artifact = image.artifact(ROOT)?;
    root.copy_checked(&image.path(ROOT), artifact.size, &artifact.sha256, "writes the system", progress)?;
    let esp = Esp::open(&esp_node)?;
    slot::write_files(&esp, &image, target, progress)?;
    esp.close()?;
    slot::compare_files(&esp_node, &image, target)
}

/// Boots a complete slot at the next start, once. With `only_newer` one whose image is older than the running one is refused.
pub(crate) fn try_once(
    machine: &dyn Machine,
    target: BootSlot,
    only_newer: bool,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    let esp = Esp::open(&own.node(machine, layout::ESP)?)?;
    let incomplete =
        || DiskError::refused(format!("slot {} holds no whole image; write one into it first", target.letter()));
    let root = slot::root(&esp, target)?.ok_or_else(incomplete)?;
    let area = Area::open(&own.node(machine, layout::root_name(target))?)?;
    if root.size > area.size()? {
        return Err(incomplete());
    }
    if only_newer {
        let running = own.running(machine).unwrap_or(target.other());
        let running = slot::manifest(&esp, running)?;
        refuse_older(running.as_deref(), slot::manifest(&esp, target)?.as_deref())?;
    }
    let mut counter = Counter::new("checks the system", root.size);
    if area.digest(root.size, |bytes| counter.add(bytes, progress))? != root.sha256 {
        return Err(incomplete());
    }
    let _lock = lock(machine, &own)?;
    let mut environment = slot::grubenv(&esp)?;
    (environment.tried, environment.attempted) = (Some(target), Some(target));
    slot::set_grubenv(&esp, &environment)?;
    esp.close()
}

/// Makes the running slot the one that is booted from now on.
pub(crate) fn bless(machine: &dyn Machine) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    let running = own.running(machine).ok_or_else(|| {
        DiskError::refused(
            "the system that runs now was not started from this node's disk; restart from the disk first",
        )
    })?;
    let esp = Esp::open(&own.node(machine, layout::ESP)?)?;
    let environment = slot::grubenv(&esp)?;
    let wanted = environment.clone().with_blessed(running);
    if environment == wanted {
        return Ok(());
    }
    let _lock = lock(machine, &own)?;
    slot::set_grubenv(&esp, &wanted)?;
    esp.close()
}

/// Whether the system that runs was started to be tried, and nobody has blessed it yet.
pub(crate) fn is_trial(machine: &dyn Machine) -> Result<bool, DiskError> {
    let Some(own) = own_disk::find(machine)? else { return Ok(false) };
    let Some(running) = own.running(machine) else { return Ok(false) };
    let esp = Esp::open_to_read(&own.node(machine, layout::ESP)?)?;
    Ok(is_trial_of(&slot::grubenv(&esp)?, running))
}

/// Whether the slot that runs was taken to be tried. One that is not blessed and was not to be tried runs because the blessed
/// one did not start.
pub(crate) fn is_trial_of(environment: &GrubEnv, running: BootSlot) -> bool {
    environment.blessed != running && environment.trial == Some(running)
}

/// Keeps udev from looking at the disk meanwhile.
fn lock(machine: &dyn Machine, own: &OwnDisk) -> Result<Area, DiskError> {
    let node = machine.disk_node(&own.disk.name);
    let disk = Area::open(&node)?;
    flock(disk.file(), FlockOperation::LockExclusive).map_err(DiskError::io("lock", &node))?;
    Ok(disk)
}
