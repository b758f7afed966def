//! What clients are answered: offers, leases and refusals.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use dhcproto::v4::MessageType;

use super::{AHEAD, LeaseOutcome, LeaseServer, QUIET_FOR, Turn};
use crate::dhcp::lease::{Holder, Lease, LeaseRecord};
use crate::dhcp::silence::Silence;
use crate::event::{EventKind, Note};

/// How long an offered address waits for its client.
const OFFER_HOLD: Duration = Duration::from_secs(30);
/// How often it is said that no address is left.
const EMPTY_REPEAT: Duration = Duration::from_secs(60);

impl LeaseServer {
    pub(super) fn discover(
        &mut self,
        at: usize,
        turn: &Turn<'_>,
        outcome: &mut LeaseOutcome,
    ) -> Option<(MessageType, Ipv4Addr)> {
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
    pub(super) fn request(
        &mut self,
        at: usize,
        turn: &Turn<'_>,
        outcome: &mut LeaseOutcome,
    ) -> Option<(MessageType, Ipv4Addr)> {
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
    pub(super) fn decline(
        &mut self,
        at: usize,
        turn: &Turn<'_>,
        outcome: &mut LeaseOutcome,
    ) -> Option<(MessageType, Ipv4Addr)> {
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

    /// The client needs its address no more; it gets the same one when it comes again.
    pub(super) fn release(
        &mut self,
        at: usize,
        turn: &Turn<'_>,
        outcome: &mut LeaseOutcome,
    ) -> Option<(MessageType, Ipv4Addr)> {
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
}

fn note(turn: &Turn<'_>, address: Option<Ipv4Addr>, kind: EventKind) -> Note {
    Note { mac: Some(turn.request.mac), firmware: None, address: address.map(IpAddr::V4), kind }
}
