//! Records on a partition without a file system: two slots, of which the newest whole one counts.
//!
//! A writer overwrites the slot that does not count and syncs; so power may fail at any byte and the record is the old
//! or the new one. The form is in `docs/decisions/0006-installed-nodes.md`.

use sha2::{Digest, Sha256};

/// Bytes of one slot, header included.
pub const SLOT_BYTES: usize = 1 << 20;
/// Bytes of both slots, from the partition's first byte.
pub const AREA_BYTES: usize = 2 * SLOT_BYTES;
/// Bytes that a record may have at most.
pub const LARGEST: usize = SLOT_BYTES - HEADER;

const MAGIC: &[u8; 8] = b"MEADOWR1";
const HEADER: usize = 56;

/// The newest whole record of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Grows with every write.
    pub generation: u64,
    /// What was written.
    pub payload: &'a [u8],
}

/// What to write, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Offset in the area.
    pub offset: usize,
    /// Header and payload.
    pub bytes: Vec<u8>,
}

/// A record that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {0} bytes does not fit; {LARGEST} bytes are the most")]
pub struct TooLarge(pub usize);

/// Finds the record that counts in the first [`AREA_BYTES`] of a partition; `None` where no slot is whole.
#[must_use]
pub fn newest(area: &[u8]) -> Option<Record<'_>> {
    area.chunks(SLOT_BYTES).take(2).filter_map(parse).max_by_key(|record| record.generation)
}

/// The write that makes `payload` the newest record of `area`.
///
/// # Errors
/// [`TooLarge`].
pub fn replace(area: &[u8], payload: &[u8]) -> Result<Write, TooLarge> {
    if payload.len() > LARGEST {
        return Err(TooLarge(payload.len()));
    }
    let mut slots = area.chunks(SLOT_BYTES).take(2).map(|slot| parse(slot).map(|record| record.generation));
    let (first, second) = (slots.next().flatten(), slots.next().flatten());
    let generation = first.max(second).map_or(1, |generation| generation.saturating_add(1));
    let offset = if first > second { SLOT_BYTES } else { 0 };
    Ok(Write { offset, bytes: slot(generation, payload) })
}

fn slot(generation: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&digest(generation, payload));
    bytes.extend_from_slice(payload);
    bytes
}

fn digest(generation: u64, payload: &[u8]) -> [u8; 32] {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let hash = Sha256::new().chain_update(generation.to_le_bytes()).chain_update(length.to_le_bytes());
    hash.chain_update(payload).finalize().into()
}

fn parse(slot: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = slot.split_at_checked(HEADER)?;
    let generation = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
    let length = u32::from_le_bytes(header.get(16..20)?.try_into().ok()?);
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    let sound = header.starts_with(MAGIC) && header.get(24..)? == digest(generation, payload);
    sound.then_some(Record { generation, payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(area: &mut [u8], write: &Write) {
        area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
    }

    #[test]
    fn writes_alternate_and_the_newest_counts() {
        let mut area = vec![0; AREA_BYTES];
        assert_eq!(newest(&area), None);
        for (round, expected) in [(1_u64, 0), (2, SLOT_BYTES), (3, 0)] {
            let payload = round.to_string();
            let write = replace(&area, payload.as_bytes()).expect("fits");
            assert_eq!(write.offset, expected);
            apply(&mut area, &write);
            assert_eq!(newest(&area), Some(Record { generation: round, payload: payload.as_bytes() }));
        }
        assert_eq!(replace(&area, &vec![0; LARGEST + 1]), Err(TooLarge(LARGEST + 1)));
        assert_eq!(newest(&area[..50]), None);
    }

    proptest! {
        #[test]
        fn a_torn_write_leaves_the_old_record(old in ".{0,40}", new in "[a-z]{1,40}", cut in 0..96_usize, turned in 0..56_usize) {
            let mut area = vec![0; AREA_BYTES];
            let first = replace(&area, old.as_bytes()).unwrap();
            apply(&mut area, &first);
            let mut write = replace(&area, new.as_bytes()).unwrap();
            write.bytes.truncate(cut.min(write.bytes.len() - 1));
            apply(&mut area, &write);
            prop_assert_eq!(newest(&area).unwrap().payload, old.as_bytes());

            let mut area = vec![0; AREA_BYTES];
            let first = replace(&area, old.as_bytes()).unwrap();
            apply(&mut area, &first);
            let mut write = replace(&area, new.as_bytes()).unwrap();
            // The four zero bytes of the header carry nothing.
            if !(20..24).contains(&turned) {
                write.bytes[turned] ^= 1;
                apply(&mut area, &write);
                prop_assert_eq!(newest(&area).unwrap().payload, old.as_bytes());
            }
        }
    }
}
