//! Who a lease belongs to.

use meadow_model::MacAddress;

/// Bytes of a client identifier that count; two clients with one card never differ only behind them.
const MAX_ID: usize = 64;

/// The identity of a DHCP client: its card, and its client identifier (option 61) where that says more.
///
/// Two systems on one card may have two leases, but two cards never share one: cloned machines send one identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey {
    mac: MacAddress,
    id: Vec<u8>,
}

impl ClientKey {
    /// The client with this card and identifier; empty, or the card's own address, means the card alone. What is
    /// longer than 64 bytes is cut.
    #[must_use]
    pub fn new(mac: MacAddress, id: &[u8]) -> Self {
        let is_card = matches!(id, [1, card @ ..] if *card == mac.0);
        let id = if is_card { &[] } else { &id[..id.len().min(MAX_ID)] };
        Self { mac, id: id.to_vec() }
    }

    /// Its card.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        self.mac
    }

    /// Its client identifier, empty where the card alone counts.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.id
    }
}
