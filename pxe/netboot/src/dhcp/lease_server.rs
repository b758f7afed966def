//! The DHCP server (RFC 2131): datagrams in, datagrams and changes for the disk out.

mod exchange;
mod probing;
mod records;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dhcproto::v4::MessageType;

use super::client_key::ClientKey;
use super::datagram::{Receive, Transmit};
use super::engine::{Policy, ProxyDhcp};
use super::lease::LeaseRecord;
use super::lease_config::{LeaseConfig, LeaseConfigError};
use super::lease_reply::LeaseReply;
use super::lease_request::{LeaseMessage, LeaseRequest};
use super::lease_table::LeaseTable;
use super::request::{Request, RequestError, client_header};
use super::silence::Silence;
use super::subnet::Subnet;
use crate::event::Note;

/// How long an address that nobody uses counts as such.
const QUIET_FOR: Duration = Duration::from_secs(600);
/// How many candidates are looked at for one that was found quiet.
const AHEAD: usize = 8;

/// What one datagram leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseOutcome {
    /// What must be on disk before the reply is sent.
    pub record: Option<LeaseRecord>,
    /// The reply, if there is one.
    pub reply: Option<Transmit>,
    /// Why there is none; also `None` for a message that asks for no reply.
    pub silence: Option<Silence>,
    /// What the reply says of an address, if it does.
    pub answer: Option<LeaseAnswer>,
    /// What happened, for the event log.
    pub notes: Vec<Note>,
}

/// What a reply says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is offered.
    Offered,
    /// The client has it.
    Given,
    /// The client may not have it.
    Refused,
}

/// The DHCP server of all interfaces, and of the relays that its settings name.
#[derive(Debug)]
pub struct LeaseServer {
    subnets: Vec<(Subnet, LeaseTable)>,
    /// Our own addresses by interface: a subnet that holds one is on that wire.
    homes: BTreeMap<String, Ipv4Addr>,
    said_empty: Option<Duration>,
}

/// One request with where it came from.
struct Turn<'a> {
    now: Duration,
    rx: &'a Receive,
    request: &'a LeaseRequest,
}

impl LeaseServer {
    /// Starts without leases.
    ///
    /// # Errors
    /// When the settings can never work.
    pub fn new(configs: &[LeaseConfig]) -> Result<Self, LeaseConfigError> {
        let mut subnets: Vec<(Subnet, LeaseTable)> = Vec::new();
        for config in configs {
            let subnet = Subnet::new(config)?;
            if subnets.iter().any(|(other, _)| other.overlaps(&subnet)) {
                return Err(LeaseConfigError::Overlap(config.subnet.clone()));
            }
            let table = LeaseTable::new(subnet.pool());
            subnets.push((subnet, table));
        }
        Ok(Self { subnets, homes: BTreeMap::new(), said_empty: None })
    }

    /// Whether one of the subnets holds this address of an interface.
    #[must_use]
    pub fn serves(&self, own: Ipv4Addr) -> bool {
        self.subnets.iter().any(|(subnet, _)| subnet.is_host(own))
    }

    /// Takes in the address that an interface has now.
    pub fn set_home(&mut self, interface: &str, address: Option<Ipv4Addr>) {
        match address {
            Some(address) => self.homes.insert(interface.to_owned(), address),
            None => self.homes.remove(interface),
        };
    }

    /// Whether somebody who came to this address of ours by this interface may be served: one of another interface says
    /// nothing of the wire that he is on, unless both are in one subnet. Then both may be on one wire, where either card
    /// takes what is for the other one's address.
    #[must_use]
    pub fn serves_on(&self, interface: &str, own: Ipv4Addr) -> bool {
        let Some((subnet, _)) = self.subnets.iter().find(|(subnet, _)| subnet.is_host(own)) else { return false };
        let is_here = self.homes.get(interface).is_some_and(|home| subnet.is_host(*home));
        is_here || !self.homes.iter().any(|(other, home)| other != interface && *home == own)
    }

    /// Whether an address is our own on some interface.
    fn is_ours(&self, address: Ipv4Addr) -> bool {
        self.homes.values().any(|home| *home == address)
    }

