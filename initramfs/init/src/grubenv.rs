//! GRUB's state file on the ESP: which slot is blessed (`docs/decisions/0006-installed-nodes.md`).

use crate::slot::Slot;

/// The file's size, which GRUB fixes.
pub const BYTES: usize = 1024;
const SIGNATURE: &str = "# GRUB Environment Block";

/// What GRUB's script keeps there, as far as an initrd has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrubEnv {
    /// The slot that it takes without being told otherwise.
    pub blessed: Option<Slot>,
    /// The slot of this start, where it was taken to be tried.
    pub trial: Option<Slot>,
    /// Starts of the blessed slot in a row that nothing took back; `None` where they are not counted.
    pub failures: Option<u8>,
}

/// Starts of the blessed slot after which GRUB gives the other slot a turn.
pub const MOST_FAILURES: u8 = 3;
const FAILURES: &str = "failures=";

impl GrubEnv {
    /// Reads the file; `None` where it is none of GRUB's.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let text = text(file)?;
        let slot = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).and_then(Slot::parse);
        let failures = text.lines().find_map(|line| line.strip_prefix(FAILURES));
        let failures = failures.and_then(|digit| digit.parse().ok()).filter(|failures| *failures <= MOST_FAILURES);
        Some(Self { blessed: slot("blessed="), trial: slot("trial="), failures })
    }

    /// Whether `running` was taken to be tried, so that a restart leads back to the blessed slot.
    #[must_use]
    pub fn is_trial(&self, running: Slot) -> bool {
        self.blessed.is_some_and(|blessed| blessed != running) && self.trial == Some(running)
    }
}

/// The file with another count; `None` where it does not count.
#[must_use]
pub fn with_failures(file: &[u8], failures: u8) -> Option<Vec<u8>> {
    GrubEnv::parse(file)?.failures?;
    let place = text(file)?.find(&format!("\n{FAILURES}"))? + 1 + FAILURES.len();
    let mut changed = file.get(..BYTES)?.to_vec();
    *changed.get_mut(place)? = b'0' + failures.min(MOST_FAILURES);
    Some(changed)
}

fn text(file: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(file.get(..BYTES)?).ok()?;
    (text.lines().next() == Some(SIGNATURE)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(lines: &str) -> Vec<u8> {
        let mut bytes = format!("{SIGNATURE}\n{lines}").into_bytes();
        bytes.resize(BYTES, b'#');
        bytes
    }

    #[test]
    fn reads_what_grub_writes() {
        let blessed = |bytes: &[u8]| GrubEnv::parse(bytes).and_then(|environment| environment.blessed);
        assert_eq!(blessed(&file("blessed=a\ntry=b\n")), Some(Slot::A));
        assert_eq!(blessed(&file("try=\nblessed=b\n")), Some(Slot::B));
        assert_eq!(blessed(&file("blessed=c\n")), None);
        assert_eq!(blessed(&file("try=a\n")), None);
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
        assert_eq!(counted, file("blessed=a\nfailures=0\ntry=\n"));
        for text in ["blessed=a\n", "blessed=a\nfailures=\n", "failures=x\n", "failures=22\n"] {
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
