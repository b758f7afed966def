//! What is kept of leases, on the disk and for people.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::LeaseServer;
use crate::dhcp::client_key::ClientKey;
use crate::dhcp::lease::{Holder, Lease, LeaseRecord};
use crate::dhcp::lease_table::LeaseTable;
use crate::dhcp::lease_view::LeaseView;
use crate::dhcp::subnet::{MAX_LEASE, Subnet};

impl LeaseServer {
    /// Takes a lease over from the disk; a later one of the same address or client replaces an earlier one. Addresses
    /// that no subnet has any more are left out.
    pub fn restore(&mut self, now: Duration, record: LeaseRecord) {
        let Some((_, table)) = self.subnets.iter_mut().find(|(subnet, _)| subnet.is_host(record.address)) else {
            return;
        };
        // Not by the settings of now: the client was told another time.
        let longest = Duration::from_secs(MAX_LEASE.into());
        let holder = record.client.map_or(Holder::Stranger, Holder::Bound);
        table.put(record.address, Lease { holder, until: now + record.remaining.min(longest) }, now);
    }

    /// All leases as they are to be found on the disk.
    #[must_use]
    pub fn records(&self, now: Duration) -> Vec<LeaseRecord> {
        let record = |(address, lease): (Ipv4Addr, &Lease)| LeaseRecord {
            address,
            client: lease.client().cloned(),
            remaining: lease.until.saturating_sub(now),
        };
        self.subnets.iter().flat_map(|(_, table)| table.lasting().map(record)).collect()
    }

    /// Everything that is known of addresses, in their order, with the reservations that were never used.
    #[must_use]
    pub fn views(&self, now: Duration) -> Vec<LeaseView> {
        let of_subnet = |(subnet, table): &(Subnet, LeaseTable)| {
            let unused = subnet.reservations().filter(|(address, _)| table.get(*address).is_none());
            let mut views: Vec<_> = unused.map(|(address, mac)| LeaseView::reservation(address, mac)).collect();
            views.extend(table.all().map(|(address, lease)| {
                let mac = lease.client().map(ClientKey::mac);
                let reserved = mac.is_some_and(|mac| subnet.reserved_for(mac) == Some(address));
                LeaseView::of(address, lease, table.name_of(address), reserved, now)
            }));
            views
        };
        let mut views: Vec<_> = self.subnets.iter().flat_map(of_subnet).collect();
        views.sort_by_key(|view| view.address);
        views
    }

    /// Ends whatever is known of an address now: the record is for the disk. `None` where nobody has it.
    pub fn end(&mut self, now: Duration, address: Ipv4Addr) -> Option<LeaseRecord> {
        let (_, table) = self.subnets.iter_mut().find(|(subnet, _)| subnet.is_host(address))?;
        let holder = table.get(address).filter(|lease| lease.is_active(now))?.holder.clone();
        let client = match &holder {
            Holder::Offered(client) | Holder::Bound(client) => Some(client.clone()),
            Holder::Stranger => None,
        };
        table.put(address, Lease { holder, until: now }, now);
        Some(LeaseRecord { address, client, remaining: Duration::ZERO })
    }

    /// The lease of an address as it is to be found on the disk; `None` where nobody has it now.
    #[must_use]
    pub fn active_record(&self, now: Duration, address: Ipv4Addr) -> Option<LeaseRecord> {
        let (_, table) = self.subnets.iter().find(|(subnet, _)| subnet.is_host(address))?;
        let lease = table.get(address).filter(|lease| lease.is_active(now))?;
        let is_offer = matches!(lease.holder, Holder::Offered(_));
        (!is_offer).then(|| LeaseRecord { address, client: lease.client().cloned(), remaining: lease.until - now })
    }
}
