//! The recovery key: 256 random bits in a form that a person can type on any keyboard.

use std::fmt;

use zeroize::Zeroizing;

/// Letters that lie at the same place on QWERTY, QWERTZ and most AZERTY keyboards ("modhex").
const LETTERS: &[u8; 16] = b"cbdefghijklnrtuv";
const GROUPS: usize = 8;
/// Letters that carry bits; one more checks them.
const DATA_LETTERS: usize = 8;
const ALL_LETTERS: usize = GROUPS * (DATA_LETTERS + 1);
const BYTES: usize = 32;

/// 256 random bits that open a volume; shown to a person once.
///
/// Written as eight groups of nine letters, the ninth of which checks the other eight, so that a typing error is found
/// with the group it is in. The written form, in lower case and with dashes, is also the passphrase of the key slot:
/// stock cryptsetup opens the volume with what is on the paper.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey(Zeroizing<[u8; BYTES]>);

/// A recovery key that was mistyped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group {0} of the recovery key has a typing error; compare it with what you wrote down")]
pub struct Typo(pub usize);

impl RecoveryKey {
    /// Wraps 256 bits, which must come from the system's random generator.
    #[must_use]
    pub fn from_random(bytes: Zeroizing<[u8; BYTES]>) -> Self {
        Self(bytes)
    }

    /// Makes a new one from the kernel's random generator.
    ///
    /// # Errors
    /// What the kernel says, where it gives no random numbers.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        crate::key::fill_random(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// The written form: `xxxxxxxxx-xxxxxxxxx-…`.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(GROUPS * (DATA_LETTERS + 2)));
        let mut values = Zeroizing::new([0; DATA_LETTERS]);
        for (index, group) in self.0.chunks(DATA_LETTERS / 2).enumerate() {
            if index > 0 {
                text.push('-');
            }
            for (place, byte) in group.iter().enumerate() {
                (values[2 * place], values[2 * place + 1]) = (byte >> 4, byte & 15);
            }
            for value in values.iter().chain([&check(values.as_slice())]) {
                text.push(char::from(LETTERS[usize::from(*value)]));
            }
        }
        text
    }

    /// Reads what a person typed, in capital or small letters, with dashes, blanks or nothing between the groups.
    /// `None` where it does not look like a recovery key at all: then it is a passphrase.
    ///
    /// # Errors
    /// [`Typo`] where it looks like one and a group does not check out.
    pub fn parse(typed: &str) -> Option<Result<Self, Typo>> {
        // Of fixed size: a growing buffer would leave parts of the key behind where it lay before.
        let mut values = Zeroizing::new([0; ALL_LETTERS]);
        let mut count = 0;
        for letter in typed.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-') {
            *values.get_mut(count)? = value(letter)?;
            count += 1;
        }
        (count == ALL_LETTERS).then(|| Self::from_values(values.as_slice()))
    }

    fn from_values(values: &[u8]) -> Result<Self, Typo> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        for (index, (group, target)) in
            values.chunks(DATA_LETTERS + 1).zip(bytes.chunks_mut(DATA_LETTERS / 2)).enumerate()
        {
            let (data, last) = group.split_at(DATA_LETTERS);
            if last != [check(data)] {
                return Err(Typo(index + 1));
            }
            for (pair, byte) in data.chunks(2).zip(target) {
                *byte = pair.iter().fold(0, |byte, value| byte << 4 | value);
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[recovery key]")
    }
}

fn value(letter: u8) -> Option<u8> {
    let place = LETTERS.iter().position(|known| *known == letter.to_ascii_lowercase())?;
    u8::try_from(place).ok()
}

/// Luhn's check over base 16: finds every wrong letter and all swaps of neighbours but one pair.
fn check(values: &[u8]) -> u8 {
    let sum: u32 = values
        .iter()
        .rev()
        .enumerate()
        .map(|(place, value)| {
            let weighted = u32::from(*value) * if place % 2 == 0 { 2 } else { 1 };
            weighted / 16 + weighted % 16
        })
        .sum();
    u8::try_from((16 - sum % 16) % 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(bytes: [u8; 32]) -> RecoveryKey {
        RecoveryKey::from_random(Zeroizing::new(bytes))
    }

    #[test]
    fn the_written_form_is_fixed() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 8).unwrap());
        let text = key(bytes).text();
        assert_eq!(text.len(), 79);
        assert!(text.starts_with("cccjbcbjr-"), "{}", *text);
        assert_eq!(format!("{:?}", key(bytes)), "[recovery key]");
    }

    #[test]
    fn other_texts_are_no_recovery_keys() {
        for text in ["", "correct horse", &"c".repeat(71), &"c".repeat(73), &"x".repeat(72)] {
            assert_eq!(RecoveryKey::parse(text), None);
        }
    }

    #[test]
    fn two_are_never_alike() {
        assert_ne!(RecoveryKey::generate().unwrap(), RecoveryKey::generate().unwrap());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 32], upper: bool, blanks: bool) {
            let mut text = key(bytes).text().to_string();
            if upper { text = text.to_uppercase(); }
            if blanks { text = text.replace('-', "  "); }
            prop_assert_eq!(RecoveryKey::parse(&format!(" {text}\n")), Some(Ok(key(bytes))));
        }

        #[test]
        fn every_wrong_letter_is_found_with_its_group(bytes: [u8; 32], place in 0..72_usize, other in 1..16_usize) {
            let mut letters: Vec<u8> = key(bytes).text().bytes().filter(|b| *b != b'-').collect();
            let old = usize::from(value(letters[place]).unwrap());
            letters[place] = LETTERS[(old + other) % 16];
            let typed = String::from_utf8(letters).unwrap();
            prop_assert_eq!(RecoveryKey::parse(&typed), Some(Err(Typo(place / 9 + 1))));
        }
    }
}
