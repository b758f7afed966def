//! One interface that is served, with what is known of its wire.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meadow_model::MacAddress;
use meadow_netboot::{EventKind, Note};

use crate::neighbours;
use crate::other_servers::OtherServers;
use crate::problem::Problem;
use crate::shared::Shared;

/// An interface of the server.
pub(crate) struct Segment {
    /// The interface's name.
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    others: Mutex<OtherServers>,
    /// Nobody else gives out addresses there, as the last look at the wire showed.
    is_alone: AtomicBool,
    state: Mutex<State>,
}

/// What its supervisor found last.
#[derive(Default)]
struct State {
    address: Option<Ipv4Addr>,
    problems: Vec<Problem>,
}

impl Segment {
    pub(crate) fn new(name: String, shared: Arc<Shared>) -> Self {
        Self { name, shared, others: Mutex::default(), is_alone: AtomicBool::new(false), state: Mutex::default() }
    }

    /// The address that machines there are told; `None` while nothing is served.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.state().address
    }

    /// Takes in the address that is served from. Without one, others may come before it is there again.
    pub(crate) fn set_address(&self, address: Option<Ipv4Addr>) {
        self.state().address = address;
        if let Some(full) = &self.shared.full {
            full.server().set_home(&self.name, address);
        }
        if address.is_none() {
            self.set_alone(false);
        }
    }

    /// What is not served there now.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.state().problems.clone()
    }

    pub(crate) fn set_problems(&self, problems: Vec<Problem>) {
        self.state().problems = problems;
    }

    /// The other servers on the wire. Never held across an await.
    pub(crate) fn others(&self) -> MutexGuard<'_, OtherServers> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether addresses are to be given out on this wire, where we have this one.
    pub(crate) fn wants_leases(&self, own: Ipv4Addr) -> bool {
        self.shared.full.as_ref().is_some_and(|full| full.server().serves(own))
    }

    /// Whether addresses are given out now, to whoever came to this one of ours by this interface.
    pub(crate) fn gives_leases(&self, own: Ipv4Addr) -> bool {
        let full = self.shared.full.as_ref().filter(|full| full.is_open() && self.is_alone.load(Ordering::Relaxed));
        full.is_some_and(|full| full.server().serves_on(&self.name, own))
    }

    /// Takes in whether nobody else gives out addresses, and returns what it was before.
    pub(crate) fn set_alone(&self, is_alone: bool) -> bool {
        self.is_alone.swap(is_alone, Ordering::Relaxed)
    }

    /// The machine behind an IP address, from the lease it took or the kernel's neighbours.
    pub(crate) fn mac_of(&self, address: IpAddr) -> Option<MacAddress> {
        neighbours::mac_of(address, &self.name).or_else(|| self.shared.engine().mac_of(address))
    }

    /// Records what DHCP from there led to.
    pub(crate) fn record(&self, mut note: Note) {
        if let EventKind::Seen { interface, .. } = &mut note.kind {
            *interface = Some(self.name.clone());
        }
        self.shared.record(note);
    }

    /// Records a failure for an address that may be forged: one a second, whoever sends how much.
    pub(crate) fn record_unproved(&self, address: IpAddr, kind: EventKind) {
        if let Some(kind) = self.shared.pass_unproved(kind) {
            self.shared.record_for(self.mac_of(address), address, kind);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
