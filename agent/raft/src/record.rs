//! What lies in the database: records of our own, each with a version and a checksum.
//!
//! A record is `version (1 byte), kind (1), CRC-32C (4, little endian), payload`. The checksum covers version, kind, the
//! key under which the record lies, and the payload, so that a record in the wrong place is noticed too.

use raft::eraftpb::{Entry, EntryType, HardState};

/// Version of the records that this program writes and reads.
const VERSION: u8 = 1;
const HEADER: usize = 6;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity = 1,
    HardState = 2,
    Snapshot = 3,
    Entry = 4,
}

/// Why bytes are not the record that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it is too short")]
    Short,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("record version {0}")]
    Newer(u8),
}

/// Puts a payload into its envelope.
pub(crate) fn seal(kind: Kind, key: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + payload.len());
    record.extend([VERSION, kind as u8]);
    record.extend(checksum(VERSION, kind, key, payload).to_le_bytes());
    record.extend(payload);
    record
}

/// Takes a payload out of its envelope, if it is what was put in.
pub(crate) fn unseal(kind: Kind, key: u64, record: &[u8]) -> Result<&[u8], RecordError> {
    let (header, payload) = record.split_at_checked(HEADER).ok_or(RecordError::Short)?;
    let [version, found, sum @ ..] = header else { return Err(RecordError::Short) };
    let sum: [u8; 4] = sum.try_into().map_err(|_| RecordError::Short)?;
    // The checksum first: a flipped bit in the version is damage, not the future.
    let computed = crc(&[&[*version, *found], &key.to_le_bytes(), payload]);
    if u32::from_le_bytes(sum) != computed {
        return Err(RecordError::Checksum);
    }
    match *version {
        VERSION if *found == kind as u8 => Ok(payload),
        VERSION => Err(RecordError::Checksum),
        newer => Err(RecordError::Newer(newer)),
    }
}

fn checksum(version: u8, kind: Kind, key: u64, payload: &[u8]) -> u32 {
    crc(&[&[version, kind as u8], &key.to_le_bytes(), payload])
}

fn crc(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part))
}

/// An entry of the log as a payload: its term and its data. Its index is the key.
pub(crate) fn entry_payload(entry: &Entry) -> Vec<u8> {
    let mut payload = Vec::with_capacity(8 + entry.data.len());
    payload.extend(entry.term.to_le_bytes());
    payload.extend_from_slice(&entry.data);
    payload
}

pub(crate) fn entry_from(index: u64, payload: &[u8]) -> Result<Entry, RecordError> {
    let (term, data) = take_u64(payload)?;
    let mut entry = Entry { term, index, data: data.to_vec(), ..Entry::default() };
    entry.set_entry_type(EntryType::EntryNormal);
    Ok(entry)
}

pub(crate) fn hard_state_payload(state: &HardState) -> Vec<u8> {
    [state.term, state.vote, state.commit].iter().flat_map(|n| n.to_le_bytes()).collect()
}

pub(crate) fn hard_state_from(payload: &[u8]) -> Result<HardState, RecordError> {
    let (term, rest) = take_u64(payload)?;
    let (vote, rest) = take_u64(rest)?;
    let (commit, _) = take_u64(rest)?;
    Ok(HardState { term, vote, commit })
}

/// Up to where the log is folded into a snapshot, and who votes since then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotMeta {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) voters: Vec<u64>,
}

/// A snapshot as a payload: index, term, number of voters, voters, state.
pub(crate) fn snapshot_payload(meta: &SnapshotMeta, state: &[u8]) -> Vec<u8> {
    let count = u64::try_from(meta.voters.len()).unwrap_or(u64::MAX);
    let numbers = [meta.index, meta.term, count].into_iter().chain(meta.voters.iter().copied());
    let mut payload: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    payload.extend_from_slice(state);
    payload
}

pub(crate) fn snapshot_from(payload: &[u8]) -> Result<(SnapshotMeta, &[u8]), RecordError> {
    let (index, rest) = take_u64(payload)?;
    let (term, rest) = take_u64(rest)?;
    let (count, mut rest) = take_u64(rest)?;
    let mut voters = Vec::new();
    for _ in 0..count {
        let (voter, after) = take_u64(rest)?;
        voters.push(voter);
        rest = after;
    }
    Ok((SnapshotMeta { index, term, voters }, rest))
}

pub(crate) fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), RecordError> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(RecordError::Short)?;
    Ok((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let record = seal(Kind::Entry, 7, b"payload");
        assert_eq!(unseal(Kind::Entry, 7, &record), Ok(b"payload".as_slice()));
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            if let Some(byte) = damaged.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert_eq!(unseal(Kind::Entry, 7, &damaged), Err(RecordError::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn a_record_in_the_wrong_place_or_cut_off_is_noticed() {
        let record = seal(Kind::Entry, 7, b"payload");
        assert_eq!(unseal(Kind::Entry, 8, &record), Err(RecordError::Checksum));
        assert_eq!(unseal(Kind::Snapshot, 7, &record), Err(RecordError::Checksum));
        for length in 0..record.len() {
            assert!(unseal(Kind::Entry, 7, record.get(..length).unwrap_or_default()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let sum = crc(&[&[2, Kind::Entry as u8], &7_u64.to_le_bytes(), b"?"]);
        let mut record = vec![2, Kind::Entry as u8];
        record.extend(sum.to_le_bytes());
        record.extend(b"?");
        assert_eq!(unseal(Kind::Entry, 7, &record), Err(RecordError::Newer(2)));
    }

    #[test]
    fn payloads_and_back() {
        let meta = SnapshotMeta { index: 9, term: 3, voters: vec![1, 5] };
        assert_eq!(snapshot_from(&snapshot_payload(&meta, b"state")), Ok((meta, b"state".as_slice())));
        let hard_state = HardState { term: 1, vote: 2, commit: 3 };
        assert_eq!(hard_state_from(&hard_state_payload(&hard_state)), Ok(hard_state));
        let entry = entry_from(4, &entry_payload(&Entry { term: 2, data: b"x".to_vec(), ..Entry::default() }));
        assert!(entry.is_ok_and(|e| e.index == 4 && e.term == 2 && e.data == b"x"));
        assert_eq!(snapshot_from(&[255; 24]), Err(RecordError::Short));
    }
}
