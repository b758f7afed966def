//! The last events of each machine, in memory: a full disk never stops a boot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use meadow_model::MacAddress;
use meadow_netboot::arch::Firmware;
use meadow_netboot::{Allowance, EventKind, Note};

use crate::director::BootEvent;

/// Events kept for one machine, and for the server itself: three boots. Fewer where there are many machines.
const PER_MACHINE: usize = 64;

/// Events kept of all: one boot of each machine, in 8 MiB.
const EVENTS: usize = 24 * MACHINES;

/// Machines whose events are kept; the one with the oldest last event makes room, one that never came for a file first.
const MACHINES: usize = 1024;

/// Events of one machine, or of all addresses without one: at once, and a second. No boot has more, but a loop of
/// requests has.
const OF_ONE: (u32, u32) = (256, 16);

/// Bounded memory of events.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sequence: u64,
    rings: HashMap<Option<MacAddress>, Ring>,
    /// Whose event was the last one, by its number and whether the machine came for a file: one for each machine that
    /// has a ring.
    by_last: BTreeMap<(bool, u64), MacAddress>,
}

/// What of an event is not told by its ring or its kind.
#[derive(Debug)]
struct Kept {
    sequence: u64,
    time: Timestamp,
    firmware: Option<Firmware>,
    address: Option<IpAddr>,
    kind: EventKind,
}

impl Kept {
    fn event(&self, mac: Option<MacAddress>) -> BootEvent {
        BootEvent {
            sequence: self.sequence,
            time: self.time,
            mac,
            firmware: self.firmware,
            address: self.address,
            code: self.kind.code(),
            text: self.kind.to_string(),
            kind: self.kind.clone(),
        }
    }
}

/// The events of one machine.
#[derive(Debug)]
struct Ring {
    events: VecDeque<Kept>,
    has_booted: bool,
    allowance: Allowance,
}

impl Default for Ring {
    fn default() -> Self {
        let allowance = Allowance::new(OF_ONE.0, OF_ONE.1);
        Self { events: VecDeque::new(), has_booted: false, allowance }
    }
}

impl Ring {
    fn key(&self) -> Option<(bool, u64)> {
        Some((self.has_booted, self.events.back()?.sequence))
    }

    /// Drops the oldest events, so that `most` are left.
    fn shorten(&mut self, most: usize) {
        if self.events.len() > most {
            self.events.drain(..self.events.len() - most);
        }
    }
}

impl EventLog {
    /// Keeps an event and gives it back with its number and time; `None` where there are too many of its kind. The
    /// server's own are always kept.
    pub(crate) fn record(&self, now: Duration, note: Note) -> Option<BootEvent> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = note.mac.is_none() && note.address.is_none();
        let ring = inner.rings.get_mut(&note.mac).filter(|_| !is_own);
        if ring.is_some_and(|ring| !ring.allowance.pass(now)) {
            return None;
        }
        inner.sequence += 1;
        let Note { mac, firmware, address, kind } = note;
        let kept = Kept { sequence: inner.sequence, time: Timestamp::now(), firmware, address, kind };
        let event = kept.event(mac);
        let most = inner.make_room(mac);
        let ring = inner.rings.entry(mac).or_default();
        let before = ring.key();
        ring.has_booted |= is_boot(&kept.kind);
        // Percentages of one thing replace each other, or a slow download would push out the rest.
        if ring.events.back().is_some_and(|last| is_same_step(&last.kind, &kept.kind)) {
            ring.events.pop_back();
        }
        ring.shorten(most - 1);
        ring.events.push_back(kept);
        if let (Some(mac), Some(after)) = (mac, ring.key()) {
            before.map(|before| inner.by_last.remove(&before));
            inner.by_last.insert(after, mac);
        }
        Some(event)
    }

    /// Events after number `since`, in order; of one machine, or all with the server's own.
    pub(crate) fn events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<_> = inner
            .rings
            .iter()
            .filter(|(owner, _)| mac.is_none() || **owner == mac)
            .flat_map(|(owner, ring)| ring.events.iter().map(move |kept| (*owner, kept)))
            .filter(|(_, kept)| kept.sequence > since)
            .map(|(owner, kept)| kept.event(owner))
            .collect();
        events.sort_by_key(|event| event.sequence);
        events
    }
}

impl Inner {
    /// Makes room for one more event of a machine, and says how many it may have.
    fn make_room(&mut self, mac: Option<MacAddress>) -> usize {
        if self.rings.contains_key(&mac) {
            return share(self.rings.len());
        }
        if self.rings.len() >= MACHINES
            && let Some((_, oldest)) = self.by_last.pop_first()
        {
            self.rings.remove(&Some(oldest));
        }
        let most = share(self.rings.len() + 1);
        // Seldom, as there are few shares: not whenever one of many strangers takes another one's place.
        if most < share(self.rings.len()) {
            for ring in self.rings.values_mut() {
                ring.shorten(most);
                ring.events.shrink_to(most);
            }
        }
        most
    }
}

