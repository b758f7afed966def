//! What is our own on any wire: where two of our interfaces are on one, each hears what the other one says.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use meadow_model::MacAddress;

/// The interfaces that are served now, by name.
#[derive(Debug, Default)]
pub(crate) struct OwnCards(Mutex<BTreeMap<String, Card>>);

#[derive(Debug)]
struct Card {
    address: Ipv4Addr,
    /// `None` where it has none, as a tunnel.
    mac: Option<MacAddress>,
}

impl OwnCards {
    /// An interface is served from this address.
    pub(crate) fn add(&self, interface: &str, address: Ipv4Addr, mac: Option<MacAddress>) {
        self.locked().insert(interface.to_owned(), Card { address, mac });
    }

    /// It is not served any more.
    pub(crate) fn remove(&self, interface: &str) {
        self.locked().remove(interface);
    }

    /// Whether we serve from this address on some interface.
    pub(crate) fn has_address(&self, address: Ipv4Addr) -> bool {
        self.locked().values().any(|card| card.address == address)
    }

    /// Whether a DHCP message is of one of these cards: no machine to boot, but our own look at the wire.
    pub(crate) fn sent(&self, dhcp: &[u8]) -> bool {
        let mac = dhcp.get(28..).and_then(|bytes| bytes.first_chunk()).map(|bytes| MacAddress(*bytes));
        mac.is_some() && self.locked().values().any(|card| card.mac == mac)
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Card>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_ours_as_long_as_it_is_served() {
        let (cards, mac) = (OwnCards::default(), MacAddress([2, 0, 0, 0, 0, 1]));
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let message = [&[0; 28][..], &mac.0].concat();
        cards.add("eth0", address, Some(mac));
        cards.add("tun0", Ipv4Addr::new(192, 0, 2, 2), None);
        assert!(cards.has_address(address) && cards.sent(&message));
        assert!(!cards.sent(&message[..33]) && !cards.sent(&[0; 300]), "cut, and of no card");
        cards.remove("eth0");
        assert!(!cards.has_address(address) && !cards.sent(&message));
    }
}
