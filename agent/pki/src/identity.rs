//! A computer's or a person's key with its certificate.

use meadow_model::fingerprint::PublicKey;
use meadow_model::{Fingerprint, Secret};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::PkiError;

/// A private key and the certificates that go with it, the own one first.
#[derive(Debug)]
pub struct Identity {
    key: KeyPair,
    chain_pem: String,
}

impl Identity {
    /// Makes a new key (ECDSA P-256, which browsers take too) with a self-signed certificate.
    ///
    /// # Errors
    /// Only where the system gives no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        Self::self_signed(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
    }

    /// The self-signed identity of a key that was kept as PKCS #8 PEM.
    ///
    /// # Errors
    /// [`PkiError`] where `pem` holds no such key.
    pub fn from_key_pem(pem: &str) -> Result<Self, PkiError> {
        Self::self_signed(KeyPair::from_pem(pem)?)
    }

    /// An identity with the certificate that a CA signed for it, followed by the CA's.
    ///
    /// # Errors
    /// [`PkiError`] where one of the texts is not what it should be, or the certificate is for another key.
    pub fn with_chain(key_pem: &str, chain_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem)?;
        let identity = Self { key, chain_pem: chain_pem.to_owned() };
        let chain = identity.chain()?;
        let leaf = chain.first().ok_or(PkiError::Pem("certificate"))?;
        if public_key_of(leaf)? != identity.public_key() {
            return Err(PkiError::ForeignKey);
        }
        Ok(identity)
    }

    fn self_signed(key: KeyPair) -> Result<Self, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "meadow machine");
        forever(&mut params);
        let chain_pem = params.self_signed(&key)?.pem();
        Ok(Self { key, chain_pem })
    }

    /// The public key: the identity itself.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_der(self.key.subject_public_key_info())
    }

    /// Fingerprint of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.public_key().fingerprint()
    }

    /// The private key as PKCS #8 PEM, for a file of mode 0600.
    #[must_use]
    pub fn key_pem(&self) -> Secret<String> {
        Secret::new(self.key.serialize_pem())
    }

    /// The certificates as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        certificates(&self.chain_pem)
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::try_from(self.key.serialize_der()).map_err(|_| PkiError::Pem("private key"))
    }
}

/// Certificates of ours do not expire: a machine whose clock battery died must still come back, and whoever leaves is
/// refused by the replicated state at once. From the year 2000 to RFC 5280's "no well-defined expiration" (4.1.2.5).
pub(crate) fn forever(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
}

/// All certificates of a PEM text.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| PkiError::Pem("certificate"))
}

/// The public key in a certificate.
pub(crate) fn public_key_of(certificate: &CertificateDer<'_>) -> Result<PublicKey, PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| PkiError::Parse(e.to_string()))?;
    Ok(PublicKey::from_der(parsed.public_key().raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_is_the_same_identity() {
        let identity = Identity::generate().expect("key");
        let again = Identity::from_key_pem(identity.key_pem().expose()).expect("key");
        assert_eq!(identity.fingerprint(), again.fingerprint());
        let certificate = &again.chain().expect("chain")[0];
        assert_eq!(public_key_of(certificate).expect("parsed"), identity.public_key());
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let (one, other) = (Identity::generate().expect("key"), Identity::generate().expect("key"));
        let mixed = Identity::with_chain(one.key_pem().expose(), other.chain_pem());
        assert!(matches!(mixed, Err(PkiError::ForeignKey)), "{mixed:?}");
    }

    #[test]
    fn debug_shows_no_private_key() {
        let identity = Identity::generate().expect("key");
        let key = identity.key_pem();
        let secret_line = key.expose().lines().nth(1).expect("base64").to_owned();
        assert!(!format!("{identity:?}").contains(&secret_line));
    }
}
