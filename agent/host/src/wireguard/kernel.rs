//! WireGuard in the kernel: the interface by rtnetlink, keys and peers by its generic netlink family.

mod message;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use meadow_model::mesh::WireGuardKey;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_packet_wireguard::{WireguardAttribute, WireguardCmd, WireguardMessage};

use super::diff::{self, Endpoints};
use super::{Backend, DeviceConfig, PeerStatus, WireGuard, WireGuardError};
use crate::background::Background;
use crate::clock::{Clock, SystemClock};
use crate::links::{LinkError, Links};

/// A WireGuard interface of the kernel.
///
/// It stays when this value goes, so that the mesh outlives a restart of the agent.
pub struct Kernel {
    interface: String,
    links: Links,
    asked: Endpoints,
}

/// The kernel's device as it is now.
#[derive(Debug, Default, PartialEq, Eq)]
struct Device {
    /// The public half of its key; `None` where it has no key yet.
    key: Option<WireGuardKey>,
    listen_port: u16,
    peers: Vec<PeerStatus>,
}

impl Kernel {
    /// Makes the interface, or takes over the one that is there.
    ///
    /// # Errors
    /// [`WireGuardError::NotInKernel`] where the kernel cannot; the others where it could.
    pub async fn open(interface: &str) -> Result<Self, WireGuardError> {
        let links = Links::open()?;
        ensure_interface(&links, interface).await?;
        Ok(Self { interface: interface.to_owned(), links, asked: Endpoints::new() })
    }

    async fn apply_now(&mut self, desired: &DeviceConfig) -> Result<(), WireGuardError> {
        desired.validate()?;
        ensure_interface(&self.links, &self.interface).await?;
        let present = self.device().await?;
        let changes = diff::diff(&present.peers, &desired.peers, &self.asked);
        let key = (present.key != Some(desired.private_key.public_key())).then_some(&desired.private_key);
        let port = (present.listen_port != desired.listen_port).then_some(desired.listen_port);
        let port_taken = |error: WireGuardError| error.or_port_taken(desired.listen_port);
        for message in message::set_device(&self.interface, key, port, &changes) {
            request("set up WireGuard", message, NLM_F_ACK).await.map_err(port_taken)?;
        }
        self.asked = diff::endpoints(&desired.peers);
        let link = self.links.find(&self.interface).await?;
        // The socket is bound when the interface goes up, so this is where a taken port shows.
        self.links.set_up(&link, desired.mtu).await.map_err(WireGuardError::from).map_err(port_taken)?;
        Ok(self.links.set_addressing(&link, desired.address, &desired.networks()).await?)
    }

    async fn device(&self) -> Result<Device, WireGuardError> {
        let attributes = vec![WireguardAttribute::IfName(self.interface.clone())];
        let query = WireguardMessage { cmd: WireguardCmd::GetDevice, attributes };
        let answers = request("read the state of WireGuard", query, NLM_F_DUMP).await?;
        Ok(message::parse_device(answers, SystemClock.wall()))
    }
}

/// Sends one message, on a socket of its own as [`Links`] does, and gathers what comes back until the kernel says that
/// it is done.
async fn request(
    action: &'static str,
    message: WireguardMessage,
    flags: u16,
) -> Result<Vec<WireguardMessage>, WireGuardError> {
    let failed = |message: String| WireGuardError::Netlink { action, message, errno: None };
    let (connection, mut handle, _) = genetlink::new_connection().map_err(LinkError::Socket)?;
    let _background = Background::spawn(connection);
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(message));
    message.header.flags = NLM_F_REQUEST | flags;
    let mut answers = handle.request(message).await.map_err(|error| failed(error.to_string()))?;
    let mut messages = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer.map_err(|error| failed(error.to_string()))?.payload {
            NetlinkPayload::InnerMessage(message) => messages.push(message.payload),
            NetlinkPayload::Error(error) if error.code.is_some() => {
                let error = error.to_io();
                return Err(WireGuardError::Netlink {
                    action,
                    message: error.to_string(),
                    errno: error.raw_os_error(),
                });
            }
            _ => {}
        }
    }
    Ok(messages)
}

/// Makes the interface where it is missing; refuses one of another kind.
async fn ensure_interface(links: &Links, interface: &str) -> Result<(), WireGuardError> {
    let refused = match links.add_wireguard(interface).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match refused.errno() {
        Some(libc::EOPNOTSUPP) => Err(WireGuardError::NotInKernel),
        Some(libc::EEXIST) => {
            let kind = links.find(interface).await?.kind.unwrap_or_else(|| "a network card".to_owned());
            if kind == "wireguard" {
                return Ok(());
            }
            Err(WireGuardError::NameTaken { interface: interface.to_owned(), kind })
        }
        _ => Err(refused.into()),
    }
}

impl WireGuard for Kernel {
    fn backend(&self) -> Backend {
        Backend::Kernel
    }

    fn apply<'a>(&'a mut self, desired: &'a DeviceConfig) -> BoxFuture<'a, Result<(), WireGuardError>> {
        Box::pin(self.apply_now(desired))
    }

    fn status(&mut self) -> BoxFuture<'_, Result<Vec<PeerStatus>, WireGuardError>> {
        Box::pin(async { Ok(self.device().await?.peers) })
    }

    fn remove(&mut self) -> BoxFuture<'_, Result<(), WireGuardError>> {
        Box::pin(async {
            self.asked.clear();
            Ok(self.links.remove(&self.interface).await?)
        })
    }
}
