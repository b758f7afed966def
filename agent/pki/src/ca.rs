//! The cluster's certificate authority.

use meadow_model::{Fingerprint, Name, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls_pki_types::CertificateDer;

use crate::PkiError;
use crate::identity::{Identity, certificates, fingerprint_of, forever};

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
        if fingerprint_of(&certificate)? != fingerprint {
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

    /// Signs the key of a certificate signing request. Nothing else of the request is believed: name and role come from
    /// the cluster. `holder` is the key that the request must be for.
    ///
    /// # Errors
    /// [`PkiError::ForeignKey`] where it is for another key, else where the request is damaged.
    pub fn sign(&self, request_pem: &str, holder: &Fingerprint, name: &Name, role: Role) -> Result<String, PkiError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)?;
        if Fingerprint::of_public_key(&request.public_key.subject_public_key_info()) != *holder {
            return Err(PkiError::ForeignKey);
        }
        Ok(leaf(name, role)?.signed_by(&request.public_key, &self.issuer)?.pem())
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// Only where the system gives no randomness.
    pub fn issue(&self, name: &Name, role: Role) -> Result<Identity, PkiError> {
        let identity = Identity::generate()?;
        let leaf = self.sign(&identity.signing_request()?, &identity.fingerprint(), name, role)?;
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
    fn a_request_for_another_key_is_refused() {
        let ca = Ca::generate(&name("home")).expect("ca");
        let (one, other) = (Identity::generate().expect("key"), Identity::generate().expect("key"));
        let request = one.signing_request().expect("request");
        assert!(ca.sign(&request, &one.fingerprint(), &name("node-1"), Role::Node).is_ok());
        let refused = ca.sign(&request, &other.fingerprint(), &name("node-1"), Role::Node);
        assert!(matches!(refused, Err(PkiError::ForeignKey)));
    }

    #[test]
    fn a_kept_ca_is_the_same_and_a_mixed_one_is_refused() {
        let (ca, other) = (Ca::generate(&name("home")).expect("ca"), Ca::generate(&name("home")).expect("ca"));
        let again = Ca::load(ca.certificate_pem(), ca.key_pem().expose()).expect("ca");
        assert_eq!(again.fingerprint(), ca.fingerprint());
        assert!(matches!(Ca::load(ca.certificate_pem(), other.key_pem().expose()), Err(PkiError::ForeignKey)));
    }
}
