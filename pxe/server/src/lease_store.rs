//! The leases on disk: a log that is only added to, and written anew when it has grown.
//!
//! The file begins with a line that names the form. Then come records: a mark, the length of the body, the body, and the
//! first 8 bytes of the body's SHA-256. A record that is torn or damaged is skipped, and the next whole one counts.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_netboot::dhcp::{ClientKey, LeaseRecord};
use sha2::{Digest, Sha256};

use crate::durable_file;

/// First line.
const HEADER: &[u8] = b"meadow-leases 1\n";
/// First byte of a record.
const MARK: u8 = 0xd1;
/// Body without the client identifier: address, whether a client has it, card, time of writing, seconds left.
const FIXED: usize = 4 + 1 + 6 + 8 + 4;
/// Longest client identifier.
const MAX_ID: usize = 64;
/// Bytes of the digest that are kept.
const SUM: usize = 8;
/// A file that is longer than this was not written here.
const MAX_FILE: u64 = 64 << 20;
/// A log that is shorter is not worth writing anew.
const SMALL: u64 = 64 << 10;
/// Zeros that are laid out behind the records: a sync of bytes that replace others costs the disk no change of the file.
const ROOM: u64 = 256 << 10;

/// The open file.
#[derive(Debug)]
pub(crate) struct LeaseStore {
    path: PathBuf,
    file: File,
    /// Of the header and all records.
    length: u64,
    /// Of the file; behind the records are zeros.
    laid_out: u64,
    /// Length of header and records when it was last written anew.
    length_anew: u64,
}

/// What was found on the disk.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<LeaseRecord>,
    /// Bytes that belong to no whole record: of a write that was cut off, or damage.
    pub(crate) skipped: usize,
}

impl LeaseStore {
    /// Opens the file, or begins one. `wall` is the time in seconds since 1970.
    ///
    /// # Errors
    /// When the folder is not writable, or the file is not one of leases.
    pub(crate) fn open(path: &Path, wall: u64) -> io::Result<(Self, Found)> {
        let found = match File::open(path) {
            Ok(file) => read(file, wall)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
            Err(error) => return Err(error),
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let (file, length) = write_anew(path, wall, &found.records)?;
        let (path, laid_out) = (path.to_owned(), length + ROOM);
        Ok((Self { path, file, length, laid_out, length_anew: length }, found))
    }

    /// Adds records; when this returns they are on the disk.
    ///
    /// # Errors
    /// When the disk takes them not; then none of them counts.
    pub(crate) fn append(&mut self, wall: u64, records: &[LeaseRecord]) -> io::Result<()> {
        let bytes: Vec<u8> = records.iter().flat_map(|record| encode(record, wall)).collect();
        let end = self.length + bytes.len() as u64;
        if let Err(error) = self.write(&bytes, end) {
            // What was written in part is skipped by the reader anyway.
            let _ = self.file.set_len(self.length);
            self.laid_out = self.length;
            return Err(error);
        }
        self.length = end;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], end: u64) -> io::Result<()> {
        if end > self.laid_out {
            let room = end + ROOM;
            self.file.write_all_at(&zeros(room - self.laid_out), self.laid_out)?;
            self.laid_out = room;
        }
        self.file.write_all_at(bytes, self.length)?;
        self.file.sync_data()
    }

    /// Whether the log has grown to much more than what it said when it was written anew.
    pub(crate) fn is_long(&self) -> bool {
        self.length > SMALL.max(4 * self.length_anew)
    }

    /// Makes every write fail, as a disk does that is read-only all at once.
    #[cfg(test)]
    pub(crate) fn break_disk(&mut self) {
        self.file = File::open(&self.path).unwrap();
    }

    /// The log could not be written anew: not before it is twice as long.
    pub(crate) fn put_off(&mut self) {
        self.length_anew = self.length / 2;
    }

    /// Writes the file anew with these records alone.
    ///
    /// # Errors
    /// When the disk takes them not; then the file is as it was.
    pub(crate) fn replace(&mut self, wall: u64, records: &[LeaseRecord]) -> io::Result<()> {
        (self.file, self.length) = write_anew(&self.path, wall, records)?;
        (self.length_anew, self.laid_out) = (self.length, self.length + ROOM);
        Ok(())
    }
}

fn zeros(length: u64) -> Vec<u8> {
    vec![0; usize::try_from(length).unwrap_or(0)]
}

