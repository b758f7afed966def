//! Keys, certificates and TLS of the cluster.
//!
//! Every computer has one identity key. Before it is a node it shows a self-signed certificate of that key, afterwards
//! one that the cluster's CA signed. Servers are checked against the pinned CA, never against a host name, since
//! addresses at home change; see `docs/decisions/0002-identity-and-tls.md`.

mod ca;
mod identity;
mod manifest;
mod peer;
mod pin;
mod release;
pub mod sealed;
mod server;
mod signatures;

pub use ca::{Ca, Role, check_identity_key};
pub use identity::Identity;
pub use manifest::check_manifest;
pub use peer::{Peer, PeerClassifier};
pub use pin::{CaPin, client_config};
pub use release::{ReleaseKey, check_release};
pub use server::server_config;

/// The name in the certificates of those that serve the API, which clients ask for whatever the address.
pub const SERVER_NAME: &str = "meadow.internal";

/// Why a key, a certificate or a TLS configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key or certificate cannot be made or read.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A text is not PEM of what it should be.
    #[error("this is not a PEM file of a {0}; was it cut off or edited?")]
    Pem(&'static str),
    /// A certificate cannot be parsed.
    #[error("a certificate cannot be parsed: {0}")]
    Parse(String),
    /// Certificate and private key do not belong together.
    #[error("the certificate is for another key")]
    ForeignKey,
    /// A key of a kind that no identity of ours has.
    #[error("this is not an identity key; identities are ECDSA P-256 keys")]
    NoIdentityKey,
    /// A manifest whose signature is not the builder's.
    #[error("the image's manifest is not signed by the key that this node's image was built with")]
    ForeignManifest,
    /// A manifest that the cluster's release key did not sign.
    #[error("the cluster's release key did not sign this image; add it with `meadow image add`")]
    NotReleased,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The crypto provider of all of Meadow; given explicitly everywhere, so that no global one is needed.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// SHA-256, of what is no secret.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
