//! The mesh interface: WireGuard in the kernel where it has it, else in this process.
//!
//! Both implementations are level-triggered: [`WireGuard::apply`] compares what is with what is wanted and changes only
//! the difference, so that sessions of peers that stay are never interrupted.

mod config;
mod diff;
mod kernel;
mod key;
mod user_space;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use meadow_model::mesh::WireGuardKey;

pub use config::{DeviceConfig, InvalidConfig, PeerConfig};
pub use kernel::Kernel;
pub use key::PrivateKey;
pub use user_space::UserSpace;

use crate::Cidr;
use crate::links::LinkError;

/// After this long without a handshake a session cannot be used any more (`REJECT_AFTER_TIME`).
pub const SESSION_LIFETIME: Duration = Duration::from_secs(180);

/// A WireGuard interface.
///
/// Its calls are not meant to run at the same time, hence `&mut`.
pub trait WireGuard: Send {
    /// Which implementation this is.
    fn backend(&self) -> Backend;

    /// Brings interface, key, port, addresses, routes and peers to `desired`, whatever they were. The interface is made
    /// where it is missing; peers that are not in `desired` are removed; a peer's endpoint is left where it roamed to,
    /// unless `desired` changed or its session is dead.
    fn apply<'a>(&'a mut self, desired: &'a DeviceConfig) -> BoxFuture<'a, Result<(), WireGuardError>>;

    /// The peers as they are, by key.
    fn status(&mut self) -> BoxFuture<'_, Result<Vec<PeerStatus>, WireGuardError>>;

    /// Removes the interface; no error where there is none.
    fn remove(&mut self) -> BoxFuture<'_, Result<(), WireGuardError>>;
}

/// Where packets are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In the kernel.
    Kernel,
    /// In this process, through a TUN device.
    UserSpace,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::UserSpace => "user space",
        })
    }
}

/// A peer as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its public key.
    pub key: WireGuardKey,
    /// Where it was heard from last, or where it is expected to be.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives, where they are on.
    pub keepalive: Option<u16>,
    /// What may come from it and is sent to it, sorted.
    pub allowed_ips: Vec<Cidr>,
    /// Time since the last completed handshake. The kernel keeps it in wall-clock time: when the clock was set since,
    /// this is off by as much until the next one.
    pub last_handshake: Option<Duration>,
    /// Bytes received from it.
    pub rx_bytes: u64,
    /// Bytes sent to it.
    pub tx_bytes: u64,
}

impl PeerStatus {
    /// Whether there is a session that both ends can still use.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.last_handshake.is_some_and(|age| age < SESSION_LIFETIME)
    }
}

/// The mesh interface could not be brought to what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum WireGuardError {
    /// The wish itself contradicts itself.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
    /// The kernel has no WireGuard.
    #[error("this kernel has no WireGuard (module wireguard): use the implementation in user space")]
    NotInKernel,
    /// An interface of that name is something else.
    #[error(
        "{interface} exists and is {kind}, not a WireGuard interface of this process; stop what made it, or remove it with `ip link delete {interface}`"
    )]
    NameTaken {
        /// The interface.
        interface: String,
        /// What it is.
        kind: String,
    },
    /// The UDP port is in use.
    #[error("UDP port {0} is taken by another program; `ss -lunp` shows which: stop it, or configure another port")]
    PortTaken(u16),
    /// No TUN device.
    #[error(
        "cannot make the TUN device {interface}: {source}; load the module `tun` and allow /dev/net/tun and CAP_NET_ADMIN"
    )]
    Tun {
        /// The interface.
        interface: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// WireGuard's own netlink family failed.
    #[error("cannot {action} in the kernel: {message}; run as root, or with CAP_NET_ADMIN")]
    Netlink {
        /// What was tried.
        action: &'static str,
        /// What was said.
        message: String,
        /// The error number where there is one.
        errno: Option<i32>,
    },
    /// The implementation in user space failed.
    #[error("WireGuard in user space failed: {0}")]
    Device(String),
    /// Addresses, routes or the interface itself.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl WireGuardError {
    /// Names the port, where that is what the system refused.
    fn or_port_taken(self, port: u16) -> Self {
        let errno = match &self {
            Self::Netlink { errno, .. } => *errno,
            Self::Link(error) => error.errno(),
            _ => None,
        };
        if errno == Some(libc::EADDRINUSE) { Self::PortTaken(port) } else { self }
    }
}

/// Opens the interface, in the kernel where that works, else in user space.
///
/// The kernel is asked by really making the interface, since a module may be missing, blacklisted or not for this
/// architecture, and only that tells.
///
/// # Errors
/// [`WireGuardError`] where neither works.
pub async fn open(interface: &str) -> Result<Box<dyn WireGuard>, WireGuardError> {
    match Kernel::open(interface).await {
        Ok(kernel) => {
            tracing::info!(interface, "WireGuard in the kernel");
            Ok(Box::new(kernel))
        }
        Err(WireGuardError::NotInKernel) => {
            let user_space = UserSpace::open(interface).await?;
            tracing::info!(interface, "WireGuard in user space: this kernel has none");
            Ok(Box::new(user_space))
        }
        Err(error) => Err(error),
    }
}
