//! Private keys.

use std::fmt;

use meadow_model::mesh::WireGuardKey;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};

/// A Curve25519 private key. It is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<[u8; 32]>);

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut())?;
        Ok(Self::from_bytes(bytes))
    }

    /// A key that was stored. Its bits are clamped as RFC 7748 section 5 says, as the kernel does it too.
    #[must_use]
    pub fn from_bytes(mut bytes: Zeroizing<[u8; 32]>) -> Self {
        bytes[0] &= 248;
        bytes[31] = (bytes[31] & 127) | 64;
        Self(bytes)
    }

    /// The key itself, to store it in a private file; the name makes its uses easy to find.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that others know this one by.
    #[must_use]
    pub fn public_key(&self) -> WireGuardKey {
        WireGuardKey(PublicKey::from(&self.to_static_secret()).to_bytes())
    }

    pub(super) fn to_static_secret(&self) -> StaticSecret {
        StaticSecret::from(*self.0)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::PrivateKey;

    /// A pair made with `wg genkey | wg pubkey`.
    #[test]
    fn the_public_key_is_the_one_that_wg_computes() {
        let private = hex("a8e83c512aea5d55a7d1dcff972b5bd3b4baeb5884897dd170a1f85465702f7e");
        let public = hex("5130f7cb7682e678e49cf5a79806f558e5cd0183cb724230c92775b5ea363c23");
        assert_eq!(PrivateKey::from_bytes(private).public_key().0, *public);
    }

    fn hex(text: &str) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).expect("ASCII");
            *byte = u8::from_str_radix(digits, 16).expect("hexadecimal");
        }
        bytes
    }

    #[test]
    fn debug_shows_nothing() {
        let key = PrivateKey::from_bytes(Zeroizing::new([7; 32]));
        assert_eq!(format!("{key:?}"), "[private key]");
    }
}
