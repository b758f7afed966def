//! What is remembered of each machine between its packets, bounded in size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use meadow_model::MacAddress;

use crate::arch::Firmware;
use crate::event::OfferForm;
use crate::policy::{BootImage, ClientKind};

use super::winners::{Winner, Winners};

/// Machines remembered at once. The one that was silent longest makes room, machines that are
/// being booted last.
pub const MAX_MACHINES: usize = 4096;

/// How long after an answer a machine counts as being in its PXE stage, if it shows nothing more.
pub const STAGE_LIFETIME: Duration = Duration::from_secs(90);

/// Machines that make room at once when there are too many, so that a flood of new ones costs a search now and then only.
const MAKE_ROOM: usize = 256;

/// How long after an offer a request with the same number belongs to the same exchange: longer than any firmware waits
/// between two (EDK2 16 s), shorter than a machine takes to be switched off and on.
const EXCHANGE_LIFETIME: Duration = Duration::from_secs(40);

/// How long after an offer the same request is the same packet once more: doubled on its way, or heard by two interfaces
/// of ours on one wire. Shorter than any firmware waits between two of its own (iPXE 1 s).
const REPEATED_WITHIN: Duration = Duration::from_millis(500);

/// One machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) firmware: Option<Firmware>,
    pub(super) last_seen: Duration,
    /// Until when it is in its PXE stage.
    pub(super) stage_until: Option<Duration>,
    /// Its own IP address, as last observed.
    pub(super) address: Option<IpAddr>,
    /// The exchange that goes on.
    pub(super) exchange: Option<Exchange>,
    /// When it asked for our boot loader; with "treat as plain PXE" its next iPXE is ours.
    pub(super) loader_sent: Option<Duration>,
    /// UUID by kind of program: firmware and iPXE may write one UUID in two byte orders.
    pub(super) uuid: Option<(ClientKind, [u8; 16])>,
    /// When it was last said that it is ignored.
    pub(super) ignored_at: Option<Duration>,
    /// The image that its last script named, for a display.
    pub(super) image: Option<BootImage>,
}

/// Retries of one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) xid: u32,
    pub(super) attempts: u32,
    pub(super) form: OfferForm,
    /// Whether both forms were offered at once, now or before.
    pub(super) had_both: bool,
    /// When that form was offered.
    pub(super) offered_at: Duration,
    /// Whether the machine has taken it.
    pub(super) is_over: bool,
}

impl Exchange {
    /// Whether a request with this number is a retry in this exchange. Some boot ROMs use one number for ever.
    pub(super) fn goes_on(&self, xid: u32, now: Duration) -> bool {
        self.xid == xid && !self.is_over && now.saturating_sub(self.offered_at) < EXCHANGE_LIFETIME
    }

    /// Whether a retry at this time is none, but the packet that was answered, once more.
    pub(super) fn is_repeated(&self, now: Duration) -> bool {
        now.saturating_sub(self.offered_at) < REPEATED_WITHIN
    }
}

impl Machine {
    fn new(now: Duration) -> Self {
        Self {
            firmware: None,
            last_seen: now,
            stage_until: None,
            address: None,
            exchange: None,
            loader_sent: None,
            uuid: None,
            ignored_at: None,
            image: None,
        }
    }

    pub(super) fn in_stage(&self, now: Duration) -> bool {
        self.stage_until.is_some_and(|until| now < until)
    }
}

/// All machines, for a display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineView {
    /// Address of its network card.
    pub mac: MacAddress,
    /// Its firmware.
    pub firmware: Option<Firmware>,
    /// Its IP address, as last observed.
    pub address: Option<IpAddr>,
    /// When it was last heard.
    pub last_seen: Duration,
    /// Whether it is in its PXE stage.
    pub booting: bool,
    /// The form of offer that its firmware accepted.
    pub form: Option<OfferForm>,
    /// The image that its last script named.
    pub image: Option<BootImage>,
}

