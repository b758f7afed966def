//! The proxyDHCP server: datagrams in, datagrams and events out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dhcproto::v4::MessageType;
use meadow_model::MacAddress;
use meadow_model::boot::BootPolicy;

use super::answer::{Answer, Question};
use super::datagram::{Outcome, Receive, ServerPort, Transmit};
use super::memory::{Exchange, MachineView, Memory, STAGE_LIFETIME};
use super::relay_info;
use super::reply::{Reply, finish, set_broadcast};
use super::reply_route::ReplyRoute;
use super::request::{MessageKind, Request, RequestError, VendorClass};
use super::silence::Silence;
use super::winners::Winner;
use crate::allowance::Allowance;
use crate::arch::{Firmware, X86_64};
use crate::event::{EventKind, Note, OfferForm, Transport};
use crate::policy::{BootDecision, BootImage, ClientKind, Sighting};

/// How often it is said that a machine is being ignored.
const IGNORED_REPEAT: Duration = Duration::from_secs(60);

/// How long a machine has from fetching our boot loader to that loader's own DHCP request.
const LOADER_START: Duration = Duration::from_secs(120);

/// Answers to relays that send from another address than the one they wrote in: at once, and a second. Nobody shows that
/// such a relay is there, so this bounds what a stranger can make us send to a third party: one packet for one of his,
/// and these few.
const RELAYED_AT_ONCE: u32 = 512;
const RELAYED_PER_SECOND: u32 = 128;

/// What the boot server must be told from outside. All are asked often and must be quick.
pub trait Policy {
    /// What to do with a machine.
    fn decide(&self, sighting: &Sighting) -> BootDecision;
    /// Whether an artifact is there and was checked, so that it may be offered.
    fn is_ready(&self, artifact: &str) -> bool;
    /// The processors that the image of a machine is for, as Rust names them; `None` where nobody knows.
    fn image_architecture(&self, _mac: MacAddress) -> Option<String> {
        None
    }
    /// A machine's firmware was left to its own disk, as the decision wants it. Told at each request of it.
    fn left_to_its_disk(&self, _mac: MacAddress) {}
}

/// Fixed facts of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// TCP port of the boot files' HTTP server.
    pub http_port: u16,
}

/// Who gives the machine its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Giver {
    /// The router on its wire.
    Router,
    /// Somebody else, and we hear it through a relay.
    RouterAfar,
    /// We do: our offer is the lease as well.
    Ourselves,
}

/// What a machine gets, up to the end mark: one reply, or an offer in two forms.
struct Bodies {
    first: Vec<u8>,
    second: Option<Vec<u8>>,
}

/// The proxyDHCP server; one for all interfaces, with one memory of machines.
#[derive(Debug)]
pub struct ProxyDhcp {
    config: ServerConfig,
    memory: Memory,
    relayed: Allowance,
}

