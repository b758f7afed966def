//! The difference between the peers that are and those that are wanted.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use meadow_model::mesh::WireGuardKey;

use super::{PeerConfig, PeerStatus};
use crate::Cidr;

/// The endpoints that were asked for last, to tell a new wish from a peer that roamed.
pub(super) type Endpoints = HashMap<WireGuardKey, Option<SocketAddr>>;

/// One change of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PeerChange {
    /// The peer goes, and its sessions with it.
    Remove(WireGuardKey),
    /// The peer comes, or something about it changes; `None` leaves a property as it is.
    Set {
        /// Its key.
        key: WireGuardKey,
        /// Whether it is new.
        create: bool,
        /// Where to send to from now on.
        endpoint: Option<SocketAddr>,
        /// Seconds between keepalives, 0 for none.
        keepalive: Option<u16>,
        /// All of its networks.
        allowed_ips: Option<Vec<Cidr>>,
    },
}

/// The endpoints of a wish, to be remembered once it was carried out.
pub(super) fn endpoints(peers: &[PeerConfig]) -> Endpoints {
    peers.iter().map(|peer| (peer.key, peer.endpoint)).collect()
}

/// What has to change, removals first.
pub(super) fn diff(present: &[PeerStatus], desired: &[PeerConfig], asked: &Endpoints) -> Vec<PeerChange> {
    let wanted: HashSet<_> = desired.iter().map(|peer| peer.key).collect();
    let by_key: HashMap<_, _> = present.iter().map(|peer| (peer.key, peer)).collect();
    let gone = present.iter().filter(|peer| !wanted.contains(&peer.key)).map(|peer| PeerChange::Remove(peer.key));
    let set = desired.iter().filter_map(|peer| match by_key.get(&peer.key) {
        None => Some(creation(peer)),
        Some(present) => update(present, peer, asked.get(&peer.key)),
    });
    gone.chain(set).collect()
}

fn creation(peer: &PeerConfig) -> PeerChange {
    PeerChange::Set {
        key: peer.key,
        create: true,
        endpoint: peer.endpoint,
        keepalive: Some(peer.keepalive.unwrap_or(0)),
        allowed_ips: Some(peer.networks()),
    }
}

fn update(present: &PeerStatus, peer: &PeerConfig, asked: Option<&Option<SocketAddr>>) -> Option<PeerChange> {
    let endpoint = new_endpoint(present, peer.endpoint, asked);
    // Keepalive 0 means off, as on the wire.
    let keepalive_now = present.keepalive.unwrap_or(0);
    let keepalive = Some(peer.keepalive.unwrap_or(0)).filter(|wanted| *wanted != keepalive_now);
    let networks = peer.networks();
    let allowed_ips = (networks != present.allowed_ips).then_some(networks);
    if endpoint.is_none() && keepalive.is_none() && allowed_ips.is_none() {
        return None;
    }
    Some(PeerChange::Set { key: peer.key, create: false, endpoint, keepalive, allowed_ips })
}

/// The endpoint to set, where the present one is not to stay.
///
/// A peer that is heard from elsewhere than expected has roamed, and its session stays where it is. It is sent back to
/// the wanted endpoint when that is a new wish, or when the session is dead and the wanted one is the better guess.
fn new_endpoint(
    present: &PeerStatus,
    wanted: Option<SocketAddr>,
    asked: Option<&Option<SocketAddr>>,
) -> Option<SocketAddr> {
    let wanted = wanted.filter(|wanted| Some(*wanted) != present.endpoint)?;
    let new_wish = asked.is_some_and(|asked| *asked != Some(wanted));
    (present.endpoint.is_none() || new_wish || !present.is_connected()).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const HERE: &str = "192.0.2.1:51820";
    const THERE: &str = "192.0.2.2:51820";

    fn status(endpoint: Option<&str>, age: Option<u64>) -> PeerStatus {
        PeerStatus {
            key: WireGuardKey([1; 32]),
            endpoint: endpoint.map(|e| e.parse().expect("valid")),
            keepalive: None,
            allowed_ips: vec![],
            last_handshake: age.map(Duration::from_secs),
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }

    #[test]
    fn a_roamed_peer_is_called_back_only_with_a_reason() {
        let address = |text: &str| Some(text.parse::<SocketAddr>().expect("valid"));
        let (here, there) = (address(HERE), address(THERE));
        for (what, present, wanted, asked, expected) in [
            ("roamed, alive, the old wish", status(Some(THERE), Some(5)), here, Some(here), None),
            ("roamed, alive, unknown wish", status(Some(THERE), Some(5)), here, None, None),
            ("roamed, alive, a new wish", status(Some(THERE), Some(5)), here, Some(there), here),
            ("roamed and dead", status(Some(THERE), Some(500)), here, Some(here), here),
            ("roamed and never alive", status(Some(THERE), None), here, Some(here), here),
            ("no endpoint yet", status(None, None), here, Some(None), here),
            ("as wanted", status(Some(HERE), None), here, Some(there), None),
            ("no wish", status(Some(THERE), None), None, Some(here), None),
        ] {
            assert_eq!(new_endpoint(&present, wanted, asked.as_ref()), expected, "{what}");
        }
    }

    /// A tiny model of a device: what carrying out the changes leaves.
    fn carry_out(present: &[PeerStatus], changes: &[PeerChange]) -> Vec<PeerStatus> {
        let mut peers = present.to_vec();
        for change in changes {
            match change {
                PeerChange::Remove(key) => peers.retain(|peer| peer.key != *key),
                PeerChange::Set { key, create, endpoint, keepalive, allowed_ips } => {
                    if *create {
                        peers.push(PeerStatus { key: *key, ..status(None, None) });
                    }
                    let peer = peers.iter_mut().find(|peer| peer.key == *key).expect("set peers exist");
                    peer.endpoint = endpoint.or(peer.endpoint);
                    peer.keepalive = keepalive.map_or(peer.keepalive, |k| (k != 0).then_some(k));
                    peer.allowed_ips = allowed_ips.clone().unwrap_or_else(|| peer.allowed_ips.clone());
                }
            }
        }
        peers
    }

    fn peers() -> impl Strategy<Value = Vec<PeerConfig>> {
        let endpoint = prop::option::of(prop_oneof![Just(HERE), Just(THERE)]);
        let peer = (endpoint, prop::option::of(1u16..30), prop::collection::vec(any::<u8>(), 0..3));
        prop::collection::hash_map(0u8..6, peer, 0..5).prop_map(|map| {
            map.into_iter()
                .map(|(key, (endpoint, keepalive, hosts))| PeerConfig {
                    key: WireGuardKey([key; 32]),
                    endpoint: endpoint.map(|e| e.parse().expect("valid")),
                    keepalive,
                    allowed_ips: hosts.iter().map(|h| Cidr::host([10, 0, key, *h].into())).collect(),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn carrying_out_the_difference_leaves_none(before in peers(), after in peers()) {
            let present = carry_out(&[], &diff(&[], &before, &Endpoints::new()));
            let changed = carry_out(&present, &diff(&present, &after, &endpoints(&before)));
            prop_assert_eq!(diff(&changed, &after, &endpoints(&after)), vec![]);
            let keys: HashSet<_> = changed.iter().map(|peer| peer.key).collect();
            prop_assert_eq!(keys, after.iter().map(|peer| peer.key).collect::<HashSet<_>>());
        }
    }
}
