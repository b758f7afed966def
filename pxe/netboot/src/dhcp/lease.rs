//! One lease, in memory and as it goes to disk.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::client_key::ClientKey;

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) holder: Holder,
    /// When it ends; what has ended is kept, so that a client gets the same address again.
    pub(super) until: Duration,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Offered, and not yet asked for.
    Offered(ClientKey),
    /// Acknowledged.
    Bound(ClientKey),
    /// Somebody uses it without a lease.
    Stranger,
}

impl Lease {
    pub(super) fn client(&self) -> Option<&ClientKey> {
        match &self.holder {
            Holder::Offered(client) | Holder::Bound(client) => Some(client),
            Holder::Stranger => None,
        }
    }

    pub(super) fn is_active(&self, now: Duration) -> bool {
        now < self.until
    }
}

/// A change that must be on disk before the client hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// Who has it; `None`: somebody uses it without a lease.
    pub client: Option<ClientKey>,
    /// How much longer; zero: it has ended, and is kept in mind for its client.
    pub remaining: Duration,
}
