//! The WireGuard mesh between the nodes.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Name};

/// UDP port of the mesh, the one that WireGuard's own tools use in their examples.
pub const WIREGUARD_PORT: u16 = 51_820;
/// Name of the mesh interface on every node.
pub const MESH_INTERFACE: &str = "meadow0";
/// MTU of the mesh: 1500 less 80 bytes of outer IPv6, UDP and WireGuard.
pub const MESH_MTU: u32 = 1420;

/// A Curve25519 public key, written in base64 as WireGuard's tools do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, examples("HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="))]
#[serde(try_from = "String", into = "String")]
pub struct WireGuardKey(pub [u8; 32]);

/// A text that is no WireGuard key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a WireGuard public key; it has 44 characters of base64")]
pub struct InvalidWireGuardKey;

impl fmt::Display for WireGuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for WireGuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<WireGuardKey> for String {
    fn from(key: WireGuardKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for WireGuardKey {
    type Error = InvalidWireGuardKey;

    fn try_from(text: String) -> Result<Self, InvalidWireGuardKey> {
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| InvalidWireGuardKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidWireGuardKey)
    }
}

/// A unique local IPv6 /64 (RFC 4193), one a cluster: it cannot collide with a home network's IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, examples("fd6d:6561:646f::"))]
#[serde(transparent)]
pub struct MeshPrefix(Ipv6Addr);

impl MeshPrefix {
    /// The prefix of the cluster with this CA: `fd` and 40 bits of its fingerprint, subnet 0.
    #[must_use]
    pub fn of_cluster(ca: &Fingerprint) -> Self {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&ca.0[..5]);
        Self(Ipv6Addr::from(octets))
    }

    /// The address of the node with this number.
    #[must_use]
    pub fn address(self, node_id: u64) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.0) | u128::from(node_id))
    }

    /// The first address, all bits after the /64 zero.
    #[must_use]
    pub fn network(self) -> Ipv6Addr {
        self.0
    }
}

/// Who is in the mesh, as one node is to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MeshView {
    /// Grows with every change; a node refuses an older view than the one it has.
    pub generation: u64,
    /// The node's own name.
    pub name: Name,
    /// The node's own address.
    #[schema(value_type = String)]
    pub address: Ipv6Addr,
    /// Everybody else.
    pub peers: Vec<MeshPeer>,
}

/// Another node of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MeshPeer {
    /// Its name, which gets a line in `/etc/hosts`.
    pub name: Name,
    /// Its public key.
    pub key: WireGuardKey,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Ipv6Addr,
    /// Where to send to; `None` where only it can begin.
    #[schema(value_type = Option<String>)]
    pub endpoint: Option<SocketAddr>,
    /// Whether its meadowd takes reports: the base URL is `https://[address]:7443`.
    pub reports: bool,
}
