//! The last events of each machine, in memory: a full disk never stops a boot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use meadow_model::MacAddress;
use meadow_netboot::{EventKind, Note};

use crate::director::BootEvent;

/// Events kept for one machine, and for the server itself.
const PER_MACHINE: usize = 64;

/// Machines whose events are kept; the one with the oldest last event makes room.
const MACHINES: usize = 1024;

/// Bounded memory of events.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sequence: u64,
    rings: HashMap<Option<MacAddress>, VecDeque<BootEvent>>,
    /// Whose event was the last one, by its number: one for each machine that has a ring.
    by_last: BTreeMap<u64, MacAddress>,
}

impl EventLog {
    /// Keeps an event and gives it back with its number and time.
    pub(crate) fn record(&self, note: Note) -> BootEvent {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.sequence += 1;
        let event = BootEvent {
            sequence: inner.sequence,
            time: Timestamp::now(),
            mac: note.mac,
            firmware: note.firmware,
            address: note.address,
            code: note.kind.code(),
            text: note.kind.to_string(),
            kind: note.kind,
        };
        inner.make_room(event.mac, event.sequence);
        let ring = inner.rings.entry(event.mac).or_default();
        // Percentages of one thing replace each other, or a slow download would push out the rest.
        if ring.back().is_some_and(|last| is_same_step(&last.kind, &event.kind)) {
            ring.pop_back();
        } else if ring.len() == PER_MACHINE {
            ring.pop_front();
        }
        ring.push_back(event.clone());
        event
    }

    /// Events after number `since`, in order; of one machine, or all with the server's own.
    pub(crate) fn events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<_> = inner
            .rings
            .iter()
            .filter(|(owner, _)| mac.is_none() || **owner == mac)
            .flat_map(|(_, ring)| ring)
            .filter(|event| event.sequence > since)
            .cloned()
            .collect();
        events.sort_by_key(|event| event.sequence);
        events
    }
}

impl Inner {
    /// For an event with this number.
    fn make_room(&mut self, mac: Option<MacAddress>, sequence: u64) {
        let last = self.rings.get(&mac).and_then(VecDeque::back).map(|event| event.sequence);
        if last.is_none()
            && self.rings.len() >= MACHINES
            && let Some((_, oldest)) = self.by_last.pop_first()
        {
            self.rings.remove(&Some(oldest));
        }
        if let Some(mac) = mac {
            last.map(|last| self.by_last.remove(&last));
            self.by_last.insert(sequence, mac);
        }
    }
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

    fn failed(why: usize) -> EventKind {
        EventKind::Failed { file: String::new(), why: why.to_string() }
    }

    #[test]
    fn memory_is_bounded_by_machine_and_by_number_of_machines() {
        let log = EventLog::default();
        for why in 0..PER_MACHINE + 5 {
            log.record(note(0, failed(why)));
        }
        let events = log.events(Some(MacAddress([2, 0, 0, 0, 0, 0])), 0);
        assert_eq!(events.len(), PER_MACHINE);
        assert_eq!(events[0].sequence, 6, "the oldest went");
        for machine in 1..=MACHINES as u16 {
            log.record(note(machine, failed(0)));
        }
        assert!(log.events(Some(MacAddress([2, 0, 0, 0, 0, 0])), 0).is_empty());
        assert_eq!(log.events(None, 0).len(), MACHINES);
    }

    #[test]
    fn since_gives_only_what_is_new() {
        let log = EventLog::default();
        let first = log.record(note(0, failed(0)));
        let second = log.record(note(1, failed(1)));
        assert_eq!(log.events(None, first.sequence), std::slice::from_ref(&second));
        assert!(log.events(None, second.sequence).is_empty());
    }

    #[test]
    fn percentages_replace_each_other() {
        let log = EventLog::default();
        for percent in [1, 2, 3] {
            let stage = "root-download".to_owned();
            log.record(note(0, EventKind::Progress { stage, percent: Some(percent), message: String::new() }));
        }
        let events = log.events(None, 0);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].text, "root-download 3 %");
    }
}
