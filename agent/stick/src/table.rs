//! The partition table of a stick.

use std::fs::File;
use std::path::Path;

use gptman::{GPT, GPTPartitionEntry};
use meadow_plan::flash::SECTOR;
use uuid::Uuid;

use crate::StickError;

/// Bytes of a device, from `start` on and before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

const BYTES: u64 = SECTOR as u64;

/// The table of an image or a stick, the backup where the first one is damaged; `None` where there is none.
pub(crate) fn read(device: &File) -> Option<GPT> {
    let table = GPT::find_from(&mut &*device).ok()?;
    (table.sector_size == BYTES).then_some(table)
}

/// The partition with this name.
pub(crate) fn find(table: &GPT, name: &str) -> Option<Range> {
    table.iter().find(|(_, entry)| entry.is_used() && entry.partition_name.as_str() == name).and_then(range)
}

/// From the first byte of the first partition to the last one's end.
pub(crate) fn body(table: &GPT) -> Option<Range> {
    let ranges: Option<Vec<Range>> = table.iter().filter(|(_, entry)| entry.is_used()).map(range).collect();
    let ranges = ranges?;
    let start = ranges.iter().map(|range| range.start).min()?;
    let end = ranges.iter().map(|range| range.end).max()?;
    Some(Range { start, end })
}

fn range((_, entry): (u32, &GPTPartitionEntry)) -> Option<Range> {
    let start = entry.starting_lba.checked_mul(BYTES)?;
    let end = entry.ending_lba.checked_add(1)?.checked_mul(BYTES)?;
    (start < end).then_some(Range { start, end })
}

/// The same partitions for this device: the backup at its end, and names of its own, so that two sticks of one image can
/// be told apart.
pub(crate) fn for_device(image: &GPT, device: &File, path: &Path) -> Result<GPT, StickError> {
    let mut table = image.clone();
    let failed = |error: gptman::Error| StickError::Table { path: path.to_owned(), why: error.to_string() };
    table.header.primary_lba = 1;
    table.header.partition_entry_lba = 2;
    table.header.update_from(&mut &*device, BYTES).map_err(failed)?;
    table.header.disk_guid = Uuid::new_v4().to_bytes_le();
    for (_, entry) in table.iter_mut().filter(|(_, entry)| entry.is_used()) {
        entry.unique_partition_guid = Uuid::new_v4().to_bytes_le();
    }
    Ok(table)
}

/// Writes both copies and a protective MBR without boot code.
pub(crate) fn write(table: &mut GPT, device: &File, path: &Path) -> Result<(), StickError> {
    let failed = |error: gptman::Error| StickError::Table { path: path.to_owned(), why: error.to_string() };
    table.write_into(&mut &*device).map_err(failed)?;
    GPT::write_protective_mbr_into(&mut &*device, BYTES).map_err(failed)
}
