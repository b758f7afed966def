//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once, of all clients and of one.
pub(super) const MAX_CONNECTIONS: usize = 512;
const MAX_PER_CLIENT: usize = 32;

/// The places for connections of the whole server: all its interfaces and addresses share them.
#[derive(Debug)]
pub(crate) struct Crowd {
    places: Arc<Semaphore>,
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that nobody has taken yet.
pub(super) type FreePlace = OwnedSemaphorePermit;

/// The place of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    client: IpAddr,
    _free: FreePlace,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), by_client: Mutex::default() }
    }
}

impl Crowd {
    /// Waits for a place; who asked first gets the next one. `None` never comes: the places are not closed.
    pub(super) async fn free_place(&self) -> Option<FreePlace> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Gives a place to a connection of `client`; `None` if it has too many, and the place is free again.
    pub(super) fn take(self: &Arc<Self>, free: FreePlace, client: IpAddr) -> Option<Place> {
        let mut by_client = self.by_client();
        let count = by_client.entry(client).or_default();
        if *count >= MAX_PER_CLIENT {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), client, _free: free })
    }

    /// Whether more than half of the places are taken: who keeps one for later is then asked to leave it sooner.
    pub(super) fn is_crowded(&self) -> bool {
        self.places.available_permits() < MAX_CONNECTIONS / 2
    }

    fn by_client(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_client = self.crowd.by_client();
        if let Some(count) = by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(crowd: &Arc<Crowd>, client: impl Into<IpAddr>) -> Option<Place> {
        crowd.take(crowd.places.clone().try_acquire_owned().ok()?, client.into())
    }

    #[test]
    fn one_client_cannot_take_all_connections() {
        let crowd = Arc::new(Crowd::default());
        let greedy = [192, 0, 2, 1];
        let mut places: Vec<_> = (0..MAX_PER_CLIENT).map(|_| take(&crowd, greedy).expect("a place")).collect();
        assert!(take(&crowd, greedy).is_none());
        assert!(take(&crowd, [192, 0, 2, 2]).is_some());
        places.pop();
        places.extend(take(&crowd, greedy));
        assert_eq!(places.len(), MAX_PER_CLIENT);
        drop(places);
        assert!(crowd.by_client().is_empty() && crowd.places.available_permits() == MAX_CONNECTIONS);
    }

    #[test]
    fn places_are_bounded_and_half_of_them_make_a_crowd() {
        let crowd = Arc::new(Crowd::default());
        let client = |number: usize| std::net::Ipv4Addr::from(0x0a00_0000 + number as u32);
        let mut taken: Vec<_> = (0..2 * MAX_CONNECTIONS).map_while(|number| take(&crowd, client(number))).collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS);
        assert!(crowd.is_crowded());
        taken.truncate(MAX_CONNECTIONS / 2);
        assert!(!crowd.is_crowded());
    }
}
