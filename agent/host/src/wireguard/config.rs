//! What the mesh interface is to be.

use std::collections::HashSet;
use std::net::SocketAddr;

use meadow_model::mesh::WireGuardKey;

use super::PrivateKey;
use crate::Cidr;

/// The whole of a WireGuard interface.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// This node's key.
    pub private_key: PrivateKey,
    /// UDP port to listen on.
    pub listen_port: u16,
    /// The interface's own address and the prefix of the mesh.
    pub address: Cidr,
    /// Largest packet inside the tunnel, in bytes.
    pub mtu: u32,
    /// The others, in any order.
    pub peers: Vec<PeerConfig>,
}

/// A peer as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its public key.
    pub key: WireGuardKey,
    /// Where to send to, as far as it is known; a peer that is heard from another address is answered there.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives, for a peer behind a router that forgets; `None` for none.
    pub keepalive: Option<u16>,
    /// What may come from it and is sent to it.
    pub allowed_ips: Vec<Cidr>,
}

/// A wish that cannot be fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// One key, two peers.
    #[error("the WireGuard key {0} is given to two peers; every node needs a key of its own")]
    DuplicateKey(WireGuardKey),
    /// Our own key as a peer.
    #[error("this node's own WireGuard key is listed as a peer; every node needs a key of its own")]
    OwnKey,
    /// One network, two peers: packets to it could go to one only.
    #[error("{0} is given to two WireGuard peers; each address belongs to one")]
    DuplicateAddress(Cidr),
    /// No interface can carry IPv6 with less, or a packet with more.
    #[error("a WireGuard interface cannot have an MTU of {0}; use 1280 to 65455, 1420 in a plain Ethernet")]
    Mtu(u32),
    /// Port 0 would be another one after every start.
    #[error("a WireGuard interface needs a fixed UDP port, not 0")]
    NoPort,
}

impl DeviceConfig {
    /// Refuses contradictions, which would otherwise make every application undo a part of itself.
    pub(super) fn validate(&self) -> Result<(), InvalidConfig> {
        if !(1280..=65_455).contains(&self.mtu) {
            return Err(InvalidConfig::Mtu(self.mtu));
        }
        if self.listen_port == 0 {
            return Err(InvalidConfig::NoPort);
        }
        let own = self.private_key.public_key();
        let (mut keys, mut networks) = (HashSet::new(), HashSet::new());
        for peer in &self.peers {
            if peer.key == own {
                return Err(InvalidConfig::OwnKey);
            }
            if !keys.insert(peer.key) {
                return Err(InvalidConfig::DuplicateKey(peer.key));
            }
            if let Some(twice) = peer.networks().into_iter().find(|network| !networks.insert(*network)) {
                return Err(InvalidConfig::DuplicateAddress(twice));
            }
        }
        Ok(())
    }

    /// Every network behind a peer.
    pub(super) fn networks(&self) -> Vec<Cidr> {
        self.peers.iter().flat_map(PeerConfig::networks).collect()
    }
}

impl PeerConfig {
    /// The allowed addresses as WireGuard keeps them: without host bits, sorted, each once.
    pub(super) fn networks(&self) -> Vec<Cidr> {
        let mut networks: Vec<Cidr> = self.allowed_ips.iter().map(|cidr| cidr.network()).collect();
        networks.sort_unstable();
        networks.dedup();
        networks
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn peer(key: u8, allowed: &str) -> PeerConfig {
        let allowed_ips = vec![allowed.parse().expect("valid")];
        PeerConfig { key: WireGuardKey([key; 32]), endpoint: None, keepalive: None, allowed_ips }
    }

    fn config(peers: Vec<PeerConfig>) -> DeviceConfig {
        let private_key = PrivateKey::from_bytes(Zeroizing::new([9; 32]));
        DeviceConfig {
            private_key,
            listen_port: 51820,
            address: "fd00::1/64".parse().expect("valid"),
            mtu: 1420,
            peers,
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let twice = Cidr::host("fd00::2".parse().expect("valid"));
        assert_eq!(config(vec![peer(1, "fd00::2/128"), peer(2, "fd00::3/128")]).validate(), Ok(()));
        assert_eq!(
            config(vec![peer(1, "fd00::2/128"), peer(1, "fd00::3/128")]).validate(),
            Err(InvalidConfig::DuplicateKey(WireGuardKey([1; 32])))
        );
        assert_eq!(
            config(vec![peer(1, "fd00::2/128"), peer(2, "fd00::2/128")]).validate(),
            Err(InvalidConfig::DuplicateAddress(twice))
        );
        let mut own = config(vec![]);
        own.peers.push(PeerConfig { key: own.private_key.public_key(), ..peer(1, "fd00::2/128") });
        assert_eq!(own.validate(), Err(InvalidConfig::OwnKey));
        assert_eq!(DeviceConfig { mtu: 576, ..config(vec![]) }.validate(), Err(InvalidConfig::Mtu(576)));
        assert_eq!(DeviceConfig { listen_port: 0, ..config(vec![]) }.validate(), Err(InvalidConfig::NoPort));
    }
}
