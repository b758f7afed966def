//! WireGuard in this process: gotatun between a TUN device and a UDP socket.

mod tun;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use gotatun::device::{Device, DeviceBuilder, Error as DeviceError, Peer};
use gotatun::udp::socket::UdpSocketFactory;
use gotatun::x25519::PublicKey;
use ipnetwork::IpNetwork;
use meadow_model::mesh::WireGuardKey;
use tokio::sync::watch;

use self::tun::Tun;
use super::diff::{self, Endpoints, PeerChange};
use super::{Backend, DeviceConfig, PeerStatus, WireGuard, WireGuardError};
use crate::Cidr;
use crate::links::{LinkError, Links};

/// MTU until the first configuration says another.
const INITIAL_MTU: u16 = 1420;
/// How long a call of [`WireGuard::apply`] lets the first packets to silent peers be sent.
const HANDSHAKE_KICK: Duration = Duration::from_millis(100);

/// How long the device's tasks may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

type TunDevice = Device<(UdpSocketFactory, Tun, Tun)>;

/// A WireGuard interface of this process. It goes with the process.
pub struct UserSpace {
    interface: String,
    links: Links,
    mtu: watch::Sender<u16>,
    running: Option<Running>,
    asked: Endpoints,
}

struct Running {
    device: TunDevice,
    /// The interface's number, to notice when somebody removed it and made another of the same name.
    index: u32,
    /// Keeps the port while the device rests.
    reserved: Option<Reserved>,
}

/// The port of a device without peers, kept free for it: whoever has taken it is told of at once, not when the first
/// peer comes.
struct Reserved {
    port: u16,
    _socket: UdpSocket,
}

impl UserSpace {
    /// Makes the TUN device; nothing is sent or received before the first [`WireGuard::apply`].
    ///
    /// # Errors
    /// [`WireGuardError::Tun`] where there is no TUN, [`WireGuardError::NameTaken`] where the name is in use.
    pub async fn open(interface: &str) -> Result<Self, WireGuardError> {
        let mut opened = Self {
            interface: interface.to_owned(),
            links: Links::open()?,
            mtu: watch::Sender::new(INITIAL_MTU),
            running: None,
            asked: Endpoints::new(),
        };
        opened.running = Some(opened.start().await?);
        Ok(opened)
    }

    async fn start(&self) -> Result<Running, WireGuardError> {
        match self.links.find(&self.interface).await {
            Err(LinkError::NoInterface(_)) => {}
            Err(error) => return Err(error.into()),
            Ok(link) => {
                let kind = link.kind.unwrap_or_else(|| "a network card".to_owned());
                return Err(WireGuardError::NameTaken { interface: self.interface.clone(), kind });
            }
        }
        let tun = Tun::open(&self.interface, self.mtu.subscribe().into())
            .map_err(|source| WireGuardError::Tun { interface: self.interface.clone(), source })?;
        let device = DeviceBuilder::new().with_default_udp().with_ip(tun).build().await.map_err(device_failed)?;
        Ok(Running { device, index: self.links.find(&self.interface).await?.index, reserved: None })
    }

    async fn stop(&mut self) -> Result<(), WireGuardError> {
        self.asked.clear();
        if let Some(running) = self.running.take() {
            running.device.stop().await;
            // The interface goes with the last of the device's tasks, which may still be on their way out.
            self.links.wait_until_gone((&self.interface, running.index), STOP_TIMEOUT).await?;
        }
        Ok(())
    }

    async fn apply_now(&mut self, desired: &DeviceConfig) -> Result<(), WireGuardError> {
        desired.validate()?;
        self.restart_where_removed().await?;
        let Some(running) = &mut self.running else {
            return Err(WireGuardError::Device("it did not start".into()));
        };
        let present = peers_of(&running.device).await;
        let changes = diff::diff(&present, &desired.peers, &self.asked);
        self.mtu.send_replace(u16::try_from(desired.mtu).unwrap_or(u16::MAX));
        if desired.peers.is_empty() {
            running.rest(desired.listen_port).await?;
        }
        if let Err(error) = running.configure(desired, &changes).await {
            // A device whose socket could not be bound has the new port in its settings already and would never try
            // again: begin anew the next time.
            self.stop().await?;
            return Err(bind_failed(error, desired.listen_port));
        }
        self.asked = diff::endpoints(&desired.peers);
        let link = self.links.find(&self.interface).await?;
        self.links.set_up(&link, desired.mtu).await?;
        self.links.set_addressing(&link, desired.address, &desired.networks()).await?;
        self.wake_silent_peers().await;
        Ok(())
    }

