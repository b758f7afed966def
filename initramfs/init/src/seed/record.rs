//! Reads the record of a partition (`docs/decisions/0006-installed-nodes.md`); nothing here writes one.

use sha2::{Digest, Sha256};

/// Bytes of one slot, header included.
const SLOT_BYTES: usize = 1 << 20;
/// Bytes of both slots.
pub(super) const AREA_BYTES: usize = 2 * SLOT_BYTES;
const MAGIC: &[u8; 8] = b"MEADOWR1";
const HEADER: usize = 56;

/// The payload of the newest whole record; `None` where no slot is whole.
pub(super) fn newest(area: &[u8]) -> Option<&[u8]> {
    let slots = area.chunks(SLOT_BYTES).take(2).filter_map(parse);
    slots.max_by_key(|(generation, _)| *generation).map(|(_, payload)| payload)
}

fn parse(slot: &[u8]) -> Option<(u64, &[u8])> {
    let (header, rest) = slot.split_at_checked(HEADER)?;
    let (generation, length) = (header.get(8..16)?, header.get(16..20)?);
    let size = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    let payload = rest.get(..size)?;
    let digest = Sha256::new().chain_update(generation).chain_update(length).chain_update(payload).finalize();
    let sound = header.starts_with(MAGIC) && header.get(24..)? == digest.as_slice();
    sound.then_some((u64::from_le_bytes(generation.try_into().ok()?), payload))
}