impl ProxyDhcp {
    /// Starts without any memory of machines.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let relayed = Allowance::new(RELAYED_AT_ONCE, RELAYED_PER_SECOND);
        Self { config, memory: Memory::default(), relayed }
    }

    /// Handles one datagram. It never panics, and replies only to requests of PXE, HTTP boot or
    /// Meadow clients that the policy lets boot.
    pub fn handle(&mut self, now: Duration, rx: &Receive, bytes: &[u8], policy: &dyn Policy) -> Outcome {
        let mut notes = Vec::new();
        let reply = self.reply_to(now, rx, bytes, policy, &mut notes);
        Outcome { silence: reply.as_ref().err().copied(), reply: reply.ok(), notes }
    }

    fn reply_to(
        &mut self,
        now: Duration,
        rx: &Receive,
        bytes: &[u8],
        policy: &dyn Policy,
        notes: &mut Vec<Note>,
    ) -> Result<Transmit, Silence> {
        let request = Request::parse(bytes).map_err(|error| match error {
            RequestError::Malformed => Silence::Malformed,
            // Other clients of the home router, and servers, send such messages all day.
            RequestError::NotAClient | RequestError::OtherMessage => Silence::NotForUs,
        })?;
        self.learn_address(&request);
        let client = request.client().ok_or(Silence::NotForUs)?;
        let route = ReplyRoute::of(&request, rx).ok_or(Silence::NotForUs)?;
        if route.is_unproved && !self.relayed.pass(now) {
            return Err(Silence::TooMany);
        }
        let giver = if route.is_relayed { Giver::RouterAfar } else { Giver::Router };
        let Bodies { mut first, second } =
            self.answer(now, rx, (&request, client), (route.kind, giver), policy, notes)?;
        if route.is_relayed && request.ciaddr.is_unspecified() {
            // We give out no address to which the relay could send it (RFC 1542, 4.1.2).
            set_broadcast(&mut first);
        }
        relay_info::echo(request.relay_info.as_deref(), &mut first);
        let payload = finish(first).ok_or(Silence::NoFile)?;
        let also = second.and_then(finish);
        Ok(Transmit { payload, also, source_port: rx.port, destination: route.destination })
    }

    /// The boot server's part of a DHCP server's OFFER or ACK, up to its end mark; `None` if the client boots nothing.
    pub(super) fn boot_part(
        &mut self,
        now: Duration,
        rx: &Receive,
        request: &Request,
        kind: MessageType,
        policy: &dyn Policy,
        notes: &mut Vec<Note>,
    ) -> Option<Vec<u8>> {
        self.learn_address(request);
        let client = request.client()?;
        self.answer(now, rx, (request, client), (kind, Giver::Ourselves), policy, notes).ok().map(|bodies| bodies.first)
    }

    /// Takes note of the machine and builds what it gets, up to the end mark.
    fn answer(
        &mut self,
        now: Duration,
        rx: &Receive,
        (request, client): (&Request, ClientKind),
        (kind, giver): (MessageType, Giver),
        policy: &dyn Policy,
        notes: &mut Vec<Note>,
    ) -> Result<Bodies, Silence> {
        self.sight(now, request, client, notes);
        let sighting = Sighting { mac: request.mac, firmware: request.firmware, client, uuid: request.uuid() };
        let decision = policy.decide(&sighting);
        let architecture = policy.image_architecture(request.mac);
        let question = Question {
            http: SocketAddr::from((rx.address, self.config.http_port)),
            sighting: &sighting,
            decision,
            wants_loader: self.wants_loader(now, request.mac),
            pxe_form: self.form_for(request.mac, request.firmware, giver),
            architecture: architecture.as_deref().unwrap_or(X86_64),
        };
        let answer = match question.answer() {
            Ok(answer) => answer,
            Err(why) => {
                if decision.policy == BootPolicy::LocalDisk {
                    policy.left_to_its_disk(request.mac);
                }
                self.say_ignored(now, request, &why, notes);
                return Err(Silence::LeftAlone);
            }
        };
        if let Some(artifact) = answer.artifact.filter(|artifact| !policy.is_ready(artifact)) {
            let why = format!(
                "the boot server has no checked copy of {artifact}, so it offers nothing; see its own events, \
                 or run `make image` and install the result"
            );
            notes.push(self.note(request, EventKind::Failed { file: artifact.into(), why }));
            return Err(Silence::NoFile);
        }
        let (bodies, event) = self.reply(now, rx, request, answer, kind);
        notes.extend(event.map(|event| self.note(request, event)));
        bodies.ok_or(Silence::NoFile)
    }

    /// Whether an iPXE that is to be treated as plain PXE still has to fetch our boot loader.
    fn wants_loader(&self, now: Duration, mac: MacAddress) -> bool {
        let sent = self.memory.get(mac).and_then(|machine| machine.loader_sent);
        sent.is_none_or(|sent| now.saturating_sub(sent) >= LOADER_START)
    }

    /// The form to begin with: the one that this machine took before, else the one that most others with its firmware
    /// took, else BIOS wants to be told at once, and so does UEFI.
    ///
    /// UEFI before April 2017 believes only a boot server, where the offer is not the lease as well: beside a router a
    /// machine gets both forms. It takes the better one that it knows, and is spared EDK2's second of waiting for port
    /// 4011. Behind a relay one request leads to one packet, since whoever forges the request chooses where that goes.
    fn form_for(&self, mac: MacAddress, firmware: Option<Firmware>, giver: Giver) -> OfferForm {
        let Some(firmware) = firmware else { return OfferForm::BootServer };
        let taken = self.memory.winners.get(mac, firmware);
        match (taken, firmware, giver) {
            (Some(form @ (OfferForm::Direct | OfferForm::BootServer)), ..) => form,
            (_, Firmware::Bios, _) | (.., Giver::Ourselves) => {
                self.memory.winners.form_of_most(firmware, OfferForm::Direct)
            }
            (.., Giver::Router) => OfferForm::Both,
            (.., Giver::RouterAfar) => self.memory.winners.form_of_most(firmware, OfferForm::BootServer),
        }
    }

    /// Builds the reply, up to its end mark, and remembers what was offered.
    fn reply(
        &mut self,
        now: Duration,
        rx: &Receive,
        request: &Request,
        mut answer: Answer,
        kind: MessageType,
    ) -> (Option<Bodies>, Option<EventKind>) {
        // The second half of our own lease, which repeats its offer.
        let is_lease = rx.port == ServerPort::Dhcp && request.kind == MessageKind::Request && !request.boot_item;
        let machine = self.memory.entry(request.mac, now);
        machine.stage_until = (answer.form != OfferForm::Initrd).then(|| now + STAGE_LIFETIME);
        let previous = machine.exchange.filter(|exchange| exchange.goes_on(request.xid, now));
        let repeated = previous.filter(|previous| {
            kind == MessageType::Offer
                && previous.is_repeated(now)
                && repeat(previous.form, answer.form) == previous.form
        });
        let mut attempt = 1;
        if let Some(previous) = repeated {
            answer.form = previous.form;
        } else if kind == MessageType::Offer {
            if let Some(previous) = previous {
                attempt = previous.attempts.saturating_add(1);
                answer.form = alternate(previous.form, answer.form);
            }
            let (xid, form) = (request.xid, answer.form);
            let had_both = form == OfferForm::Both || previous.is_some_and(|previous| previous.had_both);
            machine.exchange =
                Some(Exchange { xid, attempts: attempt, form, had_both, offered_at: now, is_over: false });
        } else if is_lease {
            answer.form = machine.exchange.map_or(answer.form, |offered| repeat(offered.form, answer.form));
        } else {
            // A boot server's answer is itself what option 43 would promise.
            if matches!(answer.form, OfferForm::Direct | OfferForm::Both) {
                answer.form = OfferForm::BootServer;
            }
            if answer.form == OfferForm::BootServer {
                // It took the form of that offer, whatever came after it.
                self.memory.settle(request.mac, OfferForm::BootServer);
            }
        }
        let body = |form| {
            let vendor = request.vendor.unwrap_or(VendorClass::Pxe);
            Reply { request, kind, vendor, server: rx.address, file: &answer.file, form }.body()
        };
        // Who takes the first that comes, and asks port 4011 or not, boots as well.
        let (form, also) = match answer.form {
            OfferForm::Both => (OfferForm::BootServer, Some(OfferForm::Direct)),
            form => (form, None),
        };
        let Some(first) = body(form) else {
            let why = "the boot file's name is too long for DHCP".to_owned();
            return (None, Some(EventKind::Failed { file: answer.file, why }));
        };
        let second = also.and_then(body);
        let event = if repeated.is_some() {
            None
        } else if kind == MessageType::Offer {
            Some(EventKind::Offered { file: answer.file, form: answer.form, attempt })
        } else if is_lease {
            None
        } else {
            Some(EventKind::Asked { file: answer.file, via: Transport::Dhcp })
        };
        (Some(Bodies { first, second }), event)
    }

    /// Remembers the lease that a booting machine takes from the router: TFTP requests show an
    /// IP address only.
    fn learn_address(&mut self, request: &Request) {
        if let (Some(address), Some(machine)) = (request.own_address(), self.memory.get_mut(request.mac)) {
            machine.address = Some(address.into());
        }
    }

    /// Takes note of a machine, and of two machines that share one MAC.
    fn sight(&mut self, now: Duration, request: &Request, client: ClientKind, notes: &mut Vec<Note>) {
        let known = self.memory.get(request.mac).map(|machine| machine.last_seen);
        let is_new = known.is_none_or(|seen| now.saturating_sub(seen) > STAGE_LIFETIME);
        let machine = self.memory.entry(request.mac, now);
        machine.last_seen = now;
        // Only firmware speaks for itself: iPXE says 0 or 7 whatever started it.
        let is_firmware = matches!(client, ClientKind::Pxe | ClientKind::HttpBoot);
        if machine.firmware.is_none() || is_firmware {
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
            notes.push(self.note(request, EventKind::Seen { vendor_class, interface: None }));
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
            firmware: machine.and_then(|machine| machine.firmware).or(request.firmware),
            address: machine.and_then(|machine| machine.address),
            kind,
        }
    }

    /// A note about a machine that was not heard over DHCP just now.
    #[must_use]
    pub fn note_for(&self, mac: MacAddress, kind: EventKind) -> Note {
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
    pub fn file_requested(&mut self, now: Duration, mac: MacAddress, file: &str) {
        let Some(machine) = self.memory.get_mut(mac) else { return };
        machine.last_seen = now;
        if machine.firmware.and_then(Firmware::loader) == Some(file) {
            machine.loader_sent = Some(now);
        }
        if machine.in_stage(now) {
            machine.stage_until = Some(now + STAGE_LIFETIME);
            if let Some(exchange) = machine.exchange {
                let form = match exchange.form {
                    // iPXE's and the initrd's own forms say nothing of the firmware.
                    OfferForm::Ipxe | OfferForm::Initrd => self.memory.winner(mac).unwrap_or(exchange.form),
                    // Port 4011 was not asked, or the exchange would be over.
                    _ if exchange.had_both && !exchange.is_over => OfferForm::Direct,
                    form => form,
                };
                self.memory.settle(mac, form);
            }
        }
    }

    /// A machine asked for its script, which names this image if any: what runs there is our boot loader, and the next
    /// time it starts from its firmware again.
    pub fn script_requested(&mut self, now: Duration, mac: MacAddress, image: Option<BootImage>) {
        if let Some(machine) = self.memory.get_mut(mac) {
            machine.last_seen = now;
            machine.loader_sent = None;
            machine.image = image;
        }
    }

    /// The machine runs our initrd: its PXE stage is over. `address` is where it asks from, if that is its own.
    pub fn initrd_started(&mut self, now: Duration, mac: MacAddress, address: Option<IpAddr>) {
        if let Some(machine) = self.memory.get_mut(mac) {
            machine.last_seen = now;
            machine.stage_until = None;
            machine.address = address.or(machine.address);
        }
    }

    /// Whether a machine is between our answer to its firmware and its initrd.
    #[must_use]
    pub fn is_booting(&self, now: Duration, mac: MacAddress) -> bool {
        self.memory.get(mac).is_some_and(|machine| machine.in_stage(now))
    }

    /// The machine that took a lease for this address.
    #[must_use]
    pub fn mac_of(&self, address: IpAddr) -> Option<MacAddress> {
        self.memory.by_address(address)
    }

    /// The address that a machine uses, as last observed.
    #[must_use]
    pub fn address_of(&self, mac: MacAddress) -> Option<IpAddr> {
        self.memory.get(mac)?.address
    }

    /// How a machine that asks over HTTP presents itself, with what was learnt of it before.
    #[must_use]
    pub fn sighting(&self, mac: MacAddress, client: ClientKind) -> Sighting {
        let machine = self.memory.get(mac);
        Sighting {
            mac,
            firmware: machine.and_then(|machine| machine.firmware),
            client,
            uuid: machine.and_then(|machine| machine.uuid).map(|(_, uuid)| uuid),
        }
    }

    /// The forms of offer that worked, the one that was confirmed last at the end; at most [`MAX_WINNERS`].
    ///
    /// [`MAX_WINNERS`]: super::MAX_WINNERS
    #[must_use]
    pub fn winners(&self) -> Vec<Winner> {
        self.memory.winners.all()
    }

    /// Counts up with each form that worked for the first time, or in place of another one.
    #[must_use]
    pub fn winner_changes(&self) -> u64 {
        self.memory.winners.changes()
    }

    /// Takes over what an earlier server has learnt, as [`Self::winners`] gave it.
    pub fn restore(&mut self, winners: &[Winner]) {
        for winner in winners {
            self.memory.winners.confirm(*winner);
        }
    }

    /// All remembered machines, sorted by address.
    #[must_use]
    pub fn machines(&self, now: Duration) -> Vec<MachineView> {
        self.memory.views(now)
    }
}

/// Another form for firmware that did not take the previous one; other programs have one only.
fn alternate(previous: OfferForm, planned: OfferForm) -> OfferForm {
    match previous {
        OfferForm::Direct | OfferForm::Both if planned.is_for_pxe() => OfferForm::BootServer,
        OfferForm::BootServer if planned.is_for_pxe() => OfferForm::Direct,
        _ => planned,
    }
}

/// The form that was offered, for firmware; other programs have one only.
fn repeat(offered: OfferForm, planned: OfferForm) -> OfferForm {
    if offered.is_for_pxe() && planned.is_for_pxe() { offered } else { planned }
}

/// UUIDs that boards without one of their own send.
fn is_placeholder(uuid: &[u8; 16]) -> bool {
    *uuid == [0; 16] || *uuid == [0xff; 16]
}
