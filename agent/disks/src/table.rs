//! The partition table.

use std::fs::File;
use std::path::Path;

use gptman::{GPT, GPTPartitionEntry};
use meadow_model::install::Partition;
use uuid::Uuid;

use crate::area::Area;
use crate::{DiskError, bios, pass_on};

/// A GPT's entries and headers lie in the disk's first and last MiB, whatever its sectors are.
const EDGE: u64 = 1 << 20;

/// Writes a new GPT with these partitions and a protective MBR whose boot code passes on to the next device: until the
/// system is complete, no firmware is to boot this disk. `size` is that of the disk, `sector` that of its sectors.
///
/// # Errors
/// [`DiskError`]
pub(crate) fn write(disk: &Area, size: u64, sector: u64, partitions: &[Partition]) -> Result<(), DiskError> {
    // Backup first: should power fail here, the old table is still the one that counts.
    disk.zero(size - EDGE, EDGE)?;
    disk.zero(0, EDGE)?;
    // Before the MBR's mark is there, for which a BIOS runs it.
    disk.write(0, &pass_on::boot_code())?;
    let mut file = disk.file();
    let failed = |error: gptman::Error| {
        DiskError::refused(format!("the partition table cannot be written ({error}); check the disk and try again"))
    };
    let mut gpt = GPT::new_from(&mut file, sector, Uuid::new_v4().to_bytes_le()).map_err(failed)?;
    for partition in partitions {
        gpt[partition.number] = entry(partition, sector)?;
    }
    gpt.write_into(&mut file).map_err(failed)?;
    GPT::write_protective_mbr_into(&mut file, sector).map_err(failed)?;
    disk.sync()
}

fn entry(partition: &Partition, sector: u64) -> Result<GPTPartitionEntry, DiskError> {
    let kind = Uuid::parse_str(&partition.type_guid).map_err(|error| {
        DiskError::refused(format!("the plan's partition {} has no sound type ({error}); plan again", partition.number))
    })?;
    Ok(GPTPartitionEntry {
        partition_type_guid: kind.to_bytes_le(),
        unique_partition_guid: Uuid::new_v4().to_bytes_le(),
        starting_lba: partition.start / sector,
        ending_lba: (partition.start + partition.size) / sector - 1,
        attribute_bits: 0,
        partition_name: partition.name.as_str().into(),
    })
}

/// The partitions of a disk; none where it has no GPT.
///
/// # Errors
/// [`DiskError::Io`] where the disk cannot be opened.
pub(crate) fn read(disk: &Path) -> Result<Vec<Partition>, DiskError> {
    let mut file = File::open(disk).map_err(DiskError::io("open", disk))?;
    let Ok(gpt) = GPT::find_from(&mut file) else { return Ok(Vec::new()) };
    let describe = |(number, entry): (u32, &GPTPartitionEntry)| Partition {
        number,
        name: entry.partition_name.as_str().to_owned(),
        type_guid: Uuid::from_bytes_le(entry.partition_type_guid).to_string(),
        start: entry.starting_lba.saturating_mul(gpt.sector_size),
        size: (entry.ending_lba.saturating_add(1)).saturating_sub(entry.starting_lba).saturating_mul(gpt.sector_size),
    };
    Ok(gpt.iter().filter(|(_, entry)| entry.is_used()).map(describe).collect())
}

/// Puts boot code in front of the protective MBR's table, in one write.
///
/// # Errors
/// [`DiskError::Io`]
pub(crate) fn write_boot_code(disk: &Area, bios: &bios::Bios) -> Result<(), DiskError> {
    let mut sector = disk.read(0, 512)?;
    sector[..bios.boot_code.len()].copy_from_slice(&bios.boot_code);
    disk.write(0, &sector)
}
