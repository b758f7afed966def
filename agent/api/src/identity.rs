//! Who asks.

use std::net::SocketAddr;

use meadow_model::Name;
use meadow_model::fingerprint::PublicKey;

/// What a user may do, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, decides about machines, and steers the PXE server.
    Operator,
    /// Everything.
    Admin,
}

/// The caller, as its TLS certificate or its socket proves. A request extension that meadowd sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user with a certificate of the cluster.
    User {
        /// The user's name.
        name: String,
        /// What the user may do.
        role: Role,
    },
    /// A node with a certificate of the cluster that was not revoked.
    Node {
        /// The node's name.
        name: Name,
        /// Its key.
        key: PublicKey,
    },
    /// A self-signed certificate: the caller holds this key, and nothing else is known of it.
    Key(PublicKey),
    /// Root on this computer, through the Unix socket.
    Local,
    /// No certificate at all.
    Anonymous,
}

impl Identity {
    /// The caller as events and operations name it.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::User { name, .. } => format!("user {name}"),
            Self::Node { name, .. } => format!("node {name}"),
            Self::Key(key) => format!("machine {}", key.fingerprint()),
            Self::Local => "user root".to_owned(),
            Self::Anonymous => "nobody".to_owned(),
        }
    }

    /// The key that the caller has proved to hold, where it is a computer.
    #[must_use]
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Node { key, .. } | Self::Key(key) => Some(key),
            Self::User { .. } | Self::Local | Self::Anonymous => None,
        }
    }
}

/// Where the request came from. A request extension that meadowd sets for TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);
