//! GRUB's state file on the ESP: which slot is blessed (`docs/decisions/0006-installed-nodes.md`).

use crate::slot::Slot;

/// The file's size, which GRUB fixes.
pub const BYTES: usize = 1024;
const SIGNATURE: &str = "# GRUB Environment Block";

/// The slot that GRUB takes without being told otherwise; `None` where the file is none of GRUB's or does not say.
#[must_use]
pub fn blessed(file: &[u8]) -> Option<Slot> {
    let text = std::str::from_utf8(file.get(..BYTES)?).ok()?;
    let mut lines = text.lines();
    if lines.next() != Some(SIGNATURE) {
        return None;
    }
    lines.find_map(|line| line.strip_prefix("blessed=")).and_then(Slot::parse)
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
        assert_eq!(blessed(&file("blessed=a\ntry=b\n")), Some(Slot::A));
        assert_eq!(blessed(&file("try=\nblessed=b\n")), Some(Slot::B));
        assert_eq!(blessed(&file("blessed=c\n")), None);
        assert_eq!(blessed(&file("try=a\n")), None);
        assert_eq!(blessed(&file("blessed=a\n")[..1000]), None);
        assert_eq!(blessed(&[b'#'; BYTES]), None);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0..BYTES, byte in any::<u8>(), cut in 0..=BYTES) {
            let mut bytes = file("blessed=a\ntry=\n");
            bytes[at] = byte;
            let _ = blessed(&bytes[..cut]);
        }
    }
}
