//! What keeps strangers from filling the log: whatever they send is counted, and said now and then.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meadow_netboot::{Allowance, EventKind, Note};

use crate::shared::Shared;
use crate::throttle::Throttle;

/// How often trouble of one kind is said.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same of failures that each name a file and perhaps a machine.
const INTERVAL_UNPROVED: Duration = Duration::from_secs(1);
/// Events of machines that are left alone: at once, and a second. A rack that is switched on is told of in full.
const LEFT_ALONE: (u32, u32) = (256, 8);
/// Events of all other machines that DHCP leads to.
const BOOTING: (u32, u32) = (4096, 256);

/// First answers of TFTP that are larger than what was asked, or leave the link: at once, and a second. A rack of 500 ROMs
/// that know no options, each with two requests, is served at once; a third party gets 66 kB a second at most.
const LARGE_ANSWERS: (u32, u32) = (1024, 128);

/// Trouble that anybody on the wire can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A DHCP datagram that is none.
    Dhcp,
    /// A datagram on a DHCP port that is longer than any of DHCP.
    Oversized,
    /// More by relays than is answered.
    Relays,
    /// A TFTP datagram that is no read request.
    Tftp,
    /// More TFTP requests whose answer is larger than they are, or leaves the link, than are answered.
    Answers,
    /// An HTTP request that is none, or one that takes too long.
    Http,
    /// An HTTP request for what is not here, or in a way that is not served.
    Request,
    /// All places for HTTP connections are taken.
    Places,
    /// A router solicitation that is none.
    Solicitation,
    /// An answer that could not be sent.
    Unsent,
    /// More machines than are told of.
    Crowd,
    /// The disk takes no leases.
    Disk,
    /// A failure for an address that may be forged.
    Unproved,
}

/// As many as there are above.
const TROUBLES: usize = Trouble::Unproved as usize + 1;

/// When each kind of trouble was said last, and what may be told of machines.
#[derive(Debug)]
pub(crate) struct Restraint {
    said: Mutex<[Throttle; TROUBLES]>,
    left_alone: Mutex<Allowance>,
    booting: Mutex<Allowance>,
    /// On the link, and beyond it: who forges from afar keeps nobody here from his file.
    large_answers: [Mutex<Allowance>; 2],
}

impl Restraint {
    /// Whether one more first answer of TFTP may be larger than its request, or leave the link.
    fn may_answer(&self, now: Duration, is_far: bool) -> bool {
        locked(&self.large_answers[usize::from(is_far)]).pass(now)
    }
}

impl Default for Restraint {
    fn default() -> Self {
        let allowance = |(at_once, per_second)| Mutex::new(Allowance::new(at_once, per_second));
        let mut said = std::array::from_fn(|_| Throttle::every(INTERVAL));
        said[Trouble::Unproved as usize] = Throttle::every(INTERVAL_UNPROVED);
        let large_answers = [allowance(LARGE_ANSWERS), allowance(LARGE_ANSWERS)];
        Self { said: Mutex::new(said), left_alone: allowance(LEFT_ALONE), booting: allowance(BOOTING), large_answers }
    }
}

impl Shared {
    /// Says trouble, unless the same kind was said a short while ago; the caller counts it.
    pub(crate) fn complain(&self, trouble: Trouble, address: Option<IpAddr>, why: impl FnOnce() -> String) {
        let Some(withheld) = self.pass(trouble) else { return };
        let why = why() + &more_like_it(withheld);
        self.record(Note { mac: None, firmware: None, address, kind: EventKind::Failed { file: String::new(), why } });
    }

    /// A failure for an address that may be forged, if it may be recorded: one a second, whoever sends how much.
    pub(crate) fn pass_unproved(&self, mut kind: EventKind) -> Option<EventKind> {
        let Some(withheld) = self.pass(Trouble::Unproved) else {
            self.counting.events_withheld.add(1);
            return None;
        };
        if let EventKind::Failed { why, .. } = &mut kind {
            why.push_str(&more_like_it(withheld));
        }
        Some(kind)
    }

    /// Whether a TFTP request whose answer is larger than itself, or leaves the link, is answered; counted and said if not.
    pub(crate) fn may_answer(&self, source: Ipv4Addr, is_far: bool) -> bool {
        let may = self.restraint.may_answer(self.now(), is_far);
        if !may {
            self.counting.tftp_withheld.add(1);
            self.complain(Trouble::Answers, Some(source.into()), || {
                let from = if is_far { "from beyond the link" } else { "without options" };
                format!("more TFTP requests come {from} than are answered, the last from {source}; are they real?")
            });
        }
        may
    }

    fn pass(&self, trouble: Trouble) -> Option<u64> {
        locked(&self.restraint.said)[trouble as usize].pass(self.now())
    }

    /// Whether events that a datagram led to may be recorded: anybody can pose as ever new machines.
    pub(crate) fn may_tell(&self, notes: &[Note]) -> bool {
        if notes.is_empty() {
            return false;
        }
        let is_alone =
            notes.iter().any(|note| matches!(note.kind, EventKind::Ignored { .. } | EventKind::Server { .. }));
        let allowance = if is_alone { &self.restraint.left_alone } else { &self.restraint.booting };
        let may = locked(allowance).pass(self.now());
        if !may {
            self.counting.events_withheld.add(notes.len() as u64);
            self.complain(Trouble::Crowd, None, || {
                "more machines ask to be booted than are told of here; if there are not so many, somebody makes them \
                 up: `meadow pxe status` counts them"
                    .to_owned()
            });
        }
        may
    }
}

fn more_like_it(withheld: u64) -> String {
    match withheld {
        0 => String::new(),
        _ => format!(" ({withheld} more like it since the last that was shown)"),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_small_requests_gets_fewer_bytes_than_it_has_and_a_rack_gets_all() {
        // A request without options, and the block of 512 bytes that answers it, with their IP and UDP headers.
        let (request, answer) = (28 + 16, 28 + 4 + 512);
        for is_far in [false, true] {
            let restraint = Restraint::default();
            let answered =
                |at: Duration, requests: u64| (0..requests).filter(|_| restraint.may_answer(at, is_far)).count() as u64;
            let rack = answered(Duration::ZERO, 1000);
            assert_eq!(rack, 1000, "500 machines, two requests each");
            let flood: u64 = (0..10_000).map(|step| answered(Duration::from_millis(step), 10)).sum();
            let (bytes_in, bytes_out) = (100_000 * request, flood * answer);
            assert!(bytes_out < bytes_in / 5, "{bytes_out} for {bytes_in}");
            assert_eq!(flood, 24 + 10 * 128 - 1, "what was left, and ten seconds");
            assert!(restraint.may_answer(Duration::ZERO, !is_far), "the others do not pay for it");
        }
    }
}