fn write_anew(path: &Path, wall: u64, records: &[LeaseRecord]) -> io::Result<(File, u64)> {
    let mut bytes = HEADER.to_vec();
    bytes.extend(records.iter().flat_map(|record| encode(record, wall)));
    let file = durable_file::replace(path, &[&bytes, &zeros(ROOM)])?;
    Ok((file, bytes.len() as u64))
}

fn read(file: File, wall: u64) -> io::Result<Found> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    let body = bytes.strip_prefix(HEADER).filter(|_| bytes.len() as u64 <= MAX_FILE);
    let body = body.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not a file of leases"))?;
    Ok(decode(body, wall))
}

fn encode(record: &LeaseRecord, wall: u64) -> Vec<u8> {
    let mut body = record.address.octets().to_vec();
    body.push(record.client.is_some().into());
    let mac = record.client.as_ref().map_or([0; 6], |client| client.mac().0);
    body.extend_from_slice(&mac);
    body.extend_from_slice(&wall.to_be_bytes());
    let left = u32::try_from(record.remaining.as_secs()).unwrap_or(u32::MAX);
    body.extend_from_slice(&left.to_be_bytes());
    body.extend_from_slice(record.client.as_ref().map_or(&[], ClientKey::id));
    let sum = Sha256::digest(&body);
    // The longest body is 87 bytes.
    let mut bytes = vec![MARK, u8::try_from(body.len()).unwrap_or(0)];
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&sum[..SUM]);
    bytes
}

/// A record with the time at which it was written.
struct Written {
    record: LeaseRecord,
    at: u64,
}

fn decode(mut bytes: &[u8], wall: u64) -> Found {
    let (mut written, mut skipped) = (Vec::new(), 0);
    while !bytes.is_empty() {
        if let Some((record, rest)) = decode_one(bytes) {
            written.push(record);
            bytes = rest;
        } else if let [0, ..] = bytes {
            // Room for records. Zeros before a whole record were one that never came to the disk.
            let room = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            skipped += if room == bytes.len() { 0 } else { room };
            bytes = &bytes[room..];
        } else {
            skipped += 1;
            bytes = &bytes[1..];
        }
    }
    let newest = written.iter().map(|written| written.at).max().unwrap_or(0);
    let records = written.into_iter().map(|written| with_time(written, newest, wall)).collect();
    Found { records, skipped }
}

/// Takes off the time that has passed. A clock that is behind the newest record went back (it may have no battery): then
/// only the time that the records themselves show has passed, so that no lease ends early and none gets longer.
fn with_time(written: Written, newest: u64, wall: u64) -> LeaseRecord {
    let now = wall.max(newest);
    let mut record = written.record;
    record.remaining = record.remaining.saturating_sub(Duration::from_secs(now - written.at));
    record
}

