//! Empties the folder of a slot and frees all that nothing names.
//!
//! A writer that was cut off leaves clusters that no entry names, entries that name clusters which are free or belong to
//! something else by now, and copies of the table that differ: which of its writes came to the disk is chance. So nothing
//! of the slot is followed or freed by what its entries say. They go; then all other folders are followed, and whatever
//! they do not name is free. Cut off anywhere, done again it comes to the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::geometry::{ENTRY, FIRST_CLUSTER, FOLDER, Geometry, short_name};

/// The upper four bits of a row of the table belong to nobody.
const ROW: u32 = 0x0fff_ffff;
const BAD: u32 = 0x0fff_fff7;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
const REMOVED: u8 = 0xe5;
const LABEL: u8 = 0x08;
/// Where the boot sector says in its lowest bit that somebody writes.
const FLAGS: u64 = 0x41;
/// Clusters of a folder; those of ours have one.
const LARGEST_FOLDER: usize = 1024;
/// The table is compared and written in such pieces.
const SECTOR: usize = 512;

/// Empties the folder at that path, the file whose short name begins with `first` before everything else, and frees all
/// clusters that nothing names; gives how many.
pub(super) fn sweep(device: &File, folder: &[&str], first: &str) -> io::Result<u32> {
    let geometry = Geometry::read(device)?;
    let mut table = vec![0; geometry.end as usize * 4];
    device.read_exact_at(&mut table, geometry.fats[0])?;
    let fat = table.chunks_exact(4).map(|row| u32::from_le_bytes([row[0], row[1], row[2], row[3]])).collect();
    let mut sweep = Sweep { device, kept: vec![false; geometry.end as usize], fat, geometry };
    sweep.empty(folder, first)?;
    sweep.follow()?;
    let freed = sweep.free();
    sweep.write_table()?;
    sweep.write_info()?;
    Ok(freed)
}

/// What an entry of a folder names.
struct Entry {
    name: [u8; 11],
    is_folder: bool,
    cluster: u32,
    /// First byte of the entry on the device.
    place: u64,
}

struct Sweep<'a> {
    device: &'a File,
    geometry: Geometry,
    fat: Vec<u32>,
    /// The clusters that something names, by number.
    kept: Vec<bool>,
}

impl Sweep<'_> {
    fn next(&self, cluster: u32) -> u32 {
        self.fat[cluster as usize] & ROW
    }

    fn set(&mut self, cluster: u32, next: u32) {
        let row = &mut self.fat[cluster as usize];
        *row = (*row & !ROW) | next;
    }

    fn empty(&mut self, path: &[&str], first: &str) -> io::Result<()> {
        let mut folder = self.geometry.root;
        for name in path {
            let found =
                self.entries(folder)?.into_iter().find(|entry| entry.is_folder && entry.name == short_name(name));
            folder =
                found.map(|entry| entry.cluster).filter(|cluster| self.geometry.has(*cluster)).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("the folder {} is not there", path.join("/")))
                })?;
        }
        // In one write of one byte: what it makes count counts no more, whatever else is left.
        for entry in self.entries(folder)?.iter().filter(|entry| entry.name.starts_with(first.as_bytes())) {
            self.device.write_all_at(&[REMOVED], entry.place)?;
        }
        self.device.sync_all()?;
        // Behind `.` and `..`.
        let rest = vec![0; self.geometry.cluster - 2 * ENTRY];
        self.device.write_all_at(&rest, self.geometry.place(folder) + 2 * ENTRY as u64)?;
        self.set(folder, END_OF_CHAIN);
        self.device.sync_all()
    }

    /// Finds what all folders name.
    fn follow(&mut self) -> io::Result<()> {
        let mut open = vec![self.geometry.root];
        self.keep(self.geometry.root);
        while let Some(folder) = open.pop() {
            for entry in self.entries(folder)? {
                let is_new = self.keep(entry.cluster);
                if entry.is_folder && is_new {
                    open.push(entry.cluster);
                }
            }
        }
        Ok(())
    }

    /// Keeps a chain; false where its beginning is kept already or is none.
    fn keep(&mut self, first: u32) -> bool {
        let mut at = first;
        while self.geometry.has(at) && !self.kept[at as usize] {
            self.kept[at as usize] = true;
            let next = self.next(at);
            if next <= BAD && !self.geometry.has(next) {
                // It goes on nowhere. Closed, nobody takes its last cluster for a free one.
                self.set(at, END_OF_CHAIN);
            }
            at = next;
        }
        self.geometry.has(first) && at != first
    }

    /// What a folder names but for itself and the one above it.
    fn entries(&self, first: u32) -> io::Result<Vec<Entry>> {
        let (mut entries, mut cluster, mut bytes) = (Vec::new(), first, vec![0; self.geometry.cluster]);
        for _ in 0..LARGEST_FOLDER {
            if !self.geometry.has(cluster) {
                break;
            }
            let place = self.geometry.place(cluster);
            self.device.read_exact_at(&mut bytes, place)?;
            for (row, place) in bytes.chunks_exact(ENTRY).zip((place..).step_by(ENTRY)) {
                match (row[0], row[11] & LABEL) {
                    (0, _) => return Ok(entries),
                    // A part of a long name is marked as a label, too.
                    (REMOVED | b'.', _) | (_, LABEL) => {}
                    _ => entries.push(Entry::parse(row, place)),
                }
            }
            cluster = self.next(cluster);
        }
        Ok(entries)
    }

    /// Frees all that is not kept, in memory.
    fn free(&mut self) -> u32 {
        let mut freed = 0;
        for cluster in FIRST_CLUSTER..self.geometry.end {
            if !self.kept[cluster as usize] && ![0, BAD].contains(&self.next(cluster)) {
                self.set(cluster, 0);
                freed += 1;
            }
        }
        freed
    }

    /// Writes what differs, in every copy.
    fn write_table(&self) -> io::Result<()> {
        let table: Vec<u8> = self.fat.iter().flat_map(|row| row.to_le_bytes()).collect();
        let mut found = [0; SECTOR];
        for copy in &self.geometry.fats {
            for (piece, place) in table.chunks(SECTOR).zip((*copy..).step_by(SECTOR)) {
                let found = &mut found[..piece.len()];
                self.device.read_exact_at(found, place)?;
                if found != piece {
                    self.device.write_all_at(piece, place)?;
                }
            }
        }
        self.device.sync_all()
    }

    /// Writes how much is free, and that nobody writes.
    fn write_info(&self) -> io::Result<()> {
        let is_free = |cluster: &u32| self.next(*cluster) == 0;
        let free = u32::try_from((FIRST_CLUSTER..self.geometry.end).filter(is_free).count()).unwrap_or(u32::MAX);
        let mut sector = [0; 512];
        let parts: [(usize, u32); 5] =
            [(0, 0x4161_5252), (484, 0x6141_7272), (488, free), (492, u32::MAX), (508, 0xaa55_0000)];
        for (at, number) in parts {
            sector[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        self.device.write_all_at(&sector, self.geometry.info)?;
        let mut flags = [0];
        self.device.read_exact_at(&mut flags, FLAGS)?;
        self.device.write_all_at(&[flags[0] & !1], FLAGS)?;
        self.device.sync_all()
    }
}

impl Entry {
    fn parse(row: &[u8], place: u64) -> Self {
        let mut name = [0; 11];
        name.copy_from_slice(&row[..11]);
        Self {
            name,
            is_folder: row[11] & FOLDER != 0,
            cluster: u32::from_le_bytes([row[26], row[27], row[20], row[21]]) & ROW,
            place,
        }
    }
}
