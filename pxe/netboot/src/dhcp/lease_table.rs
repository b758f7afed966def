//! The leases of one subnet. No address is ever held by two clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::client_key::ClientKey;
use super::lease::{Holder, Lease};

/// The leases, as many as there are addresses.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    leases: BTreeMap<Ipv4Addr, Lease>,
    clients: HashMap<ClientKey, Ipv4Addr>,
    by_end: BTreeSet<(Duration, Ipv4Addr)>,
    /// Addresses of the pool that no client ever had.
    vacant: BTreeSet<Ipv4Addr>,
    /// Addresses that nobody uses, and when that was found.
    quiet: HashMap<Ipv4Addr, Duration>,
    /// The names that the clients of addresses gave themselves.
    names: HashMap<Ipv4Addr, String>,
}

impl LeaseTable {
    pub(super) fn new(pool: impl Iterator<Item = Ipv4Addr>) -> Self {
        Self { vacant: pool.collect(), ..Self::default() }
    }

    pub(super) fn get(&self, address: Ipv4Addr) -> Option<&Lease> {
        self.leases.get(&address)
    }

    /// The address that a client has or had last.
    pub(super) fn address_of(&self, client: &ClientKey) -> Option<Ipv4Addr> {
        self.clients.get(client).copied()
    }

    /// Whether nobody but `client` has a claim on an address now.
    pub(super) fn is_free_for(&self, client: &ClientKey, address: Ipv4Addr, now: Duration) -> bool {
        self.get(address).is_none_or(|lease| lease.client() == Some(client) || !lease.is_active(now))
    }

    /// Whether an address is or was a client's.
    pub(super) fn belongs_to(&self, client: &ClientKey, address: Ipv4Addr) -> bool {
        self.get(address).is_some_and(|lease| lease.client() == Some(client))
    }

    /// Writes a lease over whatever the address had. A client that takes another address than before has given that one
    /// up; one that is only offered another may still use what it has, until that ends.
    pub(super) fn put(&mut self, address: Ipv4Addr, lease: Lease, now: Duration) {
        if self.get(address).is_none_or(|before| before.client() != lease.client()) {
            self.names.remove(&address);
        }
        self.remove(address);
        if let Some(client) = lease.client().cloned() {
            let former = self.clients.insert(client, address).filter(|former| *former != address);
            let is_offer = matches!(lease.holder, Holder::Offered(_));
            let in_use = |old: &Lease| is_offer && matches!(old.holder, Holder::Bound(_)) && old.is_active(now);
            if let Some(former) = former
                && let Some(old) = self.leases.get(&former).filter(|old| !in_use(old))
            {
                self.by_end.remove(&(old.until, former));
                self.leases.remove(&former);
                self.names.remove(&former);
                self.vacant.insert(former);
            }
        }
        self.vacant.remove(&address);
        self.by_end.insert((lease.until, address));
        self.leases.insert(address, lease);
    }

    fn remove(&mut self, address: Ipv4Addr) {
        let Some(lease) = self.leases.remove(&address) else { return };
        self.by_end.remove(&(lease.until, address));
        if let Some(client) = lease.client()
            && self.clients.get(client) == Some(&address)
        {
            self.clients.remove(client);
        }
    }

    /// The next addresses for a client that had none: those that nobody ever had, then those that ended first.
    pub(super) fn candidates(&self, now: Duration) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let ended = self.by_end.iter().take_while(move |(until, _)| *until <= now).map(|(_, address)| *address);
        self.vacant.iter().copied().chain(ended)
    }

    /// What the client of an address calls itself.
    pub(super) fn set_name(&mut self, address: Ipv4Addr, name: &str) {
        self.names.insert(address, name.to_owned());
    }

    pub(super) fn name_of(&self, address: Ipv4Addr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }

    /// Everything that is known of any address, in their order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Ipv4Addr, &Lease)> {
        self.leases.iter().map(|(address, lease)| (*address, lease))
    }

    pub(super) fn set_quiet(&mut self, address: Ipv4Addr, now: Duration) {
        self.quiet.insert(address, now);
    }

    /// How long ago an address was found to be used by nobody.
    pub(super) fn quiet_for(&self, address: Ipv4Addr, now: Duration) -> Option<Duration> {
        self.quiet.get(&address).map(|at| now.saturating_sub(*at))
    }

    /// All leases but mere offers, a client's current one behind others that it may still use.
    pub(super) fn lasting(&self) -> impl Iterator<Item = (Ipv4Addr, &Lease)> {
        let is_current = |address: &Ipv4Addr, lease: &Lease| {
            lease.client().is_none_or(|client| self.clients.get(client) == Some(address))
        };
        let lasting = self.leases.iter().filter(|(_, lease)| !matches!(lease.holder, Holder::Offered(_)));
        let (current, others): (Vec<_>, Vec<_>) = lasting.partition(|(address, lease)| is_current(address, lease));
        others.into_iter().chain(current).map(|(address, lease)| (*address, lease))
    }
}
