//! Leases for a display.

use std::net::Ipv4Addr;
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_model::boot::LeaseState;

use super::lease::{Holder, Lease};

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The address.
    pub address: Ipv4Addr,
    /// The card that has it, had it last, or may have it; `None` for a stranger's.
    pub mac: Option<MacAddress>,
    /// The name that the client gave itself, printable.
    pub hostname: Option<String>,
    /// Who has it.
    pub state: LeaseState,
    /// When that ends or has ended, on the caller's clock; `None` for a reservation that was never used.
    pub until: Option<Duration>,
    /// Whether it is reserved for this card.
    pub reserved: bool,
}

impl LeaseView {
    pub(super) fn of(address: Ipv4Addr, lease: &Lease, hostname: Option<&str>, reserved: bool, now: Duration) -> Self {
        let state = match &lease.holder {
            _ if !lease.is_active(now) => LeaseState::Ended,
            Holder::Offered(_) => LeaseState::Offered,
            Holder::Bound(_) => LeaseState::Active,
            Holder::Stranger => LeaseState::SetAside,
        };
        let mac = lease.client().map(super::client_key::ClientKey::mac);
        Self { address, mac, hostname: hostname.map(str::to_owned), state, until: Some(lease.until), reserved }
    }

    pub(super) fn reservation(address: Ipv4Addr, mac: MacAddress) -> Self {
        Self { address, mac: Some(mac), hostname: None, state: LeaseState::Reserved, until: None, reserved: true }
    }
}
