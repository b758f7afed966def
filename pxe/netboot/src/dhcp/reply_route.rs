//! Which requests are for a boot server, and where the reply goes.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::MessageType;

use super::datagram::{Receive, ServerPort};
use super::request::{MessageKind, Request};

const CLIENT_PORT: u16 = 68;
const RELAY_PORT: u16 = 67;

/// Type and destination of a reply.
pub(super) struct ReplyRoute {
    pub(super) kind: MessageType,
    pub(super) destination: SocketAddrV4,
    /// Whether it goes to a relay.
    pub(super) is_relayed: bool,
    /// Whether nothing shows that somebody is there: a relay that sends from another address than the one it wrote in.
    pub(super) is_unproved: bool,
}

impl ReplyRoute {
    /// `None` if the request is not for a boot server.
    pub(super) fn of(request: &Request, rx: &Receive) -> Option<Self> {
        let kind = reply_kind(request, rx)?;
        let destination = reply_destination(request, rx, kind)?;
        let is_relayed = rx.port == ServerPort::Dhcp && !request.giaddr.is_unspecified();
        let is_unproved = is_relayed && destination.ip() != rx.source.ip();
        Some(Self { kind, destination, is_relayed, is_unproved })
    }
}

fn reply_kind(request: &Request, rx: &Receive) -> Option<MessageType> {
    match (rx.port, request.kind) {
        (ServerPort::Dhcp, MessageKind::Discover) => Some(MessageType::Offer),
        // A REQUEST on port 67 is for the router, even if a client took our offer for a lease: there
        // is nothing to acknowledge. The one exception asks for a boot item (PXE 2.1, 2.2.3).
        (ServerPort::Dhcp, MessageKind::Request) => {
            let is_for_us = request.boot_item && request.server_id.is_none_or(|server| server == rx.address);
            is_for_us.then_some(MessageType::Ack)
        }
        (_, MessageKind::Inform) | (ServerPort::BootServer, MessageKind::Request) => Some(MessageType::Ack),
        (ServerPort::BootServer, MessageKind::Discover) => None,
    }
}

/// RFC 2131, 4.1; on port 4011 the sender itself (PXE 2.1, 2.4.3).
fn reply_destination(request: &Request, rx: &Receive, kind: MessageType) -> Option<SocketAddrV4> {
    let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
    let source = *rx.source.ip();
    match rx.port {
        ServerPort::BootServer if source.is_unspecified() => Some(broadcast),
        ServerPort::BootServer => Some(rx.source),
        // Many relays send from the address nearest to us, and hear at the one they wrote in. Our own would be a loop.
        ServerPort::Dhcp if !request.giaddr.is_unspecified() => {
            let is_relay = is_host(request.giaddr) && request.giaddr != rx.address;
            is_relay.then_some(SocketAddrV4::new(request.giaddr, RELAY_PORT))
        }
        ServerPort::Dhcp if kind == MessageType::Ack && request.ciaddr == source && is_host(source) => {
            Some(SocketAddrV4::new(source, CLIENT_PORT))
        }
        // Who is on the link can shout himself. From elsewhere one request would be a shout, or two, on ours.
        ServerPort::Dhcp => (!rx.is_far).then_some(broadcast),
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}
