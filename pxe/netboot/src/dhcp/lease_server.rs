//! The DHCP server (RFC 2131): datagrams in, datagrams and changes for the disk out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dhcproto::v4::MessageType;

use super::client_key::ClientKey;
use super::datagram::{Receive, Transmit};
use super::engine::{Policy, ProxyDhcp};
use super::lease::{Holder, Lease, LeaseRecord};
use super::lease_config::{LeaseConfig, LeaseConfigError};
use super::lease_reply::LeaseReply;
use super::lease_request::{LeaseMessage, LeaseRequest};
use super::lease_table::LeaseTable;
use super::lease_view::LeaseView;
use super::request::{Request, RequestError, client_header};
use super::silence::Silence;
use super::subnet::{MAX_LEASE, Subnet};
use crate::event::{EventKind, Note};

/// How long an offered address waits for its client.
const OFFER_HOLD: Duration = Duration::from_secs(30);
/// How long an address that somebody uses without a lease is not given out.
const SET_ASIDE: Duration = Duration::from_secs(600);
/// How often it is said that no address is left.
const EMPTY_REPEAT: Duration = Duration::from_secs(60);
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

    /// Takes a lease over from the disk; a later one of the same address or client replaces an earlier one. Addresses
    /// that no subnet has any more are left out.
    pub fn restore(&mut self, now: Duration, record: LeaseRecord) {
        let Some((_, table)) = self.subnets.iter_mut().find(|(subnet, _)| subnet.is_host(record.address)) else {
            return;
        };
        // Not by the settings of now: the client was told another time.
        let longest = Duration::from_secs(MAX_LEASE.into());
        let holder = record.client.map_or(Holder::Stranger, Holder::Bound);
        table.put(record.address, Lease { holder, until: now + record.remaining.min(longest) }, now);
    }

    /// All leases as they are to be found on the disk.
    #[must_use]
    pub fn records(&self, now: Duration) -> Vec<LeaseRecord> {
        let record = |(address, lease): (Ipv4Addr, &Lease)| LeaseRecord {
            address,
            client: lease.client().cloned(),
            remaining: lease.until.saturating_sub(now),
        };
        self.subnets.iter().flat_map(|(_, table)| table.lasting().map(record)).collect()
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
        renews.then(|| holds(source)).flatten().or_else(|| holds(rx.address))
    }

    fn discover(&mut self, at: usize, turn: &Turn<'_>, outcome: &mut LeaseOutcome) -> Option<(MessageType, Ipv4Addr)> {
        let Some(address) = self.choose(at, turn) else {
            outcome.silence = Some(Silence::PoolEmpty);
            self.say_empty(at, turn, outcome);
            return None;
        };
        let table = &mut self.subnets[at].1;
        // A lease that goes on is not shortened by an offer of it.
        let goes_on = table.get(address).is_some_and(|lease| lease.is_active(turn.now));
        if !goes_on {
            let holder = Holder::Offered(turn.request.client.clone());
            table.put(address, Lease { holder, until: turn.now + OFFER_HOLD }, turn.now);
        }
        Some((MessageType::Offer, address))
    }

    /// The address for a client: its reservation, its former one, the one it asks for, one that nobody ever had, the
    /// one that ended first.
    fn choose(&self, at: usize, turn: &Turn<'_>) -> Option<Ipv4Addr> {
        let (subnet, table) = &self.subnets[at];
        let client = &turn.request.client;
        let former = table.address_of(client);
        for address in [subnet.reserved_for(client.mac()), former, turn.request.requested].into_iter().flatten() {
            if self.may_have(at, turn, address) {
                return Some(address);
            }
        }
        let servers = [turn.rx.address, turn.request.giaddr];
        let usable =
            |address: &Ipv4Addr| subnet.is_pooled(*address) && !servers.contains(address) && !self.is_ours(*address);
        let candidates = || table.candidates(turn.now).filter(usable);
        let is_quiet = |address: &Ipv4Addr| table.quiet_for(*address, turn.now).is_some_and(|age| age < QUIET_FOR);
        // A probe takes seconds, and an offer waits for none: one that was probed before is better.
        candidates().take(AHEAD).find(is_quiet).or_else(|| candidates().next())
    }

    fn may_have(&self, at: usize, turn: &Turn<'_>, address: Ipv4Addr) -> bool {
        let (subnet, table) = &self.subnets[at];
        let client = &turn.request.client;
        subnet.allows(client.mac(), address)
            && !self.is_ours(address)
            && address != turn.rx.address
            && address != turn.request.giaddr
            && table.is_free_for(client, address, turn.now)
    }

    /// RFC 2131, 4.3.2.
    fn request(&mut self, at: usize, turn: &Turn<'_>, outcome: &mut LeaseOutcome) -> Option<(MessageType, Ipv4Addr)> {
        let request = turn.request;
        let known = self.subnets[at].1.address_of(&request.client);
        let (address, may_be_new) = match (request.server_id, request.requested) {
            // SELECTING another server: the offered address is free again. One of our own addresses answers by itself.
            (Some(server), _) if server != turn.rx.address => {
                if !self.is_ours(server) {
                    self.forget_offer(at, turn);
                }
                return None;
            }
            (Some(_), Some(address)) if request.ciaddr.is_unspecified() => (address, true),
            // INIT-REBOOT.
            (None, Some(address)) if request.ciaddr.is_unspecified() => (address, false),
            // RENEWING and REBINDING: nobody else serves here, so a lease that we lost is given again.
            _ if !request.ciaddr.is_unspecified() => (request.ciaddr, true),
            _ => return None,
        };
        let subnet = &self.subnets[at].0;
        if !subnet.contains(address) {
            return Some(self.refuse(turn, address, "it belongs to another network", outcome));
        }
        // A client of whom there is no record is not ours to refuse.
        if known.is_none() && !may_be_new {
            return None;
        }
        if !may_be_new && !self.subnets[at].1.belongs_to(&request.client, address) {
            return Some(self.refuse(turn, address, "it is not the client's own", outcome));
        }
        if subnet
            .reserved_for(request.mac)
            .is_some_and(|reserved| reserved != address && self.may_have(at, turn, reserved))
        {
            return Some(self.refuse(turn, address, "another one is reserved for it", outcome));
        }
        if !self.may_have(at, turn, address) {
            return Some(self.refuse(turn, address, "it is not free for it", outcome));
        }
        self.bind(at, turn, address, outcome);
        Some((MessageType::Ack, address))
    }

    fn bind(&mut self, at: usize, turn: &Turn<'_>, address: Ipv4Addr, outcome: &mut LeaseOutcome) {
        let (subnet, table) = &mut self.subnets[at];
        let client = turn.request.client.clone();
        let remaining = Duration::from_secs(subnet.config.lease_seconds.into());
        let holder = Holder::Bound(client.clone());
        let renewed = table.get(address).is_some_and(|lease| lease.holder == holder && lease.is_active(turn.now));
        table.put(address, Lease { holder, until: turn.now + remaining }, turn.now);
        if let Some(name) = &turn.request.hostname {
            table.set_name(address, name);
        }
        outcome.record = Some(LeaseRecord { address, client: Some(client), remaining });
        if !renewed {
            let kind = EventKind::Leased { address, seconds: subnet.config.lease_seconds };
            outcome.notes.push(note(turn, Some(address), kind));
        }
    }

    fn refuse(
        &self,
        turn: &Turn<'_>,
        address: Ipv4Addr,
        why: &str,
        outcome: &mut LeaseOutcome,
    ) -> (MessageType, Ipv4Addr) {
        let message = format!("the client may not have {address}: {why}; it asks for another one by itself");
        outcome.notes.push(note(turn, None, EventKind::Server { message }));
        (MessageType::Nak, Ipv4Addr::UNSPECIFIED)
    }

    fn forget_offer(&mut self, at: usize, turn: &Turn<'_>) {
        let table = &mut self.subnets[at].1;
        let Some(address) = table.address_of(&turn.request.client) else { return };
        let holder = Holder::Offered(turn.request.client.clone());
        if table.get(address).is_some_and(|lease| lease.holder == holder) {
            table.put(address, Lease { holder, until: turn.now }, turn.now);
        }
    }

    /// The client found somebody else at its address.
    fn decline(&mut self, at: usize, turn: &Turn<'_>, outcome: &mut LeaseOutcome) -> Option<(MessageType, Ipv4Addr)> {
        let address = turn.request.requested?;
        let is_theirs = self.subnets[at].1.belongs_to(&turn.request.client, address);
        if is_theirs && turn.request.server_id == Some(turn.rx.address) {
            let what = format!(
                "another device uses {address}, as its client found; it is set aside for 10 minutes: find that device \
                 (`arping {address}`) and give it an address outside the pool"
            );
            outcome.record = Some(self.set_aside(at, turn.now, address));
            outcome.notes.push(note(turn, None, EventKind::Conflict { what }));
        }
        None
    }

    fn set_aside(&mut self, at: usize, now: Duration, address: Ipv4Addr) -> LeaseRecord {
        self.subnets[at].1.put(address, Lease { holder: Holder::Stranger, until: now + SET_ASIDE }, now);
        LeaseRecord { address, client: None, remaining: SET_ASIDE }
    }

    /// The client needs its address no more; it gets the same one when it comes again.
    fn release(&mut self, at: usize, turn: &Turn<'_>, outcome: &mut LeaseOutcome) -> Option<(MessageType, Ipv4Addr)> {
        let address = turn.request.ciaddr;
        let client = turn.request.client.clone();
        let table = &mut self.subnets[at].1;
        let is_theirs = table.belongs_to(&client, address);
        if is_theirs && turn.request.server_id.is_none_or(|server| server == turn.rx.address) {
            table.put(address, Lease { holder: Holder::Bound(client.clone()), until: turn.now }, turn.now);
            outcome.record = Some(LeaseRecord { address, client: Some(client), remaining: Duration::ZERO });
        }
        None
    }

    /// Everything that is known of addresses, in their order, with the reservations that were never used.
    #[must_use]
    pub fn views(&self, now: Duration) -> Vec<LeaseView> {
        let of_subnet = |(subnet, table): &(Subnet, LeaseTable)| {
            let unused = subnet.reservations().filter(|(address, _)| table.get(*address).is_none());
            let mut views: Vec<_> = unused.map(|(address, mac)| LeaseView::reservation(address, mac)).collect();
            views.extend(table.all().map(|(address, lease)| {
                let mac = lease.client().map(ClientKey::mac);
                let reserved = mac.is_some_and(|mac| subnet.reserved_for(mac) == Some(address));
                LeaseView::of(address, lease, table.name_of(address), reserved, now)
            }));
            views
        };
        let mut views: Vec<_> = self.subnets.iter().flat_map(of_subnet).collect();
        views.sort_by_key(|view| view.address);
        views
    }

    /// Ends whatever is known of an address now: the record is for the disk. `None` where nobody has it.
    pub fn end(&mut self, now: Duration, address: Ipv4Addr) -> Option<LeaseRecord> {
        let (_, table) = self.subnets.iter_mut().find(|(subnet, _)| subnet.is_host(address))?;
        let holder = table.get(address).filter(|lease| lease.is_active(now))?.holder.clone();
        let client = match &holder {
            Holder::Offered(client) | Holder::Bound(client) => Some(client.clone()),
            Holder::Stranger => None,
        };
        table.put(address, Lease { holder, until: now }, now);
        Some(LeaseRecord { address, client, remaining: Duration::ZERO })
    }

    /// The lease of an address as it is to be found on the disk; `None` where nobody has it now.
    #[must_use]
    pub fn active_record(&self, now: Duration, address: Ipv4Addr) -> Option<LeaseRecord> {
        let (_, table) = self.subnets.iter().find(|(subnet, _)| subnet.is_host(address))?;
        let lease = table.get(address).filter(|lease| lease.is_active(now))?;
        let is_offer = matches!(lease.holder, Holder::Offered(_));
        (!is_offer).then(|| LeaseRecord { address, client: lease.client().cloned(), remaining: lease.until - now })
    }

    fn say_empty(&mut self, at: usize, turn: &Turn<'_>, outcome: &mut LeaseOutcome) {
        if self.said_empty.is_some_and(|said| turn.now.saturating_sub(said) < EMPTY_REPEAT) {
            return;
        }
        self.said_empty = Some(turn.now);
        let config = &self.subnets[at].0.config;
        let why = format!(
            "no address is left in the pool {} of {}; make the pool larger or the leases shorter",
            config.pool, config.subnet
        );
        outcome.notes.push(note(turn, None, EventKind::Failed { file: String::new(), why }));
    }

    /// The addresses of the interface's own subnet that are given out next and were not looked at lately: the caller
    /// asks by ARP who uses them, and tells [`Self::found`].
    #[must_use]
    pub fn to_probe(&self, now: Duration, own: Ipv4Addr) -> Vec<Ipv4Addr> {
        let Some((subnet, table)) = self.subnets.iter().find(|(subnet, _)| subnet.is_host(own)) else {
            return Vec::new();
        };
        let is_due = |address: &Ipv4Addr| table.quiet_for(*address, now).is_none_or(|age| age > QUIET_FOR / 2);
        let usable = |address: &Ipv4Addr| subnet.is_pooled(*address) && *address != own && !self.is_ours(*address);
        table.candidates(now).filter(usable).take(AHEAD).filter(is_due).collect()
    }

    /// Takes in who answered for an address that was probed. A stranger's address is set aside, and one whose client
    /// goes on with it after the end of its lease is kept for it as long: the record is for the disk.
    pub fn found(
        &mut self,
        now: Duration,
        address: Ipv4Addr,
        user: Option<meadow_model::MacAddress>,
    ) -> Option<LeaseRecord> {
        let at = self.subnets.iter().position(|(subnet, _)| subnet.is_host(address))?;
        let table = &mut self.subnets[at].1;
        let Some(user) = user else {
            table.set_quiet(address, now);
            return None;
        };
        let lease = table.get(address);
        // Its last client may still be there; and whom it was given to meanwhile is none of a stranger.
        let client = lease.and_then(Lease::client).filter(|client| client.mac() == user).cloned();
        let is_active = lease.is_some_and(|lease| lease.is_active(now));
        let is_bound = lease.is_some_and(|lease| matches!(lease.holder, Holder::Bound(_)));
        if is_active && (is_bound || client.is_some()) {
            return None;
        }
        match client.filter(|client| table.address_of(client) == Some(address)) {
            Some(client) => {
                let holder = Holder::Bound(client.clone());
                table.put(address, Lease { holder, until: now + SET_ASIDE }, now);
                Some(LeaseRecord { address, client: Some(client), remaining: SET_ASIDE })
            }
            None => Some(self.set_aside(at, now, address)),
        }
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

fn note(turn: &Turn<'_>, address: Option<Ipv4Addr>, kind: EventKind) -> Note {
    Note { mac: Some(turn.request.mac), firmware: None, address: address.map(IpAddr::V4), kind }
}
