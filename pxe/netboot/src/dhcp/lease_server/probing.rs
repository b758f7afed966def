//! Who uses addresses without a lease of them.

use std::net::Ipv4Addr;
use std::time::Duration;

use meadow_model::MacAddress;

use super::{AHEAD, LeaseServer, QUIET_FOR};
use crate::dhcp::lease::{Holder, Lease, LeaseRecord};

/// How long an address that somebody uses without a lease is not given out.
const SET_ASIDE: Duration = Duration::from_secs(600);

impl LeaseServer {
    /// The addresses of the interface's own subnet that are given out next and were not looked at lately: the caller
    /// asks by ARP who uses them, and tells [`Self::found`].
    #[must_use]
    pub fn to_probe(&self, now: Duration, own: Ipv4Addr) -> Vec<Ipv4Addr> {
        let Some((subnet, table)) = self.subnets.iter().find(|(subnet, _)| subnet.is_host(own)) else {
            return Vec::new();
        };
        let is_due = |address: &Ipv4Addr| table.quiet_for(*address, now).is_none_or(|age| age > QUIET_FOR / 2);
        let usable = |address: &Ipv4Addr| subnet.is_pooled(*address) && *address != own && !self.is_ours(*address);
        table.candidates(now).filter(usable).take(AHEAD).filter(is_due).collect()
    }

    /// Takes in who answered for an address that was probed. A stranger's address is set aside, and one whose client
    /// goes on with it after the end of its lease is kept for it as long: the record is for the disk.
    pub fn found(&mut self, now: Duration, address: Ipv4Addr, user: Option<MacAddress>) -> Option<LeaseRecord> {
        let at = self.subnets.iter().position(|(subnet, _)| subnet.is_host(address))?;
        let table = &mut self.subnets[at].1;
        let Some(user) = user else {
            table.set_quiet(address, now);
            return None;
        };
        let lease = table.get(address);
        // Its last client may still be there; and whom it was given to meanwhile is none of a stranger.
        let client = lease.and_then(Lease::client).filter(|client| client.mac() == user).cloned();
        let is_active = lease.is_some_and(|lease| lease.is_active(now));
        let is_bound = lease.is_some_and(|lease| matches!(lease.holder, Holder::Bound(_)));
        if is_active && (is_bound || client.is_some()) {
            return None;
        }
        match client.filter(|client| table.address_of(client) == Some(address)) {
            Some(client) => {
                let holder = Holder::Bound(client.clone());
                table.put(address, Lease { holder, until: now + SET_ASIDE }, now);
                Some(LeaseRecord { address, client: Some(client), remaining: SET_ASIDE })
            }
            None => Some(self.set_aside(at, now, address)),
        }
    }

    pub(super) fn set_aside(&mut self, at: usize, now: Duration, address: Ipv4Addr) -> LeaseRecord {
        self.subnets[at].1.put(address, Lease { holder: Holder::Stranger, until: now + SET_ASIDE }, now);
        LeaseRecord { address, client: None, remaining: SET_ASIDE }
    }
}
