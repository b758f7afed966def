//! A voter's own place in the mesh: it takes the view from the state that it keeps itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meadow_client::API_PORT;
use meadow_controllers::live::LiveReports;
use meadow_controllers::mesh::{Mesh, Peers};
use meadow_controllers::probe::probe;
use meadow_controllers::report;
use meadow_controllers::self_status::SelfStatus;
use meadow_host::wireguard::PrivateKey;
use meadow_host::{Clock, SystemClock};
use meadow_model::Name;
use meadow_model::console::SelfState;
use meadow_model::mesh::MeshView;
use meadow_raft::ReplicaHandle;
use meadow_state::State;
use meadow_state::command::{Command, Proposal};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::listener::TlsListener;

/// How long to wait before the mesh interface is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// An endpoint is believed when a handshake from it is at most this old.
const FRESH: Duration = Duration::from_secs(30);

/// A voter in the mesh.
pub(crate) struct VoterMesh {
    pub(crate) replica: ReplicaHandle,
    pub(crate) me: Name,
    pub(crate) live: Arc<LiveReports>,
    pub(crate) status: SelfStatus,
    /// The newest view, for whoever needs it.
    pub(crate) views: watch::Sender<Option<MeshView>>,
}

impl VoterMesh {
    /// Keeps the voter in the mesh for ever. Without a mesh the cluster is still served, and the console says what is
    /// missing.
    pub(crate) async fn run(self, key: PrivateKey, settings_hosts: std::path::PathBuf) {
        let views = self.views.clone();
        let peers = watch::Sender::new(Peers::new());
        let mesh = open(key, settings_hosts, &self.status).await;
        info!(backend = ?mesh.backend(), "mesh");
        tokio::select! {
            () = mesh.run(views.subscribe(), peers.clone()) => {}
            () = self.publish(&views) => {}
            () = self.observe(peers.subscribe()) => {}
        }
    }

    /// Takes each new view of the mesh from the state, at once.
    async fn publish(&self, views: &watch::Sender<Option<MeshView>>) {
        let mut changes = self.replica.watch();
        loop {
            if let Some(view) = changes.borrow_and_update().mesh_view(&self.me) {
                views.send_if_modified(|old| {
                    let changed = old.as_ref() != Some(&view);
                    *old = Some(view);
                    changed
                });
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Looks at the mesh every few seconds, and no more often: the state may change a thousand times in between, when
    /// strangers ask to boot, and each look pings every node.
    async fn observe(&self, peers: watch::Receiver<Peers>) {
        loop {
            let state = self.replica.state();
            if let Some(view) = state.mesh_view(&self.me) {
                let seen = peers.borrow().clone();
                self.look(&state, &view, &seen).await;
            }
            tokio::time::sleep(report::PERIOD).await;
        }
    }

    async fn look(&self, state: &State, view: &MeshView, peers: &Peers) {
        self.live.record_handshakes(peers);
        let findings = probe(view).await;
        if let Some(me) = state.nodes().get(&self.me) {
            self.live.record(me, state.nodes(), report::report(view, peers, findings, env!("CARGO_PKG_VERSION")));
        }
        for (node, endpoint) in roamed(state, &self.me, peers) {
            info!(%node, %endpoint, "the node's address has changed");
            let proposal = Proposal {
                at: SystemClock.wall(),
                actor: "meadow".to_owned(),
                idempotency_key: None,
                command: Command::SetEndpoint { node, endpoint },
            };
            if let Err(problem) = self.replica.propose(proposal).await {
                warn!("the new address cannot be kept: {problem}");
            }
        }
        if self.replica.is_leader() {
            self.status.set(SelfState::Ready, format!("node {} of the cluster, serves the API", self.me));
        } else {
            self.status.set(SelfState::Degraded, "there is no quorum; start the other voters");
        }
    }
}

/// The mesh, as soon as it can be opened.
async fn open(key: PrivateKey, hosts_file: std::path::PathBuf, status: &SelfStatus) -> Mesh {
    loop {
        match Mesh::open(key.clone(), hosts_file.clone()).await {
            Ok(mesh) => return mesh,
            Err(e) => status.set(SelfState::Degraded, format!("there is no mesh: {e}")),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Nodes that speak from another address than the state says, which the other nodes have to learn.
fn roamed(state: &State, me: &Name, peers: &Peers) -> Vec<(Name, SocketAddr)> {
    let others = state.nodes().values().filter(|node| node.metadata.name != *me);
    others
        .filter_map(|node| {
            let peer = peers.get(&node.spec.wireguard)?;
            let fresh = peer.last_handshake.is_some_and(|age| age < FRESH);
            let endpoint = peer.endpoint.map(|e| SocketAddr::new(e.ip().to_canonical(), e.port()))?;
            (fresh && node.status.endpoint != Some(endpoint)).then(|| (node.metadata.name.clone(), endpoint))
        })
        .collect()
}

/// Takes reports on the mesh address, where the API listens only on another one.
pub(crate) async fn serve_mesh(api: Arc<TlsListener>, api_listen: SocketAddr, replica: ReplicaHandle, me: Name) {
    if api_listen.ip().is_unspecified() && api_listen.port() == API_PORT {
        return std::future::pending().await;
    }
    loop {
        let address = replica.state().nodes().get(&me).map(|node| node.spec.address);
        if let Some(address) = address
            && let Ok(listener) = TcpListener::bind((address, API_PORT)).await
        {
            return api.serve(listener).await;
        }
        // The address comes with the mesh.
        tokio::time::sleep(RETRY).await;
    }
}
