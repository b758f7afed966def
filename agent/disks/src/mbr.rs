//! The partitions of an MBR, as shops format sticks and older systems their disks.

use crate::DiskError;
use crate::area::Area;

/// A table of four rows of 16 bytes in the boot sector.
const TABLE: usize = 446;
const ROW: usize = 16;
const SECTOR: usize = 512;
/// Kinds of a partition that holds others.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// Others are in a chain, which could go on for ever.
const MOST: usize = 128;

struct Row {
    kind: u8,
    start: u64,
    length: u64,
}

/// First byte and size of every partition, those within an extended one and that one itself too; none where there is no
/// such table. `sector` is the size of the disk's sectors.
///
/// # Errors
/// [`DiskError::Io`]
pub(crate) fn partitions(disk: &Area, sector: u64) -> Result<Vec<(u64, u64)>, DiskError> {
    let size = disk.size()?;
    let mut found = Vec::new();
    for row in rows(disk, 0, size)? {
        let start = row.start.saturating_mul(sector);
        found.push((start, row.length.saturating_mul(sector)));
        if EXTENDED.contains(&row.kind) {
            logical(disk, start, sector, size, &mut found)?;
        }
    }
    found.retain(|(_, length)| *length > 0);
    Ok(found)
}

/// Each has a table of its own: its place after that table, and the next table's after the first one.
fn logical(disk: &Area, base: u64, sector: u64, size: u64, found: &mut Vec<(u64, u64)>) -> Result<(), DiskError> {
    let mut table = base;
    while found.len() < MOST {
        let mut next = None;
        for row in rows(disk, table, size)? {
            if EXTENDED.contains(&row.kind) {
                next = Some(base.saturating_add(row.start.saturating_mul(sector)));
            } else {
                let start = table.saturating_add(row.start.saturating_mul(sector));
                found.push((start, row.length.saturating_mul(sector)));
            }
        }
        // Forwards only: no chain comes back to where it was.
        match next.filter(|next| *next > table) {
            Some(next) => table = next,
            None => break,
        }
    }
    Ok(())
}

/// The rows of the table at that byte that are in use.
fn rows(disk: &Area, at: u64, size: u64) -> Result<Vec<Row>, DiskError> {
    if at.saturating_add(SECTOR as u64) > size {
        return Ok(Vec::new());
    }
    let bytes = disk.read(at, SECTOR)?;
    if bytes[510..] != [0x55, 0xaa] {
        return Ok(Vec::new());
    }
    let number = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let row = |at: usize| Row { kind: bytes[at + 4], start: number(at + 8), length: number(at + 12) };
    let rows = (0..4).map(|index| row(TABLE + ROW * index));
    Ok(rows.filter(|row| row.kind != 0 && row.length > 0).collect())
}
