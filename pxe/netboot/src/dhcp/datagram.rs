//! What goes into the engine and what comes out.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::silence::Silence;
use crate::event::Note;

/// Which of our ports a datagram came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPort {
    /// UDP 67.
    Dhcp,
    /// UDP 4011, the PXE boot server port.
    BootServer,
}

impl ServerPort {
    /// The port's number; replies must come from the port that was asked.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Dhcp => 67,
            Self::BootServer => 4011,
        }
    }
}

/// Where a datagram came from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receive {
    /// Our port.
    pub port: ServerPort,
    /// Our address on the receiving interface.
    pub address: Ipv4Addr,
    /// The sender.
    pub source: SocketAddrV4,
    /// Whether the sender has an address, and none of this link: a router passed the datagram on.
    pub is_far: bool,
}

/// A datagram to send, or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The datagram.
    pub payload: Vec<u8>,
    /// The same offer in its other form, to send right behind it.
    pub also: Option<Vec<u8>>,
    /// The port to send it from.
    pub source_port: ServerPort,
    /// Where to; the limited broadcast address goes out of the receiving interface.
    pub destination: SocketAddrV4,
}

/// What one datagram leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The reply, if there is one.
    pub reply: Option<Transmit>,
    /// Why there is none.
    pub silence: Option<Silence>,
    /// What happened, for the event log.
    pub notes: Vec<Note>,
}
