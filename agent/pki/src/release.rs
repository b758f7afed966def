//! The cluster's release key: what it signs, the cluster wants to run.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::PkiError;

/// Keeps a signature over a manifest from being one over anything else.
const PURPOSE: &[u8] = b"meadow image release 1\n";

/// The private half (ECDSA P-256), which `meadow init` made.
pub struct ReleaseKey(EcdsaKeyPair);

impl ReleaseKey {
    /// Reads the key from PKCS #8 PEM.
    ///
    /// # Errors
    /// [`PkiError::Pem`]
    pub fn from_pem(pem: &[u8]) -> Result<Self, PkiError> {
        let unreadable = || PkiError::Pem("private key");
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| unreadable())?;
        let key = PrivateKeyDer::Pkcs8(key);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der());
        pair.map(Self).map_err(|_| unreadable())
    }

    /// Signs a manifest.
    ///
    /// # Errors
    /// [`PkiError::NoRandomness`]
    pub fn sign(&self, manifest: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.0.sign(&SystemRandom::new(), &message(manifest)).map_err(|_| PkiError::NoRandomness)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Checks that the release key with the public half `key` (DER, `SubjectPublicKeyInfo`) signed this manifest.
///
/// # Errors
/// [`PkiError::NotReleased`]
pub fn check_release(key: &[u8], manifest: &[u8], signature: &[u8]) -> Result<(), PkiError> {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
    key.verify(&message(manifest), signature).map_err(|_| PkiError::NotReleased)
}

fn message(manifest: &[u8]) -> Vec<u8> {
    [PURPOSE, manifest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn only_this_clusters_release_of_these_bytes_counts() {
        let (ours, other) = (Identity::generate().expect("a key"), Identity::generate().expect("a key"));
        let key = ReleaseKey::from_pem(ours.key_pem().expose().as_bytes()).expect("a key");
        let signature = key.sign(b"{}").expect("signed");
        let public = ours.public_key();
        assert!(check_release(public.as_der(), b"{}", &signature).is_ok());
        assert!(matches!(check_release(public.as_der(), b"{ }", &signature), Err(PkiError::NotReleased)));
        assert!(matches!(check_release(other.public_key().as_der(), b"{}", &signature), Err(PkiError::NotReleased)));
        assert!(matches!(check_release(b"", b"{}", &signature), Err(PkiError::NotReleased)));
        assert!(ReleaseKey::from_pem(b"x").is_err());
    }
}
