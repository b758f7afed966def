//! The partition `meadow-preboot`: the record, and while an installation or a reset is under way, which one.
//!
//! The mark lies behind the record's two slots. It is written before anything else of a disk changes
//! and removed last, so a disk that was cut off anywhere in between is known, and goes on with the very plan that somebody
//! consented to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use meadow_model::preboot::{MARK_BYTES, Mark, Preboot};
use meadow_model::record::{self, AREA_BYTES};

use crate::DiskError;
use crate::area::Area;

const MARK_OFFSET: u64 = AREA_BYTES as u64;

/// Says on the disk what is under way. `start` is the first byte of `meadow-preboot`.
pub(crate) fn set_mark(disk: &Area, start: u64, mark: &Mark) -> Result<(), DiskError> {
    disk.write(start + MARK_OFFSET, &mark.bytes())
}

/// The UUID of the volume that an installation by the plan with that hash began to make; `None` where none did.
pub(crate) fn begun(disk: &Path, start: u64, hash: &str) -> Option<String> {
    match mark_of(disk, start)? {
        Mark::Installs { plan, volume } if plan == hash => Some(volume),
        Mark::Installs { .. } | Mark::Resets(_) => None,
    }
}

/// What is under way on a disk.
pub(crate) fn mark_of(disk: &Path, start: u64) -> Option<Mark> {
    let mut bytes = [0; MARK_BYTES];
    File::open(disk).and_then(|file| file.read_exact_at(&mut bytes, start + MARK_OFFSET)).ok()?;
    Mark::parse(&bytes)
}

/// Removes the record, and with it whatever made the disk count as installed.
pub(crate) fn clear_record(disk: &Area, start: u64) -> Result<(), DiskError> {
    disk.zero(start, MARK_OFFSET)
}

/// Says that nothing is under way any more.
pub(crate) fn unmark(partition: &Area) -> Result<(), DiskError> {
    partition.zero(MARK_OFFSET, MARK_BYTES as u64)
}

/// The record, `None` where no whole one of our version is there. `start` is 0 on the partition itself.
pub(crate) fn read(device: &Path, start: u64) -> Result<Option<Preboot>, DiskError> {
    let mut area = vec![0; AREA_BYTES];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut area, start));
    read.map_err(DiskError::io("read the record of", device))?;
    let newest = record::newest(&area).and_then(|record| serde_json::from_slice::<Preboot>(record.payload).ok());
    Ok(newest.filter(|record| record.version == meadow_model::preboot::VERSION))
}

/// Writes the record and reads it back.
pub(crate) fn write(partition: &Area, preboot: &Preboot, path: &Path) -> Result<(), DiskError> {
    let unwritable =
        |why: String| DiskError::refused(format!("the node's record cannot be written ({why}); try again"));
    let payload = serde_json::to_vec(preboot).map_err(|error| unwritable(error.to_string()))?;
    let area = partition.read(0, AREA_BYTES)?;
    let write = record::replace(&area, &payload).map_err(|error| unwritable(error.to_string()))?;
    partition.write(write.offset as u64, &write.bytes)?;
    match read(path, 0)? {
        Some(found) if found == *preboot => Ok(()),
        _ => Err(unwritable("the disk gives back something else".to_owned())),
    }
}
