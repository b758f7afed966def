//! The partitions of a node's own disk (`docs/decisions/0006-installed-nodes.md`).

use meadow_model::install::{BootSlot, InstallMode, Partition};

/// One MiB: what every partition's start and size is a multiple of.
pub const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Name of the BIOS boot partition.
pub const BIOS: &str = "meadow-bios";
/// Name of the EFI system partition.
pub const ESP: &str = "meadow-esp";
/// Name of the first root.
pub const ROOT_A: &str = "meadow-root-a";
/// Name of the second root.
pub const ROOT_B: &str = "meadow-root-b";
/// Name of the partition with the preboot record.
pub const PREBOOT: &str = "meadow-preboot";
/// Name of the encrypted state.
pub const STATE: &str = "meadow-state";
/// Name of a stick's seed.
pub const SEED: &str = "meadow-seed";

const TYPE_BIOS: &str = "21686148-6449-6e6f-744e-656564454649";
const TYPE_ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const TYPE_ROOT: &str = "6d656164-6f77-4f53-8001-000000000001";
const TYPE_PREBOOT: &str = "6d656164-6f77-4f53-8001-000000000002";
const TYPE_STATE: &str = "6d656164-6f77-4f53-8001-000000000003";

const SYSTEM: [(&str, &str, u64); 4] = [
    (BIOS, TYPE_BIOS, MIB),
    (ESP, TYPE_ESP, 256 * MIB),
    (ROOT_A, TYPE_ROOT, 512 * MIB),
    (ROOT_B, TYPE_ROOT, 512 * MIB),
];
const PREBOOT_BYTES: u64 = 16 * MIB;
const STATE_LEAST: u64 = GIB;
const STATE_MOST: u64 = 16 * GIB;
/// Share of the disk that the state gets.
const STATE_SHARE: u64 = 8;

/// The first partition begins here, behind protective MBR and GPT.
const START: u64 = MIB;
/// Kept free at the end for the backup GPT, which needs 20 KiB on disks with large sectors.
const END_RESERVE: u64 = MIB;

/// Name of the partition that holds a slot's root.
#[must_use]
pub fn root_name(slot: BootSlot) -> &'static str {
    match slot {
        BootSlot::A => ROOT_A,
        BootSlot::B => ROOT_B,
    }
}

/// Bytes that a disk must have at least.
#[must_use]
pub fn least_bytes(mode: InstallMode) -> u64 {
    START + fixed(mode).map(|(_, _, size)| size).sum::<u64>() + STATE_LEAST + END_RESERVE
}

/// The partitions of a disk of `size_bytes`, and the bytes behind them that stay free; `None` where it is too small.
#[must_use]
pub fn partitions(mode: InstallMode, size_bytes: u64) -> Option<(Vec<Partition>, u64)> {
    if size_bytes < least_bytes(mode) {
        return None;
    }
    let state = (size_bytes / STATE_SHARE).clamp(STATE_LEAST, STATE_MOST) / MIB * MIB;
    let mut start = START;
    let mut partitions = Vec::new();
    for ((name, type_guid, size), number) in fixed(mode).chain([(STATE, TYPE_STATE, state)]).zip(1..) {
        partitions.push(Partition { number, name: name.to_owned(), type_guid: type_guid.to_owned(), start, size });
        start += size;
    }
    let end = (size_bytes - END_RESERVE) / MIB * MIB;
    Some((partitions, end.saturating_sub(start)))
}

/// Whether partitions can be written as they are: numbered from 1 on, whole MiB, one behind the other, inside the disk.
#[must_use]
pub fn is_sound(partitions: &[Partition], size_bytes: u64) -> bool {
    let mut free = START;
    for (partition, number) in partitions.iter().zip(1..) {
        let Some(end) = partition.start.checked_add(partition.size) else { return false };
        let whole = partition.start.is_multiple_of(MIB) && partition.size.is_multiple_of(MIB) && partition.size > 0;
        if partition.number != number || !whole || partition.start < free {
            return false;
        }
        free = end;
    }
    !partitions.is_empty() && free.checked_add(END_RESERVE).is_some_and(|end| end <= size_bytes)
}

fn fixed(mode: InstallMode) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
    let system = match mode {
        InstallMode::System => SYSTEM.as_slice(),
        InstallMode::StateOnly => &[],
    };
    system.iter().copied().chain([(PREBOOT, TYPE_PREBOOT, PREBOOT_BYTES)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_mode() -> impl Strategy<Value = InstallMode> {
        prop_oneof![Just(InstallMode::System), Just(InstallMode::StateOnly)]
    }

    #[test]
    fn the_table_of_the_decision() {
        let (partitions, free) = partitions(InstallMode::System, 64 * GIB).expect("large enough");
        let rows: Vec<(u32, &str, u64, u64)> =
            partitions.iter().map(|row| (row.number, row.name.as_str(), row.start / MIB, row.size / MIB)).collect();
        assert_eq!(
            rows,
            [
                (1, "meadow-bios", 1, 1),
                (2, "meadow-esp", 2, 256),
                (3, "meadow-root-a", 258, 512),
                (4, "meadow-root-b", 770, 512),
                (5, "meadow-preboot", 1282, 16),
                (6, "meadow-state", 1298, 8192),
            ]
        );
        assert_eq!(free, (64 * 1024 - 1 - 1298 - 8192) * MIB);
    }

    #[test]
    fn a_netbooted_node_keeps_records_and_state_only() {
        let (rows, _) = partitions(InstallMode::StateOnly, 4 * GIB).expect("large enough");
        let rows: Vec<(u32, &str)> = rows.iter().map(|row| (row.number, row.name.as_str())).collect();
        assert_eq!(rows, [(1, "meadow-preboot"), (2, "meadow-state")]);
        assert_eq!(least_bytes(InstallMode::StateOnly), 1042 * MIB);
        assert_eq!(least_bytes(InstallMode::System), 2323 * MIB);
    }

    #[test]
    fn unsound_tables_are_told() {
        let (sound, _) = partitions(InstallMode::System, 4 * GIB).expect("large enough");
        assert!(is_sound(&sound, 4 * GIB));
        let broken = |change: &dyn Fn(&mut Vec<Partition>)| {
            let mut rows = sound.clone();
            change(&mut rows);
            assert!(!is_sound(&rows, 4 * GIB), "{rows:?}");
        };
        broken(&|rows| rows.clear());
        broken(&|rows| rows[0].start = 0);
        broken(&|rows| rows[1].start += 512);
        broken(&|rows| rows[2].size += MIB);
        broken(&|rows| rows[3].number = 9);
        broken(&|rows| rows[5].size = u64::MAX / MIB * MIB);
        broken(&|rows| rows[5].size = 4 * GIB);
        broken(&|rows| rows.swap(0, 1));
    }

    proptest! {
        #[test]
        fn every_table_fits_its_disk(mode in any_mode(), size in 0..(1_u64 << 46)) {
            match partitions(mode, size) {
                None => prop_assert!(size < least_bytes(mode)),
                Some((rows, free)) => {
                    prop_assert!(is_sound(&rows, size));
                    let state = rows.last().expect("one at least");
                    prop_assert!((STATE_LEAST..=STATE_MOST).contains(&state.size));
                    // The backup GPT of a disk with sectors of 4096 bytes lies in the last five of them.
                    prop_assert!(state.start + state.size + free <= size - 5 * 4096);
                    prop_assert!(size - (state.start + state.size + free) < 2 * MIB);
                    prop_assert_eq!(partitions(mode, size), Some((rows, free)));
                }
            }
        }
    }
}
