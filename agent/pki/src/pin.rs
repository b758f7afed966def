//! TLS of clients: the cluster's CA is pinned.

use std::sync::Arc;

use meadow_model::Fingerprint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::identity::public_key_of;
use crate::signatures::verify_signatures_with;
use crate::{Identity, PkiError, provider};

/// The only CA that a client believes, by the fingerprint of its key. Servers send the CA's certificate along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaPin(pub Fingerprint);

/// TLS 1.3 that talks only to servers of the pinned cluster, with the client certificate of `identity` where one is
/// given.
///
/// # Errors
/// [`PkiError`] where the identity cannot be used.
pub fn client_config(ca: &CaPin, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, PkiError> {
    let provider = provider();
    let verifier = PinnedCa { pin: *ca, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain()?, identity.private_key()?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct PinnedCa {
    pin: CaPin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates
            .iter()
            .find(|certificate| public_key_of(certificate).is_ok_and(|key| key.fingerprint() == self.pin.0))
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        webpki.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    verify_signatures_with!(algorithms);
}
