//! Where things lie in a FAT32 file system, from its boot sector.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Bytes of an entry of a folder.
pub(super) const ENTRY: usize = 32;
/// The attribute of a folder.
pub(super) const FOLDER: u8 = 0x10;
/// Number of the first cluster.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// A table of one of our file systems has half a MiB.
const LARGEST_FAT: u64 = 16 << 20;
/// Says that the copies of the table are not the same.
const NOT_MIRRORED: u8 = 0x80;

/// Where things lie.
pub(super) struct Geometry {
    /// First byte of each copy of the table of clusters.
    pub(super) fats: Vec<u64>,
    /// First byte of the first cluster.
    data: u64,
    /// Bytes of a cluster.
    pub(super) cluster: usize,
    /// The number behind that of the last cluster.
    pub(super) end: u32,
    /// First cluster of the root folder.
    pub(super) root: u32,
    /// First byte of the sector that tells how much is free.
    pub(super) info: u64,
}

impl Geometry {
    pub(super) fn read(mut device: &File) -> io::Result<Self> {
        let mut boot = [0; 512];
        device.read_exact_at(&mut boot, 0)?;
        let size = device.seek(SeekFrom::End(0))?;
        // Where others begin to read.
        device.rewind()?;
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]);
        let (sector, cluster, copies) = (short(11), short(11) * u64::from(boot[13]), u64::from(boot[16]));
        let fat = u64::from(long(36)) * sector;
        let first = short(14) * sector;
        let (data, all) = (first + copies * fat, u64::from(long(32)) * sector);
        let is_sound = (512..=4096).contains(&sector)
            && cluster > 0
            && (1..=2).contains(&copies)
            && (1..=LARGEST_FAT).contains(&fat)
            && boot[40] & NOT_MIRRORED == 0
            && data < all
            && all <= size;
        if !is_sound {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no FAT32 as ours are"));
        }
        let count = ((all - data) / cluster).min(fat / 4 - u64::from(FIRST_CLUSTER));
        Ok(Self {
            fats: (0..copies).map(|copy| first + copy * fat).collect(),
            data,
            cluster: usize::try_from(cluster).map_err(io::Error::other)?,
            end: FIRST_CLUSTER + u32::try_from(count).map_err(io::Error::other)?,
            root: long(44),
            info: short(48) * sector,
        })
    }

    /// First byte of a cluster.
    pub(super) fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - FIRST_CLUSTER) * self.cluster as u64
    }

    /// Whether there is a cluster of that number.
    pub(super) fn has(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..self.end).contains(&cluster)
    }
}

/// A short name as it lies in an entry.
pub(super) fn short_name(name: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    for (target, letter) in short.iter_mut().zip(name.bytes()) {
        *target = letter.to_ascii_uppercase();
    }
    short
}
