//! The proxyDHCP server: datagrams in, datagrams and events out.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dhcproto::v4::MessageType;

use super::memory::{Exchange, MachineView, Memory, STAGE_LIFETIME};
use super::reply::Reply;
use super::request::{MessageKind, Request, VendorClass};
use crate::arch::Firmware;
use crate::event::{EventKind, Note, OfferForm, Transport};
use crate::mac::MacAddr;
use crate::policy::{BootDecision, BootPolicy, ClientKind, Sighting};
use crate::route;

const CLIENT_PORT: u16 = 68;

/// How often it is said that a machine is being ignored.
const IGNORED_REPEAT: Duration = Duration::from_secs(60);

/// How long a machine has from fetching our boot loader to that loader's own DHCP request.
const LOADER_START: Duration = Duration::from_secs(120);

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
    pub fn number(self) -> u16 {
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
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The datagram.
    pub payload: Vec<u8>,
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
    /// What happened, for the event log.
    pub notes: Vec<Note>,
}

/// What the boot server must be told from outside. Both are asked often and must be quick.
pub trait Policy {
    /// What to do with a machine.
    fn decide(&self, sighting: &Sighting) -> BootDecision;
    /// Whether an artifact is there and was checked, so that it may be offered.
    fn is_ready(&self, artifact: &str) -> bool;
}

/// Fixed facts of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// TCP port of the boot files' HTTP server.
    pub http_port: u16,
}

/// The proxyDHCP server of one interface.
#[derive(Debug)]
pub struct ProxyDhcp {
    config: ServerConfig,
    memory: Memory,
}

/// What a machine is to be given.
struct Answer {
    file: String,
    artifact: Option<&'static str>,
    form: OfferForm,
}