/// How many of all events one of so many machines may have.
fn share(machines: usize) -> usize {
    (EVENTS / machines.max(1)).min(PER_MACHINE)
}

/// Whether an event says that a machine came for something, which a mere request to boot does not.
fn is_boot(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Asked { .. } | EventKind::Sent { .. } | EventKind::Unconfirmed { .. } | EventKind::Progress { .. }
    )
}

fn is_same_step(old: &EventKind, new: &EventKind) -> bool {
    match (old, new) {
        (EventKind::Sent { file: a, percent, .. }, EventKind::Sent { file: b, .. }) => a == b && *percent < 100,
        (
            EventKind::Progress { stage: a, percent: Some(_), .. },
            EventKind::Progress { stage: b, percent: Some(_), .. },
        ) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(last: u16, kind: EventKind) -> Note {
        let [high, low] = last.to_be_bytes();
        Note { mac: Some(MacAddress([2, 0, 0, 0, high, low])), firmware: None, address: None, kind }
    }

    /// Long after the one before.
    fn told(log: &EventLog, note: Note) -> BootEvent {
        let now = Duration::from_secs(log.inner.lock().unwrap().sequence);
        log.record(now, note).expect("allowed")
    }

    fn failed(why: usize) -> EventKind {
        EventKind::Failed { file: String::new(), why: why.to_string() }
    }

    #[test]
    fn memory_is_bounded_by_machine_and_by_number_of_machines() {
        let log = EventLog::default();
        for why in 0..PER_MACHINE + 5 {
            told(&log, note(0, failed(why)));
        }
        let events = log.events(Some(MacAddress([2, 0, 0, 0, 0, 0])), 0);
        assert_eq!(events.len(), PER_MACHINE);
        assert_eq!(events[0].sequence, 6, "the oldest went");
        for machine in 1..=MACHINES as u16 {
            told(&log, note(machine, failed(0)));
        }
        assert!(log.events(Some(MacAddress([2, 0, 0, 0, 0, 0])), 0).is_empty());
        assert_eq!(log.events(None, 0).len(), MACHINES);
    }

    #[test]
    fn where_there_are_many_machines_each_keeps_its_newest_events() {
        let log = EventLog::default();
        for machine in 0..MACHINES as u16 {
            for why in 0..PER_MACHINE {
                told(&log, note(machine, failed(why)));
            }
        }
        let all = log.events(None, 0);
        assert_eq!(all.len(), EVENTS);
        for machine in [0, 1, 500, MACHINES as u16 - 1] {
            let of_one: Vec<_> = all.iter().filter(|event| event.mac == note(machine, failed(0)).mac).collect();
            assert_eq!(of_one.len(), EVENTS / MACHINES);
            assert_eq!(of_one.last().unwrap().kind, failed(PER_MACHINE - 1), "of machine {machine}");
        }
    }

    #[test]
    fn strangers_push_out_strangers_and_a_loop_is_cut_short() {
        let log = EventLog::default();
        let asked = EventKind::Asked { file: "initrd".into(), via: meadow_netboot::event::Transport::Http };
        told(&log, note(0, asked));
        for machine in 1..=2 * MACHINES as u16 {
            told(&log, note(machine, EventKind::Ignored { why: String::new() }));
        }
        assert_eq!(log.events(Some(MacAddress([2, 0, 0, 0, 0, 0])), 0).len(), 1, "its history is kept");
        assert!(log.inner.lock().unwrap().by_last.len() <= MACHINES);
        let passed = |of: &dyn Fn() -> Note| (0..1000).filter(|_| log.record(Duration::ZERO, of()).is_some()).count();
        assert_eq!(passed(&|| note(7777, failed(0))), 1 + OF_ONE.0 as usize, "of one machine");
        let kind = failed(0);
        let own = || Note { mac: None, firmware: None, address: None, kind: kind.clone() };
        assert_eq!(passed(&own), 1000, "the server's own");
    }

    #[test]
    fn since_gives_only_what_is_new() {
        let log = EventLog::default();
        let first = told(&log, note(0, failed(0)));
        let second = told(&log, note(1, failed(1)));
        assert_eq!(log.events(None, first.sequence), std::slice::from_ref(&second));
        assert!(log.events(None, second.sequence).is_empty());
    }

    #[test]
    fn percentages_replace_each_other() {
        let log = EventLog::default();
        for percent in [1, 2, 3] {
            let stage = "root-download".to_owned();
            told(&log, note(0, EventKind::Progress { stage, percent: Some(percent), message: String::new() }));
        }
        let events = log.events(None, 0);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].text, "root-download 3 %");
    }
}
