//! What keeps strangers from filling the log: whatever they send is counted, and said now and then.

use std::net::IpAddr;
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

/// Trouble that anybody on the wire can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A DHCP datagram that is none.
    Dhcp,
    /// More by relays than is answered.
    Relays,
    /// A TFTP datagram that is no read request.
    Tftp,
    /// An HTTP request that is none, or one that takes too long.
    Http,
    /// An HTTP request for what is not here, or in a way that is not served.
    Request,
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
}

impl Default for Restraint {
    fn default() -> Self {
        let allowance = |(at_once, per_second)| Mutex::new(Allowance::new(at_once, per_second));
        let mut said = std::array::from_fn(|_| Throttle::every(INTERVAL));
        said[Trouble::Unproved as usize] = Throttle::every(INTERVAL_UNPROVED);
        Self { said: Mutex::new(said), left_alone: allowance(LEFT_ALONE), booting: allowance(BOOTING) }
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
