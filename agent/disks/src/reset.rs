//! A factory reset: this node's state is erased for good, further disks are wiped, and the computer is nobody's node.
//!
//! Further disks come first: a power cut there leaves a whole node, whose reset is asked for again. Then the mark is
//! written. From there on the initramfs opens nothing on this disk, and the next start brings the reset to its end
//! ([`finish`]), so that no half of a node is ever there: the system starts as a new machine either way.

use std::path::Path;

use meadow_luks::HEADER_BYTES;
use meadow_model::hardware::Hardware;
use meadow_model::install::Partition;
use meadow_model::preboot::Mark;
use meadow_model::reset::{ErasedDisk, Erasure, OwnState, ResetPlan, WipedDisk};
use meadow_plan::{layout, reset};
use rustix::fs::{Advice, FlockOperation, fadvise, flock};

use crate::area::{Area, sector_size};
use crate::machine::Machine;
use crate::own_disk::{self, OwnDisk};
use crate::progress::Progress;
use crate::{DiskError, mbr, preboot_area, program, table};

/// Cleared at both ends of each partition: where file systems, LVM, RAID and ZFS have their signatures.
const EDGE: u64 = 1 << 20;
/// The same of a disk. Behind its table the first partition begins at the first MiB as a rule, also where the table is lost.
const DISK_EDGE: u64 = 4 << 20;
/// How many places of a disk are looked at after it was discarded, and how large they are.
const SAMPLES: u64 = 256;
const SAMPLE: usize = 64 << 10;

/// Carries out a reset that somebody consented to; gives how far the further disks were erased.
pub(crate) fn run(
    machine: &dyn Machine,
    plan: &ResetPlan,
    progress: &mut Progress<'_>,
) -> Result<Vec<ErasedDisk>, DiskError> {
    if plan.hash != reset::hash(plan) {
        return Err(DiskError::refused("the plan is not the one that somebody consented to; make a new plan"));
    }
    let own = match &plan.own {
        Some(planned) => Some(expect(machine, planned)?),
        None => None,
    };
    let hardware = Hardware { disks: machine.disks(), ..Hardware::default() };
    for wiped in &plan.wipes {
        if reset::wipe(&plan.node, &hardware, &wiped.serial)? != *wiped {
            return Err(DiskError::refused(format!(
                "what lies on {} ({}) is not what the plan was made for; nothing was erased, make a new plan",
                wiped.disk, wiped.serial
            )));
        }
    }
    let mut erased = Vec::new();
    for wiped in &plan.wipes {
        progress(&format!("wipes the disk {}", wiped.serial), None);
        erased.push(ErasedDisk { serial: wiped.serial.clone(), erasure: wipe(machine, wiped)? });
    }
    let Some(own) = own else { return Ok(erased) };
    progress("marks the disk as one that is reset", None);
    let (preboot, state) = (own.node(machine, layout::PREBOOT)?, own.node(machine, layout::STATE)?);
    preboot_area::set_mark(&Area::open(&preboot)?, 0, &Mark::Resets(plan.hash.clone()))?;
    erase(&preboot, &state, progress)?;
    Ok(erased)
}

/// Brings resets to their end that were cut off; gives whether there was one.
pub(crate) fn finish(machine: &dyn Machine, progress: &mut Progress<'_>) -> Result<bool, DiskError> {
    let mut found = false;
    for disk in machine.disks() {
        // Another disk that cannot be read is not one that a reset was begun on.
        let Ok(partitions) = table::read(&machine.disk_node(&disk.name)) else { continue };
        let named = |name: &str| partitions.iter().find(|partition| partition.name == name);
        let (Some(preboot), Some(state)) = (named(layout::PREBOOT), named(layout::STATE)) else { continue };
        let place = |partition: &Partition| machine.partition_node(&disk.name, partition);
        if matches!(preboot_area::mark_of(&place(preboot), 0), Some(Mark::Resets(_))) {
            progress("brings a reset to its end", None);
            erase(&place(preboot), &place(state), progress)?;
            found = true;
        }
    }
    Ok(found)
}

