//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections at once, of all clients and of one.
const MAX_CONNECTIONS: usize = 512;
const MAX_PER_CLIENT: usize = 32;

/// Open connections by client.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_address: HashMap<IpAddr, usize>,
    crowd: Arc<Crowd>,
}

/// How many connections are open.
#[derive(Debug, Default)]
pub(super) struct Crowd(AtomicUsize);

impl Crowd {
    /// Whether more than half of the places are taken: who keeps one for later is then asked to leave it sooner.
    pub(super) fn is_crowded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_CONNECTIONS / 2
    }
}

impl Clients {
    /// The number of open connections, for those who are in them.
    pub(super) fn crowd(&self) -> Arc<Crowd> {
        self.crowd.clone()
    }

    /// Whether all places are taken.
    pub(super) fn is_full(&self) -> bool {
        self.crowd.0.load(Ordering::Relaxed) >= MAX_CONNECTIONS
    }

    /// Takes a place for a connection of `client`; whether it may have one more.
    pub(super) fn add(&mut self, client: IpAddr) -> bool {
        let count = self.by_address.entry(client).or_default();
        if *count >= MAX_PER_CLIENT {
            return false;
        }
        *count += 1;
        self.crowd.0.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Gives the place of a connection of `client` back.
    pub(super) fn remove(&mut self, client: IpAddr) {
        if let Some(count) = self.by_address.get_mut(&client) {
            *count -= 1;
            self.crowd.0.fetch_sub(1, Ordering::Relaxed);
            if *count == 0 {
                self.by_address.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_all_connections() {
        let mut clients = Clients::default();
        let greedy = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..MAX_PER_CLIENT {
            assert!(clients.add(greedy));
        }
        assert!(!clients.add(greedy));
        assert!(clients.add([192, 0, 2, 2].into()));
        clients.remove(greedy);
        assert!(clients.add(greedy));
    }

    #[test]
    fn places_are_bounded_and_half_of_them_make_a_crowd() {
        let mut clients = Clients::default();
        let client = |number: usize| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number as u32));
        let taken =
            (0..2 * MAX_CONNECTIONS).take_while(|&number| !clients.is_full() && clients.add(client(number))).count();
        assert_eq!(taken, MAX_CONNECTIONS);
        assert!(clients.crowd().is_crowded());
        for number in 0..MAX_CONNECTIONS / 2 {
            clients.remove(client(number));
        }
        assert!(!clients.crowd().is_crowded());
    }
}