impl ProxyDhcp {
    /// Starts without any memory of machines.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self { config, memory: Memory::default() }
    }

    /// Handles one datagram. It never panics, and replies only to requests of PXE, HTTP boot or
    /// Meadow clients that the policy lets boot.
    pub fn handle(&mut self, now: Duration, rx: &Receive, bytes: &[u8], policy: &dyn Policy) -> Outcome {
        let mut outcome = Outcome::default();
        let Ok(request) = Request::parse(bytes) else { return outcome };
        self.learn_address(&request);
        let Some(client) = request.client() else { return outcome };
        let Some((kind, destination)) = reply_route(&request, rx) else { return outcome };
        self.sight(now, &request, client, &mut outcome.notes);

        let sighting = Sighting { mac: request.mac, firmware: request.firmware, client, uuid: request.uuid() };
        let decision = policy.decide(&sighting);
        let answer = match self.answer(now, rx.address, &sighting, decision) {
            Ok(answer) => answer,
            Err(why) => {
                self.say_ignored(now, &request, why, &mut outcome.notes);
                return outcome;
            }
        };
        if let Some(artifact) = answer.artifact.filter(|artifact| !policy.is_ready(artifact)) {
            let why = format!(
                "the boot server has no checked copy of {artifact}, so it offers nothing; see its own events, \
                 or run `make image` and install the result"
            );
            outcome.notes.push(self.note(&request, EventKind::Failed { file: artifact.into(), why }));
            return outcome;
        }
        self.send(now, rx, &request, answer, kind, destination, &mut outcome);
        outcome
    }

    /// Chooses what the machine gets, or says why it gets nothing.
    fn answer(
        &self,
        now: Duration,
        server: Ipv4Addr,
        sighting: &Sighting,
        decision: BootDecision,
    ) -> Result<Answer, &'static str> {
        let base = route::base_url(server, self.config.http_port);
        match (decision.policy, sighting.client) {
            (BootPolicy::Ignore, _) => {
                return Err("nobody named this machine; `meadow pxe open` or `meadow machine arm` lets it boot");
            }
            (BootPolicy::LocalDisk, ClientKind::Initrd) => {}
            (BootPolicy::LocalDisk, _) => return Err("its policy is to boot from its own disk"),
            (BootPolicy::Image | BootPolicy::Hold, _) => {}
        }
        let firmware = sighting.firmware.unwrap_or(Firmware::Other(u16::MAX));
        let loader = firmware.loader();
        match sighting.client {
            ClientKind::Initrd => Ok(Answer { file: base, artifact: None, form: OfferForm::Initrd }),
            ClientKind::Ipxe if !(decision.plain_pxe && self.wants_loader(now, sighting.mac)) => Ok(Answer {
                file: route::script_url(server, self.config.http_port, sighting.mac),
                artifact: None,
                form: OfferForm::Ipxe,
            }),
            ClientKind::Ipxe => {
                let loader = loader.ok_or(firmware.unsupported_hint())?;
                Ok(Answer { file: loader.into(), artifact: Some(loader), form: OfferForm::Ipxe })
            }
            ClientKind::HttpBoot => {
                let loader = loader.ok_or(firmware.unsupported_hint())?;
                let file = route::artifact_url(server, self.config.http_port, loader);
                Ok(Answer { file, artifact: Some(loader), form: OfferForm::Http })
            }
            ClientKind::Pxe => {
                let loader = loader.ok_or(firmware.unsupported_hint())?;
                let form = self.form_for(sighting.mac, firmware);
                Ok(Answer { file: loader.into(), artifact: Some(loader), form })
            }
        }
    }

    /// Whether an iPXE that is to be treated as plain PXE still has to fetch our boot loader.
    fn wants_loader(&self, now: Duration, mac: MacAddr) -> bool {
        let sent = self.memory.get(mac).and_then(|machine| machine.loader_sent);
        !sent.is_some_and(|sent| now.saturating_sub(sent) < LOADER_START)
    }

    /// The form to begin with: the one that this machine took before, else BIOS wants to be told
    /// at once and UEFI before April 2017 only believes a boot server.
    fn form_for(&self, mac: MacAddr, firmware: Firmware) -> OfferForm {
        let winner = self.memory.get(mac).and_then(|machine| machine.winner);
        match winner {
            Some(form @ (OfferForm::Direct | OfferForm::BootServer)) => form,
            _ if firmware == Firmware::Bios => OfferForm::Direct,
            _ => OfferForm::BootServer,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, the parts of one reply")]
    fn send(
        &mut self,
        now: Duration,
        rx: &Receive,
        request: &Request,
        mut answer: Answer,
        kind: MessageType,
        destination: SocketAddrV4,
        outcome: &mut Outcome,
    ) {
        let machine = self.memory.entry(request.mac, now);
        machine.stage_until = Some(now + STAGE_LIFETIME);
        let mut attempt = 1;
        if kind == MessageType::Offer {
            if let Some(previous) = machine.exchange.filter(|exchange| exchange.xid == request.xid) {
                attempt = previous.attempts.saturating_add(1);
                answer.form = alternate(previous.form);
            }
            machine.exchange = Some(Exchange { xid: request.xid, attempts: attempt, form: answer.form });
        } else {
            // A boot server's answer is itself what option 43 would promise.
            if answer.form == OfferForm::Direct {
                answer.form = OfferForm::BootServer;
            }
            machine.winner = machine.exchange.map(|exchange| exchange.form).or(machine.winner);
        }
        let reply = Reply {
            request,
            kind,
            vendor: request.vendor.unwrap_or(VendorClass::Pxe),
            server: rx.address,
            file: &answer.file,
            form: answer.form,
        };
        let Some(payload) = reply.encode() else {
            let why = "the boot file's name is too long for DHCP".to_owned();
            outcome.notes.push(self.note(request, EventKind::Failed { file: answer.file, why }));
            return;
        };
        let event = if kind == MessageType::Offer {
            EventKind::Offered { file: answer.file, form: answer.form, attempt }
        } else {
            EventKind::Asked { file: answer.file, via: Transport::Dhcp }
        };
        outcome.notes.push(self.note(request, event));
        outcome.reply = Some(Transmit { payload, source_port: rx.port, destination });
    }

    /// Remembers the lease that a booting machine takes from the router: TFTP requests show an
    /// IP address only.
    fn learn_address(&mut self, request: &Request) {
        let leased = match request.kind {
            MessageKind::Request => request.requested_address,
            _ => None,
        };
        let address = leased.or(Some(request.ciaddr)).filter(|address| !address.is_unspecified());
        if let (Some(address), Some(machine)) = (address, self.memory.get_mut(request.mac)) {
            machine.address = Some(address);
        }
    }

    /// Takes note of a machine, and of two machines that share one MAC.
    fn sight(&mut self, now: Duration, request: &Request, client: ClientKind, notes: &mut Vec<Note>) {
        let known = self.memory.get(request.mac).map(|machine| machine.last_seen);
        let is_new = known.is_none_or(|seen| now.saturating_sub(seen) > STAGE_LIFETIME);
        let machine = self.memory.entry(request.mac, now);
        machine.last_seen = now;
        // iPXE says 0 or 7 whatever started it: keep what the firmware itself said.
        if client != ClientKind::Ipxe || machine.firmware.is_none() || is_new {
            machine.firmware = request.firmware;
        }
        let uuid = request.uuid().filter(|uuid| !is_placeholder(uuid));
        let conflict = match (uuid, machine.uuid) {
            (Some(new), Some((kind, old))) => kind == client && old != new,
            _ => false,
        };
        machine.uuid = uuid.map(|uuid| (client, uuid)).or(machine.uuid);
        if is_new {
            let vendor_class = request.vendor_text.clone();
            notes.push(self.note(request, EventKind::Seen { vendor_class }));
        }
        if conflict {
            let what = "two machines with different SMBIOS UUIDs boot with this MAC address; \
                        give one of them another address or take it off this network"
                .to_owned();
            notes.push(self.note(request, EventKind::Conflict { what }));
        }
    }

    fn say_ignored(&mut self, now: Duration, request: &Request, why: &str, notes: &mut Vec<Note>) {
        let machine = self.memory.entry(request.mac, now);
        let said = machine.ignored_at.is_some_and(|at| now.saturating_sub(at) < IGNORED_REPEAT);
        if !said {
            machine.ignored_at = Some(now);
            notes.push(self.note(request, EventKind::Ignored { why: why.to_owned() }));
        }
    }

    fn note(&self, request: &Request, kind: EventKind) -> Note {
        let machine = self.memory.get(request.mac);
        Note {
            mac: Some(request.mac),
            firmware: request.firmware.or(machine.and_then(|machine| machine.firmware)),
            address: machine.and_then(|machine| machine.address),
            kind,
        }
    }

    /// A note about a machine that was not heard over DHCP just now.
    #[must_use]
    pub fn note_for(&self, mac: MacAddr, kind: EventKind) -> Note {
        let machine = self.memory.get(mac);
        Note {
            mac: Some(mac),
            firmware: machine.and_then(|machine| machine.firmware),
            address: machine.and_then(|machine| machine.address),
            kind,
        }
    }

    /// A machine came for a boot file: it stays in its PXE stage, and the form of our offer was
    /// the right one.
    pub fn file_requested(&mut self, now: Duration, mac: MacAddr, file: &str) {
        let Some(machine) = self.memory.get_mut(mac) else { return };
        machine.last_seen = now;
        if machine.in_stage(now) {
            machine.stage_until = Some(now + STAGE_LIFETIME);
            if let Some(exchange) = machine.exchange {
                machine.winner = Some(match exchange.form {
                    // iPXE's and the initrd's own forms say nothing of the firmware.
                    OfferForm::Ipxe | OfferForm::Initrd => machine.winner.unwrap_or(exchange.form),
                    form => form,
                });
            }
        }
        if machine.firmware.and_then(Firmware::loader) == Some(file) {
            machine.loader_sent = Some(now);
        }
    }

    /// A machine asked for its script: what runs there is our boot loader, and the next time it
    /// starts from its firmware again.
    pub fn script_requested(&mut self, now: Duration, mac: MacAddr) {
        if let Some(machine) = self.memory.get_mut(mac) {
            machine.last_seen = now;
            machine.loader_sent = None;
        }
    }

    /// The machine runs our initrd: its PXE stage is over.
    pub fn initrd_started(&mut self, now: Duration, mac: MacAddr) {
        if let Some(machine) = self.memory.get_mut(mac) {
            machine.last_seen = now;
            machine.stage_until = None;
        }
    }

    /// Whether a machine is between our answer to its firmware and its initrd.
    #[must_use]
    pub fn is_booting(&self, now: Duration, mac: MacAddr) -> bool {
        self.memory.get(mac).is_some_and(|machine| machine.in_stage(now))
    }

    /// The machine that took a lease for this address.
    #[must_use]
    pub fn mac_of(&self, address: Ipv4Addr) -> Option<MacAddr> {
        self.memory.by_address(address)
    }

    /// How a machine that asks over HTTP presents itself, with what was learnt of it before.
    #[must_use]
    pub fn sighting(&self, mac: MacAddr, client: ClientKind) -> Sighting {
        let machine = self.memory.get(mac);
        Sighting {
            mac,
            firmware: machine.and_then(|machine| machine.firmware),
            client,
            uuid: machine.and_then(|machine| machine.uuid).map(|(_, uuid)| uuid),
        }
    }

    /// All remembered machines, sorted by address.
    #[must_use]
    pub fn machines(&self, now: Duration) -> Vec<MachineView> {
        self.memory.views(now)
    }
}

/// The other form for firmware that did not take this one; other programs have one form only.
fn alternate(form: OfferForm) -> OfferForm {
    match form {
        OfferForm::Direct => OfferForm::BootServer,
        OfferForm::BootServer => OfferForm::Direct,
        other => other,
    }
}

/// UUIDs that boards without one of their own send.
fn is_placeholder(uuid: &[u8; 16]) -> bool {
    *uuid == [0; 16] || *uuid == [0xff; 16]
}

/// Whether a request is for a boot server, and the reply's type and destination (RFC 2131, 4.1).
fn reply_route(request: &Request, rx: &Receive) -> Option<(MessageType, SocketAddrV4)> {
    let kind = match (rx.port, request.kind) {
        (ServerPort::Dhcp, MessageKind::Discover) => MessageType::Offer,
        // A REQUEST on port 67 is for the router, unless it names us, or names nobody and asks
        // for a boot item.
        (ServerPort::Dhcp, MessageKind::Request) => {
            let for_us = match request.server_id {
                Some(server) => server == rx.address,
                None => request.boot_item,
            };
            for_us.then_some(MessageType::Ack)?
        }
        (_, MessageKind::Inform) | (ServerPort::BootServer, MessageKind::Request) => MessageType::Ack,
        (ServerPort::BootServer, MessageKind::Discover) => return None,
    };
    let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
    let destination = match rx.port {
        ServerPort::BootServer if rx.source.ip().is_unspecified() => broadcast,
        ServerPort::BootServer => rx.source,
        // A relay speaks for the address it wrote in; anything else would let a stranger point
        // our replies at third parties.
        ServerPort::Dhcp if !request.giaddr.is_unspecified() => {
            let relay = request.giaddr == *rx.source.ip() && is_host(request.giaddr);
            relay.then_some(SocketAddrV4::new(request.giaddr, 67))?
        }
        ServerPort::Dhcp
            if kind == MessageType::Ack && request.ciaddr == *rx.source.ip() && is_host(request.ciaddr) =>
        {
            SocketAddrV4::new(request.ciaddr, CLIENT_PORT)
        }
        ServerPort::Dhcp => broadcast,
    };
    Some((kind, destination))
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}
