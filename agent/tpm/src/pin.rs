//! A PIN: short, since the TPM counts wrong ones.

use std::fmt;

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::{TpmError, crypto};

/// Characters that a PIN has. A passphrase has at least eight, so that at a prompt the one cannot be taken for the other.
pub const LENGTH: std::ops::RangeInclusive<usize> = 4..=7;

/// A PIN; wiped when it is dropped.
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Takes what was typed, where it could be one. A line end is cut off.
    ///
    /// # Errors
    /// [`TpmError::BadPin`]
    pub fn new(text: &str) -> Result<Self, TpmError> {
        let text = text.trim_end_matches(['\r', '\n']);
        if !LENGTH.contains(&text.chars().count()) || text.chars().any(char::is_control) {
            return Err(TpmError::BadPin("a PIN has 4 to 7 characters; longer ones would be passphrases"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The value by which the TPM knows it.
    pub(crate) fn value(&self, salt: &str) -> Zeroizing<Vec<u8>> {
        let digest = crypto::sha256(&[b"meadow TPM PIN", salt.as_bytes(), &[0], self.0.as_bytes()]);
        // A TPM leaves out zeros at the end of a value; so they are never there.
        let mut value = Zeroizing::new(digest.to_vec());
        value.iter_mut().rev().take(1).for_each(|last| *last |= 1);
        value
    }

    /// Something of its own for each slot.
    pub(crate) fn new_salt() -> Result<String, TpmError> {
        Ok(BASE64.encode(crypto::random::<16>()?.as_slice()))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[PIN]")
    }
}
