//! Folders of a new FAT32, written by hand: the crate `fatfs` gives `.` and `..` a long name, which `fsck.vfat` calls
//! damage. Files in them are the crate's work, which passes that check.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::geometry::{ENTRY, FIRST_CLUSTER, FOLDER, Geometry, short_name};

/// Says that the name is meant in small letters (as Windows NT and Linux take it).
const SMALL_LETTERS: u8 = 0x08;
/// 1980-01-01, the first day that FAT knows.
const FIRST_DAY: [u8; 2] = [0x21, 0];
const END_OF_CHAIN: [u8; 4] = [0xff, 0xff, 0xff, 0x0f];

/// Makes these folders, each named by its path, a parent before its children. Names have at most eight letters, all
/// capital or all small.
pub(super) fn make(device: &File, paths: &[&str]) -> io::Result<()> {
    let geometry = Geometry::read(device)?;
    if geometry.root != FIRST_CLUSTER {
        return Err(io::Error::other("it is no FAT32 that was just made"));
    }
    // They follow the root folder.
    let clusters: Vec<(&str, u32)> = paths.iter().copied().zip(FIRST_CLUSTER + 1..).collect();
    let find = |path: &str| clusters.iter().find(|(known, _)| *known == path).map(|(_, cluster)| *cluster);
    for (path, cluster) in &clusters {
        for fat in &geometry.fats {
            device.write_all_at(&END_OF_CHAIN, fat + u64::from(*cluster) * 4)?;
        }
        let above = path.rsplit_once('/').map_or(Some(0), |(above, _)| find(above));
        let above = above.ok_or_else(|| io::Error::other("a folder comes before the one above it"))?;
        let mut bytes = vec![0; geometry.cluster];
        bytes[..ENTRY].copy_from_slice(&entry(".", *cluster)?);
        // The root folder is called 0 here, whatever its cluster is.
        bytes[ENTRY..2 * ENTRY].copy_from_slice(&entry("..", above)?);
        fill(&mut bytes[2 * ENTRY..], &clusters, Some(path))?;
        device.write_all_at(&bytes, geometry.place(*cluster))?;
    }
    let mut root = vec![0; geometry.cluster];
    device.read_exact_at(&mut root, geometry.place(FIRST_CLUSTER))?;
    // Its first entry is the label of the file system.
    fill(&mut root[ENTRY..], &clusters, None)?;
    device.write_all_at(&root, geometry.place(FIRST_CLUSTER))
}

/// Writes the entries of the folders in `above`, or in the root folder.
fn fill(bytes: &mut [u8], clusters: &[(&str, u32)], above: Option<&str>) -> io::Result<()> {
    let mut slots = bytes.chunks_exact_mut(ENTRY);
    for (path, cluster) in clusters {
        let (parent, name) = path.rsplit_once('/').map_or((None, *path), |(parent, name)| (Some(parent), name));
        if parent == above {
            let slot = slots.next().ok_or_else(|| io::Error::other("too many folders"))?;
            slot.copy_from_slice(&entry(name, *cluster)?);
        }
    }
    Ok(())
}

fn entry(name: &str, cluster: u32) -> io::Result<[u8; ENTRY]> {
    let small = name.bytes().any(|letter| letter.is_ascii_lowercase());
    let large = name.bytes().any(|letter| letter.is_ascii_uppercase());
    if name.is_empty() || name.len() > 8 || (small && large) {
        return Err(io::Error::other("a folder's name does not fit FAT"));
    }
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(&short_name(name));
    (entry[11], entry[12]) = (FOLDER, if small { SMALL_LETTERS } else { 0 });
    for at in [16, 18, 24] {
        entry[at..at + 2].copy_from_slice(&FIRST_DAY);
    }
    let cluster = cluster.to_le_bytes();
    (entry[20], entry[21], entry[26], entry[27]) = (cluster[2], cluster[3], cluster[0], cluster[1]);
    Ok(entry)
}
