//! Who is at the other end of a TLS connection.

use std::sync::Arc;

use meadow_model::Name;
use meadow_model::fingerprint::PublicKey;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::identity::public_key_of;
use crate::{Ca, PkiError, Role, provider};

/// Who is at the other end. That it holds the key was proved by the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It showed no certificate.
    Anonymous,
    /// It holds this key, and nothing vouches for it.
    Key(PublicKey),
    /// The cluster's CA vouches for its name and role.
    Member {
        /// Name of the node or person.
        name: Name,
        /// What it may be.
        role: Role,
        /// Its key.
        key: PublicKey,
    },
}

/// Tells who a client is from its certificate.
#[derive(Debug)]
pub struct PeerClassifier {
    members: Arc<dyn ClientCertVerifier>,
}

impl PeerClassifier {
    /// For the members of this CA's cluster.
    ///
    /// # Errors
    /// [`PkiError`] where the CA's certificate cannot be a trust anchor.
    pub fn new(ca: &Ca) -> Result<Self, PkiError> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate()?)?;
        let members = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| PkiError::Parse(e.to_string()))?;
        Ok(Self { members })
    }

    /// Who showed these certificates in a handshake that has succeeded.
    ///
    /// # Errors
    /// [`PkiError::Parse`] where the certificate cannot be read.
    pub fn classify(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<Peer, PkiError> {
        let Some((leaf, rest)) = chain.and_then(<[_]>::split_first) else {
            return Ok(Peer::Anonymous);
        };
        let key = public_key_of(leaf)?;
        if self.members.verify_client_cert(leaf, rest, UnixTime::now()).is_err() {
            return Ok(Peer::Key(key));
        }
        let (name, role) = subject(leaf)?;
        Ok(Peer::Member { name, role, key })
    }
}

fn subject(certificate: &CertificateDer<'_>) -> Result<(Name, Role), PkiError> {
    let invalid = |what: &str| PkiError::Parse(format!("the subject has no valid {what}"));
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| PkiError::Parse(e.to_string()))?;
    let name = parsed.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
    let unit = parsed.subject().iter_organizational_unit().next().and_then(|ou| ou.as_str().ok());
    let name = name.and_then(|text| Name::new(text).ok()).ok_or_else(|| invalid("name"))?;
    let role = unit.and_then(Role::from_unit).ok_or_else(|| invalid("role"))?;
    Ok((name, role))
}
