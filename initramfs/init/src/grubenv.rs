//! What an initrd knows of GRUB's state file on the ESP, and the one thing that it changes there
//! (`docs/decisions/0006-installed-nodes.md`).

use meadow_grubenv::{BLESSED, Block, FAILURES, TRIAL, count};

use crate::slot::Slot;

pub use meadow_grubenv::{BYTES, MOST_FAILURES};

/// What GRUB's script keeps there, as far as an initrd has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrubEnv {
    /// The slot that it takes without being told otherwise.
    pub blessed: Slot,
    /// The slot of this start, where it was taken to be tried.
    pub trial: Option<Slot>,
    /// Starts of the blessed slot in a row that nothing took back; `None` where they are not counted.
    pub failures: Option<u8>,
}

impl GrubEnv {
    /// Reads the file as GRUB does; `None` where it is none of GRUB's.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let block = Block::parse(file).ok()?;
        let slot = |name| block.value(name).and_then(|value| Slot::parse(std::str::from_utf8(value).ok()?));
        Some(Self {
            blessed: slot(BLESSED).unwrap_or(Slot::A),
            trial: slot(TRIAL),
            failures: block.value(FAILURES).and_then(count),
        })
    }

    /// Whether `running` was taken to be tried, so that a restart leads back to the blessed slot.
    #[must_use]
    pub fn is_trial(&self, running: Slot) -> bool {
        self.blessed != running && self.trial == Some(running)
    }
}

/// The file with another count; `None` where it does not count.
#[must_use]
pub fn with_failures(file: &[u8], failures: u8) -> Option<[u8; BYTES]> {
    let mut block = Block::parse(file).ok()?;
    block.value(FAILURES).and_then(count)?;
    block.change(FAILURES, &failures.min(MOST_FAILURES).to_string());
    Some(block.bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(lines: &str) -> Vec<u8> {
        let mut bytes = format!("# GRUB Environment Block\n{lines}").into_bytes();
        bytes.resize(BYTES, b'#');
        bytes
    }

    #[test]
    fn reads_what_grub_writes() {
        let blessed = |bytes: &[u8]| GrubEnv::parse(bytes).map(|environment| environment.blessed);
        assert_eq!(blessed(&file("blessed=a\ntry=b\n")), Some(Slot::A));
        assert_eq!(blessed(&file("try=\nblessed=b\n")), Some(Slot::B));
        // The script takes slot a then.
        assert_eq!(blessed(&file("blessed=c\n")), Some(Slot::A));
        assert_eq!(blessed(&file("try=a\n")), Some(Slot::A));
        assert_eq!(blessed(&file("blessed=a\n")[..1000]), None);
        assert_eq!(blessed(&[b'#'; BYTES]), None);
    }

    #[test]
    fn a_trial_is_told_from_a_stand_in() {
        let trial = |text: &str, running| GrubEnv::parse(&file(text)).expect("GRUB's").is_trial(running);
        assert!(trial("blessed=a\ntry=\ntrial=b\n", Slot::B));
        assert!(!trial("blessed=a\ntry=\ntrial=\n", Slot::B), "a did not start");
        assert!(!trial("blessed=b\ntry=\ntrial=b\n", Slot::B), "it was blessed meanwhile");
        assert!(!trial("blessed=a\ntry=\ntrial=b\n", Slot::A));
    }

    #[test]
    fn a_count_is_changed_where_there_is_one() {
        let counted = with_failures(&file("blessed=a\nfailures=2\ntry=\n"), 0).expect("a count");
        assert_eq!(counted[..], file("blessed=a\nfailures=0\ntry=\n"));
        for text in ["blessed=a\n", "blessed=a\nfailures=\n", "failures=x\n", "failures=22\n", "failures=00\n"] {
            assert_eq!(with_failures(&file(text), 0), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0..BYTES, byte in any::<u8>(), cut in 0..=BYTES) {
            let mut bytes = file("blessed=a\ntry=\nfailures=1\n");
            bytes[at] = byte;
            let _ = GrubEnv::parse(&bytes[..cut]);
            if let Some(changed) = with_failures(&bytes, 3) {
                prop_assert_eq!(GrubEnv::parse(&changed).and_then(|environment| environment.failures), Some(3));
            }
        }
    }
}
