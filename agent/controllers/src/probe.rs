//! Whether the names of the cluster resolve here, and whether the nodes behind them answer.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use meadow_host::{echo, resolver};
use meadow_model::Name;
use meadow_model::mesh::{MeshPeer, MeshView};

/// A local look-up in a file takes microseconds, a round trip at home milliseconds; more than this is a failure.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Names that do not resolve to their node's address.
    pub unresolved: Vec<Name>,
    /// Nodes that answered an echo request to the address that their name resolves to.
    pub reachable: Vec<Name>,
}

/// Looks up every name of the view as a program would, and pings what it resolves to.
pub async fn probe(view: &MeshView) -> Findings {
    let own = resolves_to(&view.name, IpAddr::V6(view.address));
    let others = join_all(view.peers.iter().map(probe_peer));
    let (own, others) = futures_util::future::join(own, others).await;
    let mut findings = Findings::default();
    if !own {
        findings.unresolved.push(view.name.clone());
    }
    for (peer, (resolved, answered)) in view.peers.iter().zip(others) {
        if !resolved {
            findings.unresolved.push(peer.name.clone());
        }
        if answered {
            findings.reachable.push(peer.name.clone());
        }
    }
    findings
}

async fn probe_peer(peer: &MeshPeer) -> (bool, bool) {
    let resolved = resolves_to(&peer.name, IpAddr::V6(peer.address)).await;
    let answered = resolved && matches!(echo::ping(peer.address, TIMEOUT).await, Ok(Some(_)));
    (resolved, answered)
}

async fn resolves_to(name: &Name, address: IpAddr) -> bool {
    resolver::resolves(name.as_str(), TIMEOUT).await == Some(address)
}
