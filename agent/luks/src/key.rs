//! What opens a volume.

use std::fmt;
use std::io;

use meadow_model::install::KeyKind;
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use crate::LuksError;
use crate::recovery::RecoveryKey;

/// Characters that a new passphrase has at least. Who copies the disk can try as many as he likes.
pub const SHORTEST_PASSPHRASE: usize = 8;
/// Bytes that a passphrase has at most, as in cryptsetup.
pub const LONGEST_PASSPHRASE: usize = 512;
/// Bytes of the volume key: two keys of AES-256 for XTS.
pub(crate) const VOLUME_KEY_BYTES: usize = 64;

/// What opens a key slot; wiped from memory when it is dropped.
pub struct Key {
    kind: KeyKind,
    bytes: Zeroizing<Vec<u8>>,
}

impl Key {
    /// What a person typed: a recovery key where it looks like one, else a passphrase. A line end is cut off.
    ///
    /// # Errors
    /// [`LuksError::Typo`] for a mistyped recovery key, [`LuksError::BadPassphrase`] where nothing or too much was typed.
    pub fn typed(text: &str) -> Result<Self, LuksError> {
        let text = text.trim_end_matches(['\r', '\n']);
        match RecoveryKey::parse(text) {
            Some(key) => Ok(Self::recovery(&key?)),
            None if text.is_empty() => Err(LuksError::BadPassphrase("nothing was typed; type the passphrase")),
            None if text.len() > LONGEST_PASSPHRASE => {
                Err(LuksError::BadPassphrase("a passphrase has at most 512 bytes; type it again"))
            }
            None => Ok(Self { kind: KeyKind::Passphrase, bytes: Zeroizing::new(text.as_bytes().to_vec()) }),
        }
    }

    /// A passphrase that is to be added.
    ///
    /// # Errors
    /// [`LuksError::BadPassphrase`] where it is short, too long, has control characters or looks like a recovery key.
    pub fn new_passphrase(text: &str) -> Result<Self, LuksError> {
        if text.chars().count() < SHORTEST_PASSPHRASE {
            return Err(LuksError::BadPassphrase("a passphrase has at least 8 characters; choose a longer one"));
        }
        if text.chars().any(char::is_control) {
            return Err(LuksError::BadPassphrase("a passphrase has no control characters; choose another one"));
        }
        if RecoveryKey::parse(text).is_some() {
            return Err(LuksError::BadPassphrase("this looks like a recovery key; choose a passphrase of your own"));
        }
        Self::typed(text)
    }

    /// A recovery key.
    #[must_use]
    pub fn recovery(key: &RecoveryKey) -> Self {
        Self { kind: KeyKind::Recovery, bytes: Zeroizing::new(key.text().as_bytes().to_vec()) }
    }

    /// A key that a machine keeps, such as 256 random bits sealed by a TPM. `kind` is [`KeyKind::Tpm2`] or
    /// [`KeyKind::Peers`].
    #[must_use]
    pub fn of_machine(kind: KeyKind, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { kind, bytes }
    }

    /// What kind of slot it opens.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} key]", kind_name(self.kind))
    }
}

/// The key that encrypts the data; wiped from memory when it is dropped. Who has it can open the volume and add keys.
pub struct VolumeKey(Zeroizing<Vec<u8>>);

impl VolumeKey {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    pub(crate) fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; VOLUME_KEY_BYTES]);
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for VolumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[volume key]")
    }
}

/// Name of a kind, as in tokens.
pub(crate) fn kind_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Passphrase => "passphrase",
        KeyKind::Recovery => "recovery",
        KeyKind::Tpm2 => "tpm2",
        KeyKind::Peers => "peers",
    }
}

/// Whether a person can type what opens such a slot.
pub(crate) fn is_for_people(kind: KeyKind) -> bool {
    matches!(kind, KeyKind::Passphrase | KeyKind::Recovery)
}

/// Fills `bytes` from the kernel's random generator, and waits until that is seeded.
pub(crate) fn fill_random(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let got = match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(got) => got,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        bytes = &mut bytes[got..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_told_apart() {
        let recovery = RecoveryKey::generate().unwrap();
        assert_eq!(Key::typed(&recovery.text()).unwrap().kind(), KeyKind::Recovery);
        let passphrase = Key::typed("pass phrase\r\n").unwrap();
        assert_eq!((passphrase.kind(), passphrase.bytes()), (KeyKind::Passphrase, "pass phrase".as_bytes()));
        assert!(Key::typed("\n").is_err());
        assert!(Key::typed(&"x".repeat(513)).is_err());
    }

    #[test]
    fn weak_new_passphrases_are_refused() {
        let recovery = RecoveryKey::generate().unwrap();
        for text in ["", "seven77", "with\ttab and more", &recovery.text(), &"x".repeat(513)] {
            assert!(Key::new_passphrase(text).is_err());
        }
        assert!(Key::new_passphrase("läuft ja").is_ok());
        assert_eq!(format!("{:?}", Key::new_passphrase("hunter22").unwrap()), "[passphrase key]");
    }
}
