//! The cluster's certificate authority.

use meadow_model::fingerprint::PublicKey;
use meadow_model::{Fingerprint, Name, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;

use crate::PkiError;
use crate::identity::{Identity, certificates, forever, public_key_of};

/// What the holder of a certificate may be; written as the certificate's organisational unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node that serves the API: its certificate carries [`crate::SERVER_NAME`].
    Voter,
    /// A node.
    Node,
    /// A person who may do everything.
    Admin,
    /// A person who may approve machines and run the cluster.
    Operator,
    /// A person who may look.
    Viewer,
}

impl Role {
    const ALL: [Self; 5] = [Self::Voter, Self::Node, Self::Admin, Self::Operator, Self::Viewer];

    /// The role as it is written into a certificate.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Node => "node",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    pub(crate) fn from_unit(unit: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == unit)
    }
}

/// The certificate authority: signs the certificates of nodes and people.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    key_pem: Secret<String>,
    certificate_pem: String,
    fingerprint: Fingerprint,
}

impl Ca {
    /// Makes a new CA for the cluster of this name.
    ///
    /// # Errors
    /// Only where the system gives no randomness.
    pub fn generate(cluster: &Name) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("meadow cluster {cluster}"));
        // The CA signs nothing but leaves.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        forever(&mut params);
        let certificate_pem = params.self_signed(&key)?.pem();
        Self::load(&certificate_pem, &key.serialize_pem())
    }

    /// A CA from its certificate and its key.
    ///
    /// # Errors
    /// [`PkiError`] where one of them is damaged, or they do not belong together.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem)?;
        let fingerprint = Fingerprint::of_public_key(&key.subject_public_key_info());
        let certificate = certificates(certificate_pem)?.into_iter().next().ok_or(PkiError::Pem("certificate"))?;
        if public_key_of(&certificate)?.fingerprint() != fingerprint {
            return Err(PkiError::ForeignKey);
        }
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(certificate_pem, key)?,
            key_pem: Secret::new(key_pem.to_owned()),
            certificate_pem: certificate_pem.to_owned(),
            fingerprint,
        })
    }

    /// Fingerprint of the CA's key: what everybody pins.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's private key as PKCS #8 PEM, for a file of mode 0600.
    #[must_use]
    pub fn key_pem(&self) -> &Secret<String> {
        &self.key_pem
    }

    /// Signs a key. That its holder has it must have been proved before, as every TLS handshake does; no signing request
    /// is needed then.
    ///
    /// # Errors
    /// [`PkiError::NoIdentityKey`] where it is a key of another kind.
    pub fn sign(&self, key: &PublicKey, name: &Name, role: Role) -> Result<String, PkiError> {
        Ok(leaf(name, role)?.signed_by(&identity_key(key)?, &self.issuer)?.pem())
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// Only where the system gives no randomness.
    pub fn issue(&self, name: &Name, role: Role) -> Result<Identity, PkiError> {
        let identity = Identity::generate()?;
        let leaf = self.sign(&identity.public_key(), name, role)?;
        Identity::with_chain(identity.key_pem().expose(), &self.chain(&leaf))
    }

    /// A signed certificate followed by the CA's, as [`Identity::with_chain`] takes it.
    #[must_use]
    pub fn chain(&self, leaf_pem: &str) -> String {
        format!("{}\n{}", leaf_pem.trim_end(), self.certificate_pem)
    }

    pub(crate) fn certificate(&self) -> Result<CertificateDer<'static>, PkiError> {
        certificates(&self.certificate_pem)?.into_iter().next().ok_or(PkiError::Pem("certificate"))
    }
}

/// Checks that a key is one that an identity may have: ECDSA P-256.
///
/// # Errors
/// [`PkiError::NoIdentityKey`]
pub fn check_identity_key(key: &PublicKey) -> Result<(), PkiError> {
    identity_key(key).map(drop)
}

fn identity_key(key: &PublicKey) -> Result<SubjectPublicKeyInfo, PkiError> {
    let key = SubjectPublicKeyInfo::from_der(key.as_der()).map_err(|_| PkiError::NoIdentityKey)?;
    if key.algorithm() == &PKCS_ECDSA_P256_SHA256 { Ok(key) } else { Err(PkiError::NoIdentityKey) }
}

fn leaf(name: &Name, role: Role) -> Result<CertificateParams, PkiError> {
    let names = match role {
        Role::Voter => vec![crate::SERVER_NAME.to_owned(), name.to_string(), "localhost".to_owned()],
        _ => vec![],
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name.to_string());
    params.distinguished_name.push(DnType::OrganizationalUnitName, role.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if role == Role::Voter {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    forever(&mut params);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("valid")
    }

    #[test]
    fn a_certificate_is_for_the_key_that_was_given_and_only_for_identity_keys() {
        let ca = Ca::generate(&name("home")).expect("ca");
        let identity = Identity::generate().expect("key");
        let leaf = ca.sign(&identity.public_key(), &name("node-1"), Role::Node).expect("signed");
        assert!(Identity::with_chain(identity.key_pem().expose(), &ca.chain(&leaf)).is_ok());
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("key").subject_public_key_info();
        let mut longer = identity.public_key().as_der().to_vec();
        longer.push(0);
        for bad in [p384, longer, b"no key".to_vec(), Vec::new()] {
            let refused = ca.sign(&PublicKey::from_der(bad), &name("node-1"), Role::Node);
            assert!(matches!(refused, Err(PkiError::NoIdentityKey)), "{refused:?}");
        }
    }

    #[test]
    fn a_kept_ca_is_the_same_and_a_mixed_one_is_refused() {
        let (ca, other) = (Ca::generate(&name("home")).expect("ca"), Ca::generate(&name("home")).expect("ca"));
        let again = Ca::load(ca.certificate_pem(), ca.key_pem().expose()).expect("ca");
        assert_eq!(again.fingerprint(), ca.fingerprint());
        assert!(matches!(Ca::load(ca.certificate_pem(), other.key_pem().expose()), Err(PkiError::ForeignKey)));
    }
}