fn decode_one(bytes: &[u8]) -> Option<(Written, &[u8])> {
    let [MARK, length, rest @ ..] = bytes else { return None };
    let length = usize::from(*length);
    if !(FIXED..=FIXED + MAX_ID).contains(&length) || rest.len() < length + SUM {
        return None;
    }
    let (body, rest) = rest.split_at(length);
    let (sum, rest) = rest.split_at(SUM);
    if Sha256::digest(body)[..SUM] != *sum {
        return None;
    }
    let (address, body) = body.split_first_chunk::<4>()?;
    let (has_client, body) = body.split_first()?;
    let (mac, body) = body.split_first_chunk::<6>()?;
    let (at, body) = body.split_first_chunk::<8>()?;
    let (left, id) = body.split_first_chunk::<4>()?;
    let record = LeaseRecord {
        address: Ipv4Addr::from(*address),
        client: (*has_client != 0).then(|| ClientKey::new(MacAddress(*mac), id)),
        remaining: Duration::from_secs(u32::from_be_bytes(*left).into()),
    };
    Some((Written { record, at: u64::from_be_bytes(*at) }, rest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn record(last: u8, seconds: u64) -> LeaseRecord {
        let id = vec![last; usize::from(last) % 70];
        LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, last),
            client: (!last.is_multiple_of(5)).then(|| ClientKey::new(MacAddress([2, 0, 0, 0, 0, last]), &id)),
            remaining: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn what_was_acknowledged_survives_a_cut_at_any_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let (mut store, _) = LeaseStore::open(&path, NOW).unwrap();
        let records: Vec<_> = (1..9).map(|n| record(n, 100)).collect();
        let mut ends = vec![store.length];
        for one in &records {
            store.append(NOW, std::slice::from_ref(one)).unwrap();
            ends.push(store.length);
        }
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len() as u64, store.laid_out);
        for cut in HEADER.len()..=usize::try_from(store.length).unwrap() {
            // With its room, or where not even that came to the disk.
            for zeros in [0, 100] {
                fs::write(&path, [&whole[..cut], &vec![0; zeros]].concat()).unwrap();
                let (_, found) = LeaseStore::open(&path, NOW).unwrap();
                let complete = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
                assert_eq!(found.records, records[..complete], "cut at {cut}");
            }
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut store, _) = LeaseStore::open(&path, NOW).unwrap();
            let complete = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
            // And it goes on from there.
            store.append(NOW, &[record(77, 5)]).unwrap();
            let (_, found) = LeaseStore::open(&path, NOW).unwrap();
            assert_eq!((found.records.len(), found.skipped), (complete + 1, 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_log_that_outgrows_its_room_gets_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let (mut store, _) = LeaseStore::open(&path, NOW).unwrap();
        while store.length < 2 * ROOM {
            store.append(NOW, &(0..200).map(|n| record(n, 100)).collect::<Vec<_>>()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), store.laid_out);
        }
        let (_, found) = LeaseStore::open(&path, NOW).unwrap();
        assert_eq!((found.records.len() % 200, found.skipped), (0, 0));
    }

    #[test]
    fn damage_costs_the_damaged_record_alone() {
        let bytes: Vec<u8> = (1..9).flat_map(|n| encode(&record(n, 100), NOW)).collect();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let found = decode(&damaged, NOW);
            assert_eq!(found.records.len(), 7, "byte {at}");
            assert!(found.skipped > 0);
        }
    }

    #[test]
    fn time_passes_as_the_clock_says_but_never_backwards() {
        let log = [encode(&record(1, 1000), NOW), encode(&record(2, 1000), NOW + 300)].concat();
        let left = |wall| decode(&log, wall).records.iter().map(|r| r.remaining.as_secs()).collect::<Vec<_>>();
        assert_eq!(left(NOW + 400), [600, 900]);
        assert_eq!(left(0), [700, 1000], "a clock without battery frees none and holds none for longer");
        assert_eq!(left(NOW + 100_000_000), [0, 0], "kept in mind for their clients");
    }

    #[test]
    fn the_file_is_for_its_owner_and_is_written_anew_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/leases");
        let (mut store, _) = LeaseStore::open(&path, NOW).unwrap();
        fs::write(path.with_extension("new"), "left behind").unwrap();
        while !store.is_long() {
            store.append(NOW, &vec![record(1, 100); 100]).unwrap();
        }
        store.replace(NOW, &[record(1, 100)]).unwrap();
        store.append(NOW, &[record(2, 100)]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (_, found) = LeaseStore::open(&path, NOW).unwrap();
        assert_eq!(found.records, [record(1, 100), record(2, 100)]);
        fs::write(&path, "something else").unwrap();
        assert!(LeaseStore::open(&path, NOW).is_err(), "nothing else is overwritten");
    }

    #[test]
    fn a_log_that_cannot_be_written_anew_is_not_tried_at_each_lease() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = LeaseStore::open(&folder.path().join("leases"), NOW).unwrap();
        while !store.is_long() {
            store.append(NOW, &vec![record(1, 100); 100]).unwrap();
        }
        let length = store.length;
        store.put_off();
        store.append(NOW, &[record(1, 100)]).unwrap();
        assert!(!store.is_long());
        while !store.is_long() {
            store.append(NOW, &vec![record(1, 100); 100]).unwrap();
        }
        assert!((2 * length..3 * length).contains(&store.length));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400), wall: u64) {
            let found = decode(&bytes, wall);
            prop_assert!(found.skipped <= bytes.len() && found.records.len() <= bytes.len() / FIXED);
        }

        #[test]
        fn damaged_records_are_read(count in 1..9_u8, at: prop::sample::Index, with: Vec<u8>, wall: u64) {
            let mut bytes: Vec<u8> = (1..=count).flat_map(|n| encode(&record(n, 100), NOW)).collect();
            let at = at.index(bytes.len());
            bytes.splice(at..at, with.iter().copied());
            let found = decode(&bytes, wall);
            prop_assert!(found.records.len() + 1 >= usize::from(count), "one at most is lost");
            prop_assert!(found.records.iter().all(|record| record.remaining <= Duration::from_secs(100)));
        }
    }
}