    /// Handles one datagram that came to port 67. It never panics. The boot server adds the boot file where its policy
    /// has one for the machine: the client gets one offer with both.
    ///
    /// `now` is monotonic. The reply is to be sent only after the record is on disk.
    pub fn handle(
        &mut self,
        now: Duration,
        rx: &Receive,
        bytes: &[u8],
        boot: &mut ProxyDhcp,
        policy: &dyn Policy,
    ) -> LeaseOutcome {
        let mut outcome = LeaseOutcome::default();
        let Some(mut request) = LeaseRequest::parse(bytes) else {
            let is_malformed = matches!(client_header(bytes), Err(RequestError::Malformed));
            let silence = if is_malformed { Silence::Malformed } else { Silence::NotForUs };
            return LeaseOutcome { silence: Some(silence), ..outcome };
        };
        let Some(at) = self.subnet_of(&request, rx) else {
            return LeaseOutcome { silence: Some(Silence::NotForUs), ..outcome };
        };
        // A reservation is the card's: its firmware and its system get the same address.
        if self.subnets[at].0.reserved_for(request.mac).is_some() {
            request.client = ClientKey::new(request.mac, &[]);
        }
        let turn = Turn { now, rx, request: &request };
        let answer = match request.kind {
            LeaseMessage::Discover => self.discover(at, &turn, &mut outcome),
            LeaseMessage::Request => self.request(at, &turn, &mut outcome),
            LeaseMessage::Inform => {
                let is_ours = self.subnets[at].0.is_host(request.ciaddr);
                is_ours.then_some((MessageType::Ack, Ipv4Addr::UNSPECIFIED))
            }
            LeaseMessage::Decline => self.decline(at, &turn, &mut outcome),
            LeaseMessage::Release => self.release(at, &turn, &mut outcome),
        };
        let Some((kind, address)) = answer else {
            let is_told_only = matches!(request.kind, LeaseMessage::Decline | LeaseMessage::Release);
            outcome.silence = outcome.silence.or((!is_told_only).then_some(Silence::NotForUs));
            return outcome;
        };
        outcome.answer = match (kind, request.kind) {
            (MessageType::Offer, _) => Some(LeaseAnswer::Offered),
            (MessageType::Nak, _) => Some(LeaseAnswer::Refused),
            (_, LeaseMessage::Request) => Some(LeaseAnswer::Given),
            _ => None,
        };
        let boot = match (kind, Request::parse(bytes)) {
            (MessageType::Offer | MessageType::Ack, Ok(request)) => {
                boot.boot_part(now, rx, &request, kind, policy, &mut outcome.notes)
            }
            _ => None,
        };
        let subnet = (kind != MessageType::Nak).then_some(&self.subnets[at].0);
        let reply = LeaseReply { request: &request, kind, server: rx.address, address, subnet, boot };
        let destination = destination(&turn, kind);
        let transmit = |payload| Transmit { payload, also: None, source_port: rx.port, destination };
        outcome.reply = reply.encode().map(transmit);
        outcome
    }

    /// The subnet that the client is in.
    fn subnet_of(&self, request: &LeaseRequest, rx: &Receive) -> Option<usize> {
        let at = self.named_subnet(request, rx)?;
        // Whoever is on the wire of another of our interfaces is served there, or on purpose not.
        let subnet = &self.subnets[at].0;
        let is_elsewhere = !subnet.is_host(rx.address) && self.homes.values().any(|home| subnet.is_host(*home));
        (!is_elsewhere).then_some(at)
    }

    /// The subnet that relay, client or our own address names.
    fn named_subnet(&self, request: &LeaseRequest, rx: &Receive) -> Option<usize> {
        let holds = |address: Ipv4Addr| self.subnets.iter().position(|(subnet, _)| subnet.is_host(address));
        if !request.giaddr.is_unspecified() {
            // Only relays in subnets that the settings name: nobody else can make us send anywhere.
            return holds(request.giaddr);
        }
        let source = *rx.source.ip();
        // A client behind a relay renews without it.
        let renews = !request.ciaddr.is_unspecified() && request.ciaddr == source;
        if rx.is_far && !renews {
            // From beyond a router, for a broadcast on our link.
            return None;
        }
        renews.then(|| holds(source)).flatten().or_else(|| holds(rx.address))
    }
}

/// RFC 2131, 4.1.
fn destination(turn: &Turn<'_>, kind: MessageType) -> SocketAddrV4 {
    let request = turn.request;
    let source = *turn.rx.source.ip();
    if !request.giaddr.is_unspecified() {
        SocketAddrV4::new(request.giaddr, 67)
    } else if kind == MessageType::Ack && !request.ciaddr.is_unspecified() && request.ciaddr == source {
        SocketAddrV4::new(source, 68)
    } else {
        SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)
    }
}
