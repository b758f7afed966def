//! Dropbear's host key: made here, so that the node's fingerprint is known before it first boots.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use meadow_model::Secret;
use meadow_model::preboot::HostKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::DiskError;

const KIND: &[u8] = b"ssh-ed25519";
const SEED_BYTES: usize = 32;

/// A new key.
pub(crate) struct NewHostKey {
    /// The file in Dropbear's own form.
    pub(crate) file: Zeroizing<Vec<u8>>,
    /// `SHA256:…` of the public half, as ssh(1) shows it.
    pub(crate) fingerprint: String,
}

impl NewHostKey {
    /// As it lies on a disk where there is no TPM.
    pub(crate) fn plain(&self) -> HostKey {
        let key = Secret::new(data_encoding::BASE64.encode(&self.file));
        HostKey::Plain { key, fingerprint: self.fingerprint.clone() }
    }
}

/// Makes an Ed25519 key in Dropbear's own form: the kind as a text, the length 64, seed and public key.
///
/// # Errors
/// [`DiskError`] where there are no random numbers.
pub(crate) fn generate() -> Result<NewHostKey, DiskError> {
    let failed = |_| DiskError::Refused("no random numbers for the host key; try again".to_owned());
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), seed.as_mut_slice()).map_err(failed)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
        .map_err(|error| DiskError::Refused(format!("the host key cannot be made ({error}); try again")))?;
    let public = pair.public_key().as_ref();
    let mut file = Zeroizing::new(Vec::with_capacity(128));
    put_text(&mut file, KIND);
    file.extend_from_slice(&64_u32.to_be_bytes());
    file.extend_from_slice(seed.as_slice());
    file.extend_from_slice(public);
    Ok(NewHostKey { file, fingerprint: fingerprint(public) })
}

/// `SHA256:…` as ssh(1) shows it.
fn fingerprint(public: &[u8]) -> String {
    let mut blob = Vec::new();
    put_text(&mut blob, KIND);
    put_text(&mut blob, public);
    format!("SHA256:{}", data_encoding::BASE64_NOPAD.encode(&Sha256::digest(&blob)))
}

fn put_text(target: &mut Vec<u8>, text: &[u8]) {
    target.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    target.extend_from_slice(text);
}