/// From the mark on: the keys, then what says whose they were, then the mark.
fn erase(preboot: &Path, state: &Path, progress: &mut Progress<'_>) -> Result<(), DiskError> {
    progress("erases the keys of the state", None);
    meadow_luks::erase(state)?;
    // The keys are gone in any case.
    let _ = discard(state, HEADER_BYTES);
    progress("forgets the node", None);
    let area = Area::open(preboot)?;
    preboot_area::clear_record(&area, 0)?;
    if preboot_area::read(preboot, 0)?.is_some() {
        return Err(DiskError::refused(format!(
            "{} gives back the node's record that was erased; the disk is broken, destroy it",
            preboot.display()
        )));
    }
    preboot_area::unmark(&area)
}

/// The node's disk, which has to be the planned one.
fn expect(machine: &dyn Machine, planned: &OwnState) -> Result<OwnDisk, DiskError> {
    let own = own_disk::require(machine)?;
    let serial = own.disk.serial.as_deref().unwrap_or_default();
    if serial == planned.serial && own.record.luks_uuid == planned.luks_uuid {
        return Ok(own);
    }
    Err(DiskError::refused(format!(
        "this node's state is not the one that the plan was made for, but the volume {} on {}; make a new plan",
        own.record.luks_uuid, own.disk.name
    )))
}

/// Makes a disk blank: nothing on it is recognised any more. All of it is discarded where the disk can do that.
fn wipe(machine: &dyn Machine, wiped: &WipedDisk) -> Result<Erasure, DiskError> {
    let node = machine.disk_node(&wiped.disk);
    let device = Area::open(&node)?;
    flock(device.file(), FlockOperation::LockExclusive).map_err(DiskError::io("lock", &node))?;
    let alone = Area::open_alone(&node)?;
    let size = alone.size()?;
    let partitions = table::read(&node)?;
    let mut parts: Vec<(u64, u64)> = partitions.iter().map(|part| (part.start, part.size)).collect();
    parts.extend(mbr::partitions(&alone, sector_size(&alone))?);
    // The disk's own edges last: as long as its table is there, who was cut off finds the partitions again.
    let edges = parts.into_iter().map(|part| (part, EDGE)).chain([((0, size), DISK_EDGE)]);
    for ((start, length), edge) in edges.filter(|((start, _), _)| *start < size) {
        // A table may say more than the disk has.
        let length = length.min(size - start);
        let edge = edge.min(length);
        alone.zero(start, edge)?;
        alone.zero(start + length - edge, edge)?;
    }
    machine.reread(&wiped.disk, &alone, &[])?;
    drop(alone);
    if discard(&node, size) && gives_back_nothing(&device, size)? {
        return Ok(Erasure::Discarded);
    }
    Ok(Erasure::SignaturesRemoved)
}

/// Whether a disk gives back zeros all over it. To discard is only a hint: some disks drop it and keep what they have.
fn gives_back_nothing(disk: &Area, size: u64) -> Result<bool, DiskError> {
    // What is read comes from the device.
    fadvise(disk.file(), 0, None, Advice::DontNeed).map_err(DiskError::io("read back", Path::new("the wiped disk")))?;
    for sample in 0..SAMPLES {
        let place = size / SAMPLES * sample;
        let length = usize::try_from(size - place).unwrap_or(SAMPLE).min(SAMPLE);
        if disk.read(place, length)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lets flash memory forget what it has, where it can; says whether the device took it.
fn discard(device: &Path, length: u64) -> bool {
    let length = length.to_string();
    let arguments = ["--force", "--length", &length].map(AsRef::as_ref);
    let done = program::run("blkdiscard", &[&arguments[..], &[device.as_os_str()]].concat());
    if let Err(error) = &done {
        tracing::info!(%error, "the device does not discard");
    }
    done.is_ok()
}