/// Machines by MAC.
#[derive(Debug, Default)]
pub(super) struct Memory {
    machines: HashMap<MacAddress, Machine>,
    /// The forms of offer that they came for, of those before a restart as well.
    pub(super) winners: Winners,
}

impl Memory {
    pub(super) fn get(&self, mac: MacAddress) -> Option<&Machine> {
        self.machines.get(&mac)
    }

    pub(super) fn get_mut(&mut self, mac: MacAddress) -> Option<&mut Machine> {
        self.machines.get_mut(&mac)
    }

    /// The machine with this address, made (and room for it) if it is new.
    pub(super) fn entry(&mut self, mac: MacAddress, now: Duration) -> &mut Machine {
        if self.machines.len() >= MAX_MACHINES && !self.machines.contains_key(&mac) {
            self.make_room(now);
        }
        self.machines.entry(mac).or_insert_with(|| Machine::new(now))
    }

    /// Strangers go first, then those that booted before, each with the longest silence first.
    fn make_room(&mut self, now: Duration) {
        let key = |(mac, machine): (&MacAddress, &Machine)| {
            (machine.in_stage(now), self.winner_of(*mac, machine).is_some(), machine.last_seen, *mac)
        };
        let mut all: Vec<_> = self.machines.iter().map(key).collect();
        let at = MAKE_ROOM.min(all.len().saturating_sub(1));
        let (victims, ..) = all.select_nth_unstable(at);
        for (.., mac) in victims {
            self.machines.remove(mac);
        }
    }

    /// A machine took this form of our offer, and the exchange is over.
    pub(super) fn settle(&mut self, mac: MacAddress, form: OfferForm) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        if let Some(exchange) = &mut machine.exchange {
            exchange.form = form;
            exchange.is_over = true;
        }
        if let Some(firmware) = machine.firmware {
            self.winners.confirm(Winner { mac, firmware, form });
        }
    }

    /// The form that a machine's firmware came for.
    pub(super) fn winner(&self, mac: MacAddress) -> Option<OfferForm> {
        self.winner_of(mac, self.machines.get(&mac)?)
    }

    fn winner_of(&self, mac: MacAddress, machine: &Machine) -> Option<OfferForm> {
        self.winners.get(mac, machine.firmware?)
    }

    /// The machine that uses an IP address, the one heard last if several claim it.
    pub(super) fn by_address(&self, address: IpAddr) -> Option<MacAddress> {
        self.machines
            .iter()
            .filter(|(_, machine)| machine.address == Some(address))
            .max_by_key(|(_, machine)| machine.last_seen)
            .map(|(mac, _)| *mac)
    }

    pub(super) fn views(&self, now: Duration) -> Vec<MachineView> {
        let mut views: Vec<_> = self
            .machines
            .iter()
            .map(|(mac, machine)| MachineView {
                mac: *mac,
                firmware: machine.firmware,
                address: machine.address,
                last_seen: machine.last_seen,
                booting: machine.in_stage(now),
                form: self.winner_of(*mac, machine),
                image: machine.image.clone(),
            })
            .collect();
        views.sort_by_key(|view| view.mac);
        views
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.machines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_pushes_out_the_silent_first_and_the_booting_last() {
        let mac = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            MacAddress([2, 0, a, b, c, d])
        };
        let mut memory = Memory::default();
        let booting = mac(0);
        memory.entry(booting, Duration::ZERO).stage_until = Some(Duration::from_secs(90));
        for n in 1..=u32::try_from(MAX_MACHINES).unwrap() + 10 {
            memory.entry(mac(n), Duration::from_millis(u64::from(n)));
        }
        assert!((MAX_MACHINES - MAKE_ROOM..=MAX_MACHINES).contains(&memory.len()), "{}", memory.len());
        assert!(memory.get(booting).is_some());
        assert!(memory.get(mac(1)).is_none());
    }
}
