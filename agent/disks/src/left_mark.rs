//! The mark of an installation on a disk that its node runs from already.
//!
//! The mark goes last. Where power fails just before that, nobody carries the plan out again: the node starts from its disk.
//! The record of such a disk is there and the state that it names is open. So either all of the installation is written but
//! perhaps the boot loaders, or nothing of it: the record is cleared before anything else, and it comes back after all but the
//! loaders. Those are looked for, by the boot code that comes last of all.

use std::path::PathBuf;

use meadow_model::preboot::Mark;
use meadow_plan::layout;

use crate::area::Area;
use crate::install::system;
use crate::machine::Machine;
use crate::own_disk::{self, OwnDisk};
use crate::{DiskError, preboot_area};

/// Whether such a mark lies on this node's disk.
pub(crate) fn is_there(machine: &dyn Machine) -> Result<bool, DiskError> {
    Ok(find(machine)?.is_some())
}

/// Removes it. Nothing else may change the disks meanwhile: a reset sets a mark in the same place.
pub(crate) fn remove(machine: &dyn Machine) -> Result<(), DiskError> {
    let Some(preboot) = find(machine)? else { return Ok(()) };
    tracing::info!("an installation was cut off after its last write; its mark is removed");
    preboot_area::unmark(&Area::open(&preboot)?)
}

/// The partition with the mark.
fn find(machine: &dyn Machine) -> Result<Option<PathBuf>, DiskError> {
    // Asked at every look, and finding a disk waits for those that another program holds.
    if machine.state_disk().is_none() {
        return Ok(None);
    }
    let Some(own) = own_disk::find(machine)? else { return Ok(None) };
    let preboot = own.node(machine, layout::PREBOOT)?;
    let installs = matches!(preboot_area::mark_of(&preboot, 0), Some(Mark::Installs { .. }));
    let runs_from_it = machine.state_disk().as_ref() == Some(&own.disk.name);
    let is_left = installs && runs_from_it && is_whole(machine, &own)?;
    Ok(is_left.then_some(preboot))
}

fn is_whole(machine: &dyn Machine, own: &OwnDisk) -> Result<bool, DiskError> {
    if !own.record.installed {
        return Ok(true);
    }
    let Some(bios) = own.partition(layout::BIOS) else { return Ok(false) };
    system::is_bootable(&machine.disk_node(&own.disk.name), bios)
}
