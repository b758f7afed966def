//! The writes to a disk as QEMU's `blklogwrites` records them, and the disk as a power cut at one of them leaves it.
//!
//! A killed QEMU is no power cut: all that the guest wrote lies in the host's page cache then. Here, of what was written since
//! the guest's last flush, only a part reaches the disk, and of the last write only a part of its sectors.

use std::fs::{File, OpenOptions};
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::recorder::copy;

const SECTOR: u64 = 512;
/// First bytes of a log (the form is that of the kernel's dm-log-writes).
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// The recorded writes.
#[derive(Debug)]
pub struct WriteLog {
    log: File,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Byte of the log at which its data begins.
    data: u64,
    sector: u64,
    sectors: u64,
    flags: u64,
}

impl WriteLog {
    /// Reads the log of a machine that is off.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let log = File::open(path).with_context(|| format!("no log of writes at {}", path.display()))?;
        let word = |at: u64| -> Result<u64> {
            let mut bytes = [0; 8];
            log.read_exact_at(&mut bytes, at)?;
            Ok(u64::from_le_bytes(bytes))
        };
        ensure!(word(0)? == MAGIC, "{} is no log of writes", path.display());
        let (mut entries, mut at) = (Vec::new(), SECTOR);
        for _ in 0..word(16)? {
            let entry = Entry { data: at + SECTOR, sector: word(at)?, sectors: word(at + 8)?, flags: word(at + 16)? };
            at = entry.data + if entry.flags & DISCARD == 0 { entry.sectors * SECTOR } else { 0 };
            entries.push(entry);
        }
        Ok(Self { log, entries })
    }

    /// Makes the disk `to` out of `from`, the disk before the first write, as a power cut leaves it. Where it happens, and
    /// what of the unflushed writes is lost, follows from the seed; what it did, for people.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn cut_power(&self, from: &Path, to: &Path, seed: u64) -> Result<String> {
        let mut random = Random(seed);
        let end = self.moment(&mut random);
        self.cut(from, to, end, random).map(|said| format!("seed {seed}: {said}"))
    }

    /// As [`WriteLog::cut_power`], but at one of the writes to `bytes` of the disk, or up to three writes later: a machine writes
    /// much beside what is tried here.
    ///
    /// # Errors
    /// When a file cannot be read or written, or nobody wrote there.
    pub fn cut_power_at(&self, from: &Path, to: &Path, seed: u64, bytes: &Range<u64>) -> Result<String> {
        let mut random = Random(seed);
        let places = self.writes_to(bytes);
        ensure!(!places.is_empty(), "nothing was written to the bytes {bytes:?}");
        let end = (places[random.index(places.len())] + 1 + random.index(4)).min(self.len());
        self.cut(from, to, end, random).map(|said| format!("seed {seed}: {said}"))
    }

    /// The places in the record at which somebody wrote to `bytes` of the disk.
    #[must_use]
    pub fn writes_to(&self, bytes: &Range<u64>) -> Vec<usize> {
        let touches = |entry: &Entry| {
            let first = entry.sector * SECTOR;
            entry.flags & DISCARD == 0 && first < bytes.end && first + entry.sectors * SECTOR > bytes.start
        };
        (0..self.len()).filter(|index| touches(&self.entries[*index])).collect()
    }

    fn cut(&self, from: &Path, to: &Path, end: usize, mut random: Random) -> Result<String> {
        copy(from, to)?;
        let disk = OpenOptions::new().write(true).open(to)?;
        let flushed = self.entries[..end].iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |at| at + 1);
        let mut lost = 0;
        for (index, entry) in self.entries[..end].iter().enumerate() {
            if index < flushed {
                self.apply(&disk, *entry, entry.sectors)?;
            } else if random.below(2) == 0 {
                lost += 1;
            } else {
                let whole = index + 1 < end;
                let sectors = if whole { entry.sectors } else { random.below(entry.sectors + 1) };
                self.apply(&disk, *entry, sectors)?;
            }
        }
        disk.sync_all()?;
        let (all, open) = (self.entries.len(), end - flushed);
        Ok(format!("cut after {end} of {all} writes, {lost} of {open} unflushed ones are lost"))
    }

    /// How many writes and flushes were recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The places in the record at which the writer waited until the disk had everything.
    #[must_use]
    pub fn flushes(&self) -> Vec<usize> {
        (0..self.len()).filter(|index| self.entries[*index].flags & FLUSH != 0).collect()
    }

    /// Makes the disk `to` out of `from` with the first `end` writes, but for those that `is_lost` names by their place.
    /// With none lost it is what a killed writer leaves, whose writes are all in the host's memory.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn replay(&self, from: &Path, to: &Path, end: usize, is_lost: impl Fn(usize) -> bool) -> Result<()> {
        copy(from, to)?;
        let disk = OpenOptions::new().write(true).open(to)?;
        for (index, entry) in self.entries[..end].iter().enumerate().filter(|(index, _)| !is_lost(*index)) {
            self.apply(&disk, *entry, entry.sectors).with_context(|| format!("write {index} cannot be replayed"))?;
        }
        Ok(())
    }

    /// Makes the disk that the worst cut leaves of a build without the flushes at `flushes` and those between them: what
    /// they would have made sure of is lost, and what came after the last one, up to the next flush, is there. `None` where
    /// nothing came before or after them, so that they decide nothing.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn without_flushes(&self, from: &Path, to: &Path, flushes: &RangeInclusive<usize>) -> Result<Option<()>> {
        let (all, first, last) = (self.flushes(), *flushes.start(), *flushes.end());
        let before = all.iter().rev().find(|other| **other < first).map_or(0, |at| at + 1);
        let after = all.iter().find(|other| **other > last).map_or(self.len(), |at| *at);
        if before == first && first == last || last + 1 == after {
            return Ok(None);
        }
        self.replay(from, to, after, |index| (before..last).contains(&index)).map(Some)
    }

    /// Any moment, or one just behind a flush, where what depends on the order of writes is decided.
    fn moment(&self, random: &mut Random) -> usize {
        let count = self.entries.len();
        let anywhere = random.index(count + 1);
        let flushes: Vec<usize> = (0..count).filter(|index| self.entries[*index].flags & FLUSH != 0).collect();
        if flushes.is_empty() || random.below(2) == 0 {
            return anywhere;
        }
        (flushes[random.index(flushes.len())] + 1 + random.index(4)).min(count)
    }

    fn apply(&self, disk: &File, entry: Entry, sectors: u64) -> Result<()> {
        // A discarded block may read as anything; as it was is the harder case for whoever takes it for zeros.
        if entry.flags & DISCARD != 0 {
            return Ok(());
        }
        let mut bytes = vec![0; usize::try_from(sectors * SECTOR)?];
        self.log.read_exact_at(&mut bytes, entry.data)?;
        Ok(disk.write_all_at(&bytes, entry.sector * SECTOR)?)
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): the same seed gives the same cut.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(log: &mut Vec<u8>, sector: u64, sectors: u64, flags: u64, fill: u8) {
        let begin = log.len();
        for word in [sector, sectors, flags, sectors * SECTOR] {
            log.extend_from_slice(&word.to_le_bytes());
        }
        log.resize(begin + 512, 0);
        if flags & DISCARD == 0 {
            log.resize(begin + 512 + usize::try_from(sectors * SECTOR).unwrap(), fill);
        }
    }

    #[test]
    fn what_was_flushed_is_there_whatever_the_seed_and_the_rest_may_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (log_path, from, to) = (folder.path().join("log"), folder.path().join("from"), folder.path().join("to"));
        let mut log = Vec::new();
        for word in [MAGIC, 1, 5, SECTOR] {
            log.extend_from_slice(&word.to_le_bytes());
        }
        log.resize(512, 0);
        entry(&mut log, 1, 1, 0, b'a');
        entry(&mut log, 0, 0, FLUSH, 0);
        entry(&mut log, 1, 1, DISCARD, 0);
        entry(&mut log, 2, 2, 0, b'b');
        entry(&mut log, 1, 1, 0, b'c');
        fs::write(&log_path, &log).unwrap();
        fs::write(&from, vec![b'0'; 4096]).unwrap();
        let log = WriteLog::open(&log_path).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            log.cut_power(&from, &to, seed).unwrap();
            let disk = fs::read(&to).unwrap();
            assert_eq!((disk.len(), disk[0]), (4096, b'0'));
            seen.insert((disk[512], disk[1024], disk[1536]));
        }
        // Nothing, the flushed one, each of the unflushed ones alone and both, and half of the larger one.
        for expected in [b"000", b"a00", b"c00", b"abb", b"cbb", b"ab0"] {
            assert!(seen.contains(&(expected[0], expected[1], expected[2])), "{expected:?} of {seen:?}");
        }
        // The third sector was written last, so everything before is there in part.
        for seed in 0..20 {
            let said = log.cut_power_at(&from, &to, seed, &(1024..1025)).unwrap();
            assert!(said.contains("cut after 4 of 5") || said.contains("cut after 5 of 5"), "{said}");
        }
        assert!(log.cut_power_at(&from, &to, 1, &(2048..4096)).is_err(), "nobody wrote there");
        // Without the flush, `a` is lost and what came later is there.
        log.without_flushes(&from, &to, &(1..=1)).unwrap().unwrap();
        let disk = fs::read(&to).unwrap();
        assert_eq!((disk[512], disk[1024], disk[1536]), (b'c', b'b', b'b'));
        assert_eq!(log.writes_to(&(1024..1025)), [3]);
        // `c` overwrites `a` in place, so without `a` there is nothing behind the flush.
        assert!(!seen.iter().any(|disk| disk.0 == b'0' && disk.1 == b'b'), "{seen:?}");
    }
}
