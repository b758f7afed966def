//! The power goes at any write, and of what was not synced only some reaches the disk.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::Entry;
use redb::StorageBackend;

use super::{FIRST, LogStore};

const SECTOR: usize = 512;

/// A disk with a write cache.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    /// What a reader sees: everything that was written.
    cached: Vec<u8>,
    unsynced: Vec<Change>,
    /// Changes that still go through; none where the power stays on.
    left: Option<u32>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    fn with(bytes: Vec<u8>) -> Self {
        let platter = Platter { cached: bytes.clone(), durable: bytes, ..Platter::default() };
        Self(Arc::new(Mutex::new(platter)))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut platter = self.platter();
        if let Some(left) = &mut platter.left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the power is off"))?;
        }
        change.make(&mut platter.cached);
        platter.unsynced.push(change);
        Ok(())
    }

    /// What is on the disk after the cut: all that was synced, and by chance some of the rest, torn at a sector.
    fn after_cut(&self, chance: &mut Chance) -> Vec<u8> {
        let platter = self.platter();
        let mut bytes = platter.durable.clone();
        for change in &platter.unsynced {
            match (chance.below(3), change) {
                (0, _) => {}
                (1, Change::Write(offset, data)) => {
                    let sectors = chance.below(u64::try_from(data.len() / SECTOR).unwrap_or(0) + 1);
                    let torn = usize::try_from(sectors).unwrap_or(0) * SECTOR;
                    Change::Write(*offset, data[..torn.min(data.len())].to_vec()).make(&mut bytes);
                }
                _ => change.make(&mut bytes),
            }
        }
        bytes
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.platter().cached.len()).unwrap_or(u64::MAX))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = platter.cached.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).unwrap_or(usize::MAX)))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.left == Some(0) {
            return Err(io::Error::other("the power is off"));
        }
        platter.durable = platter.cached.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap_or(usize::MAX), data.to_vec()))
    }
}

/// SplitMix64: the same cuts for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

fn open(disk: &Disk) -> LogStore {
    LogStore::open_on(disk.clone(), PathBuf::from("simulated"), 1, b"empty").expect("opens")
}

fn entry(index: u64) -> Entry {
    let length = usize::try_from(index * 37 % 3000).unwrap_or(0);
    Entry { index, term: FIRST, data: vec![index.to_le_bytes()[0]; length], ..Entry::default() }
}

/// Appends batches and makes snapshots until the power goes; the last entry that was acknowledged.
fn write_until_the_cut(store: &mut LogStore, chance: &mut Chance) -> u64 {
    let mut acknowledged = store.last_index;
    for batch in 1.. {
        assert!(batch < 1000, "batches are acknowledged that never reach the disk");
        let last = acknowledged + 1 + chance.below(3);
        let entries: Vec<Entry> = (acknowledged + 1..=last).map(entry).collect();
        if store.persist(&entries, None).is_err() {
            break;
        }
        acknowledged = last;
        if batch % 7 == 0 && store.compact(acknowledged, b"folded").is_err() {
            break;
        }
    }
    acknowledged
}

#[test]
fn whatever_was_acknowledged_survives_every_power_cut() {
    for seed in 0..150 {
        let mut chance = Chance(seed);
        let mut disk = Disk::default();
        let mut acknowledged = open(&disk).last_index;
        // Several cuts in a row: what one leaves behind is where the next begins.
        for cut in 0..4 {
            let mut store = open(&disk);
            assert!(store.last_index >= acknowledged, "seed {seed}, cut {cut}: entry {acknowledged} is lost");
            let log = store.range(store.snapshot_index() + 1, u64::MAX, u64::MAX).expect("every record is whole");
            assert!(log.iter().all(|e| e.data == entry(e.index).data), "seed {seed}, cut {cut}: other data");
            disk.platter().left = Some(u32::try_from(chance.below(90)).unwrap_or(0));
            acknowledged = write_until_the_cut(&mut store, &mut chance);
            drop(store);
            disk = Disk::with(disk.after_cut(&mut chance));
        }
    }
}
