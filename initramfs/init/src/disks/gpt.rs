//! The UUIDs of a disk's partitions (UEFI specification, 5.3), which this kernel does not tell in sysfs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER: usize = 92;
/// What the UEFI specification guarantees at least; no partition of ours has a higher number.
const MOST: u32 = 128;

/// The UUID of the partition with this kernel name, such as `vda2`, in lower case; `None` where it cannot be told.
pub(super) fn partition_uuid(disk: &str, partition: &str) -> Option<String> {
    let class = Path::new("/sys/class/block");
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let place = u32::try_from(number(&class.join(partition).join("partition"))?).ok()?;
    let sector = number(&class.join(disk).join("queue/logical_block_size"))?;
    let file = File::open(format!("/dev/{disk}")).ok()?;
    unique_uuid(|bytes, at| file.read_exact_at(bytes, at), sector, place)
}

/// Reads header and entry. Whether they are whole is the kernel's to decide; it did when it listed the partition.
fn unique_uuid(read: impl Fn(&mut [u8], u64) -> io::Result<()>, sector: u64, number: u32) -> Option<String> {
    let mut header = [0; HEADER];
    read(&mut header, sector).ok()?;
    let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let (count, size) = (word(80)?, word(84)?);
    if !header.starts_with(SIGNATURE) || number == 0 || number > count.min(MOST) || size < 128 {
        return None;
    }
    let first = u64::from_le_bytes(header.get(72..80)?.try_into().ok()?);
    let entry = first.checked_mul(sector)?.checked_add(u64::from(number - 1) * u64::from(size))?;
    let mut uuid = [0; 16];
    read(&mut uuid, entry.checked_add(16)?).ok()?;
    Some(text(uuid))
}

/// The first three groups are numbers with the lowest byte first.
fn text(uuid: [u8; 16]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (count, place) in ORDER.into_iter().enumerate() {
        if matches!(count, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", uuid.get(place).copied().unwrap_or_default()));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 12345678-9ABC-DEF0-1122-334455667788 as the second of two partitions.
    fn disk(sector: usize) -> Vec<u8> {
        let mut disk = vec![0; 4 * sector + 4096];
        disk[sector..sector + 8].copy_from_slice(SIGNATURE);
        disk[sector + 72..sector + 80].copy_from_slice(&2_u64.to_le_bytes());
        disk[sector + 80..sector + 84].copy_from_slice(&128_u32.to_le_bytes());
        disk[sector + 84..sector + 88].copy_from_slice(&128_u32.to_le_bytes());
        let uuid = [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
        let entry = 2 * sector + 128 + 16;
        disk[entry..entry + 16].copy_from_slice(&uuid);
        disk
    }

    fn uuid_on(disk: &[u8], sector: u64, number: u32) -> Option<String> {
        let read = |bytes: &mut [u8], at: u64| {
            let from = usize::try_from(at).map_err(io::Error::other)?;
            let end = from.checked_add(bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(disk.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        unique_uuid(read, sector, number)
    }

    #[test]
    fn the_entry_of_the_number_with_either_sector() {
        for sector in [512, 4096] {
            let disk = disk(sector);
            let found = uuid_on(&disk, sector as u64, 2);
            assert_eq!(found.as_deref(), Some("12345678-9abc-def0-1122-334455667788"));
            assert_eq!(uuid_on(&disk, sector as u64, 0), None);
            assert_eq!(uuid_on(&disk, sector as u64, 129), None);
        }
        assert_eq!(uuid_on(&[0; 8192], 512, 1), None);
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_not(at in 512..604_usize, byte in any::<u8>(), number in any::<u32>()) {
            let mut disk = disk(512);
            disk[at] = byte;
            let _ = uuid_on(&disk, 512, number);
        }
    }
}
