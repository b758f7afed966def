//! What a node with a state partition needs before that is opened: the record of the partition `meadow-preboot`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, MacAddress, Name, Secret};

/// Version of [`Preboot`].
pub const VERSION: u32 = 1;
/// TCP port on which the initramfs asks for a passphrase over SSH.
pub const UNLOCK_PORT: u16 = 2222;
/// Bytes of the mark that lies behind the two slots of the record: one sector of the largest kind, so that it is written
/// whole.
pub const MARK_BYTES: usize = 4096;

/// What is under way on a disk: it begins before anything else of the disk changes and is removed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// An installation.
    Installs {
        /// Hash of its plan.
        plan: String,
        /// UUID of the LUKS volume that this very run makes: what an earlier installation left is not taken for its work.
        volume: String,
    },
    /// A factory reset by the plan with this hash.
    Resets(String),
}

impl Mark {
    const INSTALLS: &str = "meadow installs ";
    const RESETS: &str = "meadow resets ";

    /// As it lies on the disk.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let text = match self {
            Self::Installs { plan, volume } => format!("{}{plan} {volume}\n", Self::INSTALLS),
            Self::Resets(hash) => format!("{}{hash}\n", Self::RESETS),
        };
        let mut bytes = text.into_bytes();
        bytes.resize(MARK_BYTES, 0);
        bytes
    }

    /// Reads it; `None` where none lies there.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (line, rest) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        if rest.bytes().any(|byte| byte != 0) {
            return None;
        }
        let installs = line.strip_prefix(Self::INSTALLS).and_then(|words| words.split_once(' '));
        let installs =
            installs.map(|(plan, volume)| Self::Installs { plan: plan.to_owned(), volume: volume.to_owned() });
        installs.or_else(|| line.strip_prefix(Self::RESETS).map(|hash| Self::Resets(hash.to_owned())))
    }
}

/// The record of the partition `meadow-preboot`. Readable by whoever holds the disk: no secret of the cluster is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preboot {
    /// [`VERSION`].
    pub version: u32,
    /// The node, as it was called last.
    pub node: Name,
    /// The cluster's name, for people.
    pub cluster: String,
    /// The cluster CA's key.
    pub ca_fingerprint: Fingerprint,
    /// UUID in the LUKS2 header of this node's `meadow-state`; another volume is not opened.
    pub luks_uuid: String,
    /// Whether the system boots from this disk, or only the state lies on it.
    pub installed: bool,
    /// Admins' public keys in OpenSSH form: who may unlock over SSH.
    pub authorized_keys: Vec<String>,
    /// How the initramfs reaches the network; empty: DHCP on every wired card.
    #[serde(default)]
    pub network: Vec<StaticNetwork>,
    /// Dropbear's host key.
    pub host_key: HostKey,
}

/// Dropbear's host key, as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "kebab-case")]
pub enum HostKey {
    /// As it is, where there is no TPM: who copies the disk can pose as this node's prompt.
    Plain {
        /// The key file in Dropbear's own form, base64.
        key: Secret<String>,
        /// `SHA256:…` of the public half, as ssh(1) shows it.
        fingerprint: String,
    },
    /// Sealed by the TPM.
    Sealed {
        /// What the TPM needs to give it back, base64 of its own form.
        blob: String,
        /// `SHA256:…` of the public half, as ssh(1) shows it.
        fingerprint: String,
    },
}

impl HostKey {
    /// `SHA256:…` of the public half, as ssh(1) shows it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::Plain { fingerprint, .. } | Self::Sealed { fingerprint, .. } => fingerprint,
        }
    }
}

/// A network that a card is in: a fixed address, for networks without DHCP, or DHCP on a VLAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StaticNetwork {
    /// The card; `None`: every wired one.
    pub mac: Option<MacAddress>,
    /// VLAN identifier, 1 to 4094, where the port is tagged.
    pub vlan: Option<u16>,
    /// Address and prefix length, such as `192.0.2.7/24`, or [`StaticNetwork::DHCP`], which initramfs of before leave out.
    pub address: String,
    /// The router.
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<IpAddr>,
}

impl StaticNetwork {
    /// In place of an address: the card asks DHCP.
    pub const DHCP: &str = "dhcp";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_written_and_nothing_else_is_one() {
        let installs = Mark::Installs { plan: "12".to_owned(), volume: "34-56".to_owned() };
        for mark in [installs, Mark::Resets("ab".to_owned())] {
            let bytes = mark.bytes();
            assert_eq!((bytes.len(), Mark::parse(&bytes)), (MARK_BYTES, Some(mark)));
        }
        for other in [
            &b""[..],
            &[0; MARK_BYTES],
            b"meadow wipes 12\n",
            b"meadow resets 12",
            b"meadow resets 12\nx",
            b"meadow installs 12\n",
            b"\xff\n",
        ] {
            assert_eq!(Mark::parse(other), None);
        }
    }
}