    /// Begins anew where there is no device, or where somebody removed its interface.
    async fn restart_where_removed(&mut self) -> Result<(), WireGuardError> {
        let index = match self.links.find(&self.interface).await {
            Ok(link) => Some(link.index),
            Err(LinkError::NoInterface(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if self.running.as_ref().is_some_and(|running| Some(running.index) == index) {
            return Ok(());
        }
        self.stop().await?;
        self.running = Some(self.start().await?);
        Ok(())
    }

    /// Begins handshakes with peers that are to be kept alive and have no session.
    ///
    /// The kernel's keepalive does so by itself; gotatun's gives up for good 90 s after a peer fell silent, until there
    /// is a packet for it.
    async fn wake_silent_peers(&self) {
        let Some(running) = &self.running else { return };
        let peers = peers_of(&running.device).await;
        let silent = peers.iter().filter(|p| p.keepalive.is_some() && p.endpoint.is_some() && !p.is_connected());
        let keys: Vec<_> = silent.map(|peer| PublicKey::from(peer.key.0)).collect();
        // A handshake that takes longer goes on by itself; its result shows in the status.
        join_all(keys.iter().map(|key| tokio::time::timeout(HANDSHAKE_KICK, running.device.force_handshake(key))))
            .await;
    }
}

impl Running {
    /// Lets a device without peers rest: its timers would wake the processor several times a second for nobody.
    async fn rest(&mut self, port: u16) -> Result<(), WireGuardError> {
        self.device.suspend().await;
        if self.reserved.as_ref().is_none_or(|reserved| reserved.port != port) {
            self.reserved = None;
            let bound = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
            let socket = bound.map_err(|error| match error.raw_os_error() {
                Some(libc::EADDRINUSE) => WireGuardError::PortTaken(port),
                _ => WireGuardError::Device(error.to_string()),
            })?;
            self.reserved = Some(Reserved { port, _socket: socket });
        }
        Ok(())
    }

    /// Carries out the changes in one go, then binds the socket anew if key or port changed, or if there are peers now.
    async fn configure(&mut self, desired: &DeviceConfig, changes: &[PeerChange]) -> Result<(), DeviceError> {
        let write = self.device.write(async |device| {
            device.set_private_key(desired.private_key.to_static_secret()).await;
            device.set_listen_port(desired.listen_port);
            for change in changes {
                match change {
                    PeerChange::Remove(key) => {
                        device.remove_peer(&PublicKey::from(key.0)).await;
                    }
                    PeerChange::Set { key, create, endpoint, keepalive, allowed_ips } => {
                        let key = PublicKey::from(key.0);
                        if *create {
                            device.add_peer(Peer::new(key));
                        }
                        let modify = |peer: &mut gotatun::device::configure::PeerMut| {
                            set_peer(peer, *endpoint, *keepalive, allowed_ips.as_deref());
                        };
                        device.modify_peer(&key, modify).await;
                    }
                }
            }
        });
        write.await?;
        if !desired.peers.is_empty() {
            self.reserved = None;
            self.device.resume().await?;
        }
        Ok(())
    }
}

fn set_peer(
    peer: &mut gotatun::device::configure::PeerMut,
    endpoint: Option<SocketAddr>,
    keepalive: Option<u16>,
    allowed_ips: Option<&[Cidr]>,
) {
    if endpoint.is_some() {
        peer.set_endpoint(endpoint);
    }
    if let Some(seconds) = keepalive {
        peer.set_keepalive(Some(seconds).filter(|seconds| *seconds != 0));
    }
    if let Some(networks) = allowed_ips {
        peer.clear_allowed_ips();
        peer.add_allowed_ips(networks.iter().filter_map(|n| IpNetwork::new(n.address(), n.length()).ok()));
    }
}

async fn peers_of(device: &TunDevice) -> Vec<PeerStatus> {
    let stats = device.read(async |device| device.peers().await).await;
    let mut peers: Vec<PeerStatus> = stats
        .into_iter()
        .map(|entry| {
            let networks = entry.peer.allowed_ips.iter().filter_map(|n| Cidr::new(n.ip(), n.prefix()).ok());
            let mut allowed_ips: Vec<Cidr> = networks.map(Cidr::network).collect();
            allowed_ips.sort_unstable();
            PeerStatus {
                key: WireGuardKey(entry.peer.public_key.to_bytes()),
                endpoint: entry.peer.endpoint,
                keepalive: entry.peer.keepalive.filter(|seconds| *seconds != 0),
                allowed_ips,
                last_handshake: entry.stats.last_handshake,
                rx_bytes: entry.stats.rx_bytes as u64,
                tx_bytes: entry.stats.tx_bytes as u64,
            }
        })
        .collect();
    peers.sort_by_key(|peer| peer.key);
    peers
}

fn device_failed(error: DeviceError) -> WireGuardError {
    WireGuardError::Device(error.to_string())
}

fn bind_failed(error: DeviceError, port: u16) -> WireGuardError {
    match &error {
        DeviceError::Bind(source, _) if source.raw_os_error() == Some(libc::EADDRINUSE) => {
            WireGuardError::PortTaken(port)
        }
        _ => device_failed(error),
    }
}

impl WireGuard for UserSpace {
    fn backend(&self) -> Backend {
        Backend::UserSpace
    }

    fn apply<'a>(&'a mut self, desired: &'a DeviceConfig) -> BoxFuture<'a, Result<(), WireGuardError>> {
        Box::pin(self.apply_now(desired))
    }

    fn status(&mut self) -> BoxFuture<'_, Result<Vec<PeerStatus>, WireGuardError>> {
        Box::pin(async {
            match &self.running {
                Some(running) => Ok(peers_of(&running.device).await),
                None => Ok(Vec::new()),
            }
        })
    }

    fn remove(&mut self) -> BoxFuture<'_, Result<(), WireGuardError>> {
        Box::pin(self.stop())
    }
}
