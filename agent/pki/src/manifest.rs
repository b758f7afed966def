//! The signature of an image's manifest: RSA PKCS #1 v1.5 with SHA-256, by the key that the image was built with.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::PkiError;

/// Checks `signature` over `manifest` with a public key in PEM.
///
/// # Errors
/// [`PkiError::Pem`] for a text that is no public key, [`PkiError::ForeignManifest`] for a signature by another key or
/// over something else.
pub fn check_manifest(build_key_pem: &[u8], manifest: &[u8], signature: &[u8]) -> Result<(), PkiError> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(build_key_pem).map_err(|_| PkiError::Pem("public key"))?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.as_ref());
    key.verify(manifest, signature).map_err(|_| PkiError::ForeignManifest)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
    use data_encoding::BASE64;

    use super::*;

    fn key() -> (KeyPair, String) {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = key.public_key().as_der().expect("encoded");
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der.as_ref()));
        (key, pem)
    }

    #[test]
    fn only_the_builders_signature_over_these_bytes_counts() {
        let ((mine, pem), (_, other)) = (key(), key());
        let mut signature = vec![0; mine.public_modulus_len()];
        mine.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"{}", &mut signature).expect("signed");
        assert!(check_manifest(pem.as_bytes(), b"{}", &signature).is_ok());
        assert!(matches!(check_manifest(pem.as_bytes(), b"{ }", &signature), Err(PkiError::ForeignManifest)));
        assert!(matches!(check_manifest(other.as_bytes(), b"{}", &signature), Err(PkiError::ForeignManifest)));
        assert!(matches!(check_manifest(b"x", b"{}", &signature), Err(PkiError::Pem(_))));
    }
}
