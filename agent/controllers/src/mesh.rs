//! Brings WireGuard and the hosts file to what the mesh view says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use meadow_host::Cidr;
use meadow_host::cidr::InvalidCidr;
use meadow_host::files::FileError;
use meadow_host::hosts::{self, HostEntry};
use meadow_host::wireguard::{self, DeviceConfig, PeerConfig, PeerStatus, PrivateKey, WireGuard, WireGuardError};
use meadow_model::mesh::{MESH_INTERFACE, MESH_MTU, MeshView, WIREGUARD_PORT, WireGuardKey};
use meadow_model::name::InvalidName;
use tokio::sync::watch;
use tracing::warn;

/// How often the kernel is asked for handshakes, and the wish applied again: whatever changed it is undone.
const PERIOD: Duration = Duration::from_secs(2);
/// Seconds between keepalives. They keep the handshake fresh where nothing else is sent, so that "no handshake for
/// three minutes" means a broken path; WireGuard's own documents use 25.
const KEEPALIVE_S: u16 = 25;

/// The mesh as this node sees it: peers by key.
pub type Peers = BTreeMap<WireGuardKey, PeerStatus>;

/// The mesh could not be brought to what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// WireGuard.
    #[error(transparent)]
    WireGuard(#[from] WireGuardError),
    /// The hosts file.
    #[error(transparent)]
    Hosts(#[from] FileError),
    /// A name in the view.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// An address in the view.
    #[error(transparent)]
    Address(#[from] InvalidCidr),
}

/// Owns the mesh interface and the managed block of the hosts file.
pub struct Mesh {
    wireguard: Box<dyn WireGuard>,
    key: PrivateKey,
    hosts_file: PathBuf,
}

impl Mesh {
    /// Opens the interface, in the kernel or in user space.
    ///
    /// # Errors
    /// [`MeshError`] where neither works.
    pub async fn open(key: PrivateKey, hosts_file: PathBuf) -> Result<Self, MeshError> {
        let wireguard = wireguard::open(MESH_INTERFACE).await?;
        Ok(Self { wireguard, key, hosts_file })
    }

    /// Where packets are encrypted.
    #[must_use]
    pub fn backend(&self) -> wireguard::Backend {
        self.wireguard.backend()
    }

    /// Keeps interface and names at the newest view, and publishes the peers' handshakes; ends when the views end.
    pub async fn run(mut self, mut views: watch::Receiver<Option<MeshView>>, peers: watch::Sender<Peers>) {
        let mut last_error = String::new();
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(view) = view {
                let problem = self.apply(&view).await.err().map(|e| e.to_string()).unwrap_or_default();
                if problem != last_error && !problem.is_empty() {
                    warn!("the mesh is not as it should be, trying again: {problem}");
                }
                last_error = problem;
            }
            if let Ok(status) = self.wireguard.status().await {
                peers.send_replace(status.into_iter().map(|peer| (peer.key, peer)).collect());
            }
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    async fn apply(&mut self, view: &MeshView) -> Result<(), MeshError> {
        self.wireguard.apply(&device(view, &self.key)?).await?;
        hosts::apply(&self.hosts_file, &host_entries(view)?)?;
        Ok(())
    }
}

fn device(view: &MeshView, key: &PrivateKey) -> Result<DeviceConfig, MeshError> {
    let peers = view.peers.iter().map(|peer| PeerConfig {
        key: peer.key,
        endpoint: peer.endpoint,
        keepalive: Some(KEEPALIVE_S),
        allowed_ips: vec![Cidr::host(IpAddr::V6(peer.address))],
    });
    Ok(DeviceConfig {
        private_key: key.clone(),
        listen_port: WIREGUARD_PORT,
        address: Cidr::new(IpAddr::V6(view.address), 64)?,
        mtu: MESH_MTU,
        peers: peers.collect(),
    })
}

fn host_entries(view: &MeshView) -> Result<Vec<HostEntry>, MeshError> {
    let own = std::iter::once((view.address, &view.name));
    let others = view.peers.iter().map(|peer| (peer.address, &peer.name));
    own.chain(others)
        .map(|(address, name)| {
            let names = [name.to_string(), format!("{name}.{}", meadow_pki::SERVER_NAME)];
            Ok(HostEntry::new(IpAddr::V6(address), names)?)
        })
        .collect()
}
