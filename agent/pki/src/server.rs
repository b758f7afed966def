//! TLS of those that serve the API.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::signatures::verify_signatures_with;
use crate::{Identity, PkiError, provider};

/// TLS 1.3 with `identity`; clients may show any certificate whose key they hold, since machines come with self-signed
/// ones. [`crate::PeerClassifier`] tells afterwards who they are.
///
/// # Errors
/// [`PkiError`] where the identity cannot be used.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, PkiError> {
    let provider = provider();
    let verifier = AnyKey { algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain()?, identity.private_key()?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Takes every certificate and checks only that the client holds its key.
#[derive(Debug)]
struct AnyKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    verify_signatures_with!(algorithms);
}
