//! Carries out an install plan.
//!
//! The order makes a power cut harmless: until the mark is written nothing changed; from then on the disk is known as one
//! that this very plan is being carried out on, and a rerun starts over. The mark names the volume that this very run
//! makes, so that nothing that an earlier installation left on the disk is ever taken for the end of this one. The record of
//! `meadow-preboot`, which makes the disk count as installed, comes after all that it names; the boot loaders, which make a
//! firmware take the disk, come last: a system without its record would run as a new machine from the very disk that a rerun has
//! to write.

pub(crate) use checks::fits;

mod checks;
mod state;
pub(crate) mod system;

use std::path::PathBuf;

use meadow_luks::Key;
use meadow_model::install::{InstallMode, InstallWork, InstalledDisk, Partition};
use meadow_model::preboot::{Mark, Preboot, VERSION};
use meadow_model::{Secret, record};
use meadow_plan::layout;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use crate::area::{Area, sector_size};
use crate::image::Image;
use crate::machine::Machine;
use crate::progress::Progress;
use crate::{DiskError, bios, host_key, own_disk, preboot_area, table};
use checks::Found;

/// Cleared at the start and end of every partition, so that nothing old is recognised there.
const EDGE: u64 = 1 << 20;

/// What an installation made.
#[derive(Debug)]
pub struct Installed {
    /// The disk.
    pub disk: InstalledDisk,
    /// The recovery key; `None` where an earlier run had completed the installation, so that only its answer was lost.
    pub recovery_key: Option<Secret<String>>,
}

/// Carries out `work`, and goes on where an earlier run with the same plan was cut off.
///
/// # Errors
/// [`DiskError`]. Nothing is written to a disk but to the planned one, and nothing to that one where it is not as planned.
pub fn install(machine: &dyn Machine, work: &InstallWork, progress: &mut Progress<'_>) -> Result<Installed, DiskError> {
    let plan = &work.plan;
    progress("looks at the disk", None);
    machine.close_state()?;
    let (disk, found) = checks::disk(machine, work)?;
    let node = machine.disk_node(&disk.name);
    let part = |name| checks::partition(plan, name);
    let preboot = part(layout::PREBOOT)?;
    let passphrase = Key::new_passphrase(work.passphrase.expose())?;
    let source = checks::state_source(work)?;
    let image = checks::image(work, progress)?;

    // udev leaves a locked disk alone, and would else look at half-written partitions and keep them busy.
    let device = Area::open(&node)?;
    flock(device.file(), FlockOperation::LockExclusive).map_err(DiskError::io("lock", &node))?;
    let sector = sector_size(&device);
    if image.is_some() && sector != bios::SECTOR {
        return Err(DiskError::refused(format!(
            "this disk has sectors of {sector} bytes, from which no BIOS boots; take a disk with sectors of 512 bytes, or \
             only keep the state on it"
        )));
    }
    let place = |name| Ok::<_, DiskError>(machine.partition_node(&disk.name, part(name)?));
    if found == Found::Complete {
        finish(work, image.as_ref(), &place, &device, progress)?;
        return Ok(Installed { disk: own_disk::look_at(machine, &disk)?, recovery_key: None });
    }
    let host_key = host_key::generate()?;
    let volume = Uuid::new_v4();
    {
        let alone = Area::open_alone(&node)?;
        if alone.size()? != plan.size_bytes {
            return Err(DiskError::refused("the disk changed its size since the plan was made; make a new plan"));
        }
        progress("writes the partition table", None);
        let mark = Mark::Installs { plan: plan.hash.clone(), volume: volume.to_string() };
        preboot_area::set_mark(&alone, preboot.start, &mark)?;
        preboot_area::clear_record(&alone, preboot.start)?;
        table::write(&alone, plan.size_bytes, sector, &plan.partitions)?;
        clear_edges(&alone, &plan.partitions)?;
        machine.reread(&disk.name, &alone, &plan.partitions)?;
    }
    if let Some(image) = &image {
        system::write(image, &plan.hash, &place, progress)?;
    }
    let recovery_key = state::make(machine, &place(layout::STATE)?, volume, &passphrase, &source, progress)?;

    let record = Preboot {
        version: VERSION,
        node: plan.node.clone(),
        cluster: work.cluster.clone(),
        ca_fingerprint: work.ca_fingerprint,
        luks_uuid: volume.to_string(),
        installed: plan.mode == InstallMode::System,
        authorized_keys: work.authorized_keys.clone(),
        network: work.network.clone(),
        host_key: host_key.plain(),
    };
    let path = place(layout::PREBOOT)?;
    preboot_area::write(&Area::open(&path)?, &record, &path)?;
    finish(work, image.as_ref(), &place, &device, progress)?;
    // Still locked: udev reads the table anew once it is not, and the partitions' devices are away for a moment.
    let installed = own_disk::look_at(machine, &disk)?;
    drop(device);
    Ok(Installed { disk: installed, recovery_key: Some(recovery_key) })
}

/// What is left to do once the record is written.
fn finish(
    work: &InstallWork,
    image: Option<&Image>,
    place: &dyn Fn(&'static str) -> Result<PathBuf, DiskError>,
    device: &Area,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    if let Some(image) = image {
        let bios = checks::partition(&work.plan, layout::BIOS)?;
        // What an earlier run has brought to its end is not begun again: a cut in that would leave a torn loader behind boot
        // code that says that all is there.
        if !system::is_bootable(device.path(), bios)? {
            system::make_bootable(image, bios, place, device, progress)?;
        }
    }
    preboot_area::unmark(&Area::open(&place(layout::PREBOOT)?)?)
}

/// Clears where file systems and volumes have their signatures; the mark in `meadow-preboot` lies behind the first MiB.
fn clear_edges(disk: &Area, partitions: &[Partition]) -> Result<(), DiskError> {
    for partition in partitions {
        let edge = EDGE.min(partition.size);
        disk.zero(partition.start, edge)?;
        disk.zero(partition.start + partition.size - edge, edge)?;
    }
    Ok(())
}

const _: () = assert!(record::AREA_BYTES as u64 >= EDGE, "the mark would be cleared");
