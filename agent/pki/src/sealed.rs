//! Messages that only the holder of a Curve25519 key can read, from somebody who needs no key.
//!
//! One message: the sender's key of this message (32 bytes) and AES-256-GCM of the plain text. The cipher's key is
//! HKDF-SHA-256 over the X25519 secret, bound to both public keys and to the purpose; it is used once, so the nonce is
//! zero. The receiver's key is the node's WireGuard key, which the cluster vouches for.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, PrivateKey, UnparsedPublicKey, X25519, agree, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SystemRandom;
use data_encoding::BASE64;
use meadow_model::Secret;
use meadow_model::install::Sealed;
use meadow_model::mesh::WireGuardKey;

const SALT: &[u8] = b"meadow sealed v1";
const KEY: usize = 32;
/// Nothing that is sealed is longer, not the header of a volume either; a message of more is refused unread.
const LARGEST: usize = 6 << 20;

/// A message that cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key or the randomness could not be used.
    #[error("the secret cannot be sealed: the receiver's key is damaged")]
    Seal,
    /// Damaged, or meant for somebody else or something else.
    #[error("a sealed secret cannot be opened: it is damaged, or was meant for another node or purpose; send it again")]
    Open,
}

/// Seals `text` so that only the holder of `to` can read it, and only for `purpose`.
///
/// # Errors
/// [`SealError::Seal`].
pub fn seal(to: &WireGuardKey, purpose: &str, text: &Secret<String>) -> Result<Sealed, SealError> {
    let failed = |_: Unspecified| SealError::Seal;
    let own = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(failed)?;
    let public = own.compute_public_key().map_err(failed)?;
    let mut message = public.as_ref().to_vec();
    let peer = UnparsedPublicKey::new(&X25519, to.0);
    let key = agree_ephemeral(own, peer, Unspecified, |secret| cipher(secret, public.as_ref(), to, purpose))
        .map_err(failed)?;
    let mut body = text.expose().as_bytes().to_vec();
    key.seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut body).map_err(failed)?;
    message.extend_from_slice(&body);
    Ok(Sealed(BASE64.encode(&message)))
}

/// Opens what was sealed to the public half of `private` for `purpose`.
///
/// # Errors
/// [`SealError::Open`].
pub fn open(private: &[u8; KEY], purpose: &str, sealed: &Sealed) -> Result<Secret<String>, SealError> {
    let failed = |_: Unspecified| SealError::Open;
    if sealed.0.len() > LARGEST {
        return Err(SealError::Open);
    }
    let message = BASE64.decode(sealed.0.as_bytes()).map_err(|_| SealError::Open)?;
    let (sender, body) = message.split_at_checked(KEY).ok_or(SealError::Open)?;
    let own = PrivateKey::from_private_key(&X25519, private).map_err(|_| SealError::Open)?;
    let public = own.compute_public_key().map_err(failed)?;
    let me = WireGuardKey(public.as_ref().try_into().map_err(|_| SealError::Open)?);
    let peer = UnparsedPublicKey::new(&X25519, sender);
    let key = agree(&own, peer, Unspecified, |secret| cipher(secret, sender, &me, purpose)).map_err(failed)?;
    let mut body = body.to_vec();
    let text = key.open_in_place(zero_nonce(), Aad::empty(), &mut body).map_err(failed)?;
    Ok(Secret::new(String::from_utf8(text.to_vec()).map_err(|_| SealError::Open)?))
}

fn cipher(secret: &[u8], sender: &[u8], receiver: &WireGuardKey, purpose: &str) -> Result<LessSafeKey, Unspecified> {
    let mut bytes = [0; KEY];
    Salt::new(HKDF_SHA256, SALT)
        .extract(secret)
        .expand(&[sender, &receiver.0, purpose.as_bytes()], HKDF_SHA256)?
        .fill(&mut bytes)?;
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes)?))
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> ([u8; KEY], WireGuardKey) {
        let mut private = [0; KEY];
        aws_lc_rs::rand::fill(&mut private).expect("random");
        let public =
            PrivateKey::from_private_key(&X25519, &private).expect("a key").compute_public_key().expect("a key");
        (private, WireGuardKey(public.as_ref().try_into().expect("32 bytes")))
    }

    #[test]
    fn only_the_receiver_opens_it_and_only_for_its_purpose() {
        let ((private, public), (stranger, _)) = (pair(), pair());
        let text = Secret::new("correct horse".to_owned());
        let sealed = seal(&public, "install node-1", &text).expect("sealed");
        assert!(!sealed.0.contains("correct"));
        assert_eq!(open(&private, "install node-1", &sealed), Ok(text.clone()));
        assert_eq!(open(&stranger, "install node-1", &sealed), Err(SealError::Open));
        assert_eq!(open(&private, "install node-2", &sealed), Err(SealError::Open));
        assert_ne!(
            seal(&public, "install node-1", &text).expect("sealed"),
            sealed,
            "each message has a key of its own"
        );
    }

    #[test]
    fn a_damaged_message_is_refused() {
        let (private, public) = pair();
        let sealed = seal(&public, "p", &Secret::new("x".to_owned())).expect("sealed");
        let bytes = BASE64.decode(sealed.0.as_bytes()).expect("base64");
        for at in 0..bytes.len() {
            let mut turned = bytes.clone();
            turned[at] ^= 1;
            assert_eq!(open(&private, "p", &Sealed(BASE64.encode(&turned))), Err(SealError::Open), "byte {at}");
            assert_eq!(open(&private, "p", &Sealed(BASE64.encode(&bytes[..at]))), Err(SealError::Open));
        }
        assert_eq!(open(&private, "p", &Sealed("no base64".to_owned())), Err(SealError::Open));
        assert_eq!(open(&private, "p", &Sealed("A".repeat(LARGEST + 4))), Err(SealError::Open));
    }
}
