//! How many connections there may be, and who makes room when all places are taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::seat::Seat;

/// Connections at once, of all clients and of one.
pub(super) const MAX_CONNECTIONS: usize = 512;
const MAX_PER_CLIENT: usize = 32;

/// Bytes of a file that show that a client takes it.
pub(super) const PORTION: u64 = 64 << 10;

/// Connections that a machine may have for good reasons: one that it closes, and a few beside each other.
const FEW: usize = 4;

/// How long an address may keep a few connections without taking a portion, where every place is taken and one more comes.
/// Who is slow may be so because we are: 512 clients that share 100 Mbit/s take a portion in 2.7 s, and not all alike.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection that is to make room gets for that, before another one is chosen too.
const LEAVING: Duration = Duration::from_secs(1);

/// The places for connections of the whole server: all its interfaces and addresses share them.
#[derive(Debug)]
pub(crate) struct Crowd {
    places: Arc<Semaphore>,
    seats: Mutex<Vec<Arc<Seat>>>,
    patience: Duration,
}

/// The place of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    seat: Arc<Seat>,
    _free: OwnedSemaphorePermit,
}

/// Who makes room for a newcomer.
#[derive(Debug)]
enum Choice {
    Now(Arc<Seat>),
    /// Nobody until then.
    In(Duration),
}

impl Default for Crowd {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl Crowd {
    /// All places are free. `patience` is how long an address may keep a few connections without taking a portion.
    pub(super) fn new(patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), seats: Mutex::default(), patience }
    }

    /// A place for a connection of `client`; `None` if it has too many. Where all are taken, [somebody](Self::choose) makes
    /// room; until there is room it waits, and who waits first gets the next place.
    pub(super) async fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        // Before somebody makes room for one that is turned away.
        if self.seats().iter().filter(|seat| seat.client == client).count() >= MAX_PER_CLIENT {
            return None;
        }
        if let Ok(free) = self.places.clone().try_acquire_owned() {
            return self.take(free, client);
        }
        let mut free = std::pin::pin!(self.places.clone().acquire_owned());
        loop {
            let pause = match self.choose(client, Instant::now()) {
                Choice::Now(seat) => {
                    seat.evict();
                    LEAVING
                }
                Choice::In(pause) => pause,
            };
            if let Ok(free) = timeout(pause, &mut free).await {
                return self.take(free.ok()?, client);
            }
        }
    }

    /// Whether more than half of the places are taken: who keeps one for later is then asked to leave it sooner.
    pub(super) fn is_crowded(&self) -> bool {
        self.places.available_permits() < MAX_CONNECTIONS / 2
    }

    /// Who makes room for `client` where all places are taken: of the address with the most connections, if it has more than
    /// the newcomer's will have, else of the newcomer's own, the connection that took no portion of a file for longest. Where
    /// nobody has more than a few and the newcomer has none, nobody has to go who keeps within the patience.
    fn choose(&self, client: IpAddr, now: Instant) -> Choice {
        let lags: Vec<_> = self.seats().iter().filter_map(|seat| Some((Arc::clone(seat), seat.lag(now)?))).collect();
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (seat, _) in &lags {
            *counts.entry(seat.client).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let own = counts.get(&client).copied().unwrap_or(0);
        let patience = if own == 0 && most <= FEW { self.patience } else { Duration::ZERO };
        let of_most = own == 0 || most > own + 1;
        let may_go = |seat: &Seat| if of_most { counts[&seat.client] == most } else { seat.client == client };
        match lags.iter().filter(|(seat, _)| may_go(seat)).max_by_key(|(_, lag)| *lag) {
            Some((seat, lag)) if *lag >= patience => Choice::Now(Arc::clone(seat)),
            Some((_, lag)) => Choice::In(patience - *lag),
            // All of them leave already.
            None => Choice::In(LEAVING),
        }
    }

    fn take(self: &Arc<Self>, free: OwnedSemaphorePermit, client: IpAddr) -> Option<Place> {
        let mut seats = self.seats();
        // Other listeners may have let more of it in meanwhile.
        if seats.iter().filter(|seat| seat.client == client).count() >= MAX_PER_CLIENT {
            return None;
        }
        let seat = Arc::new(Seat::new(client, Instant::now()));
        seats.push(Arc::clone(&seat));
        Some(Place { crowd: Arc::clone(self), seat, _free: free })
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Place {
    type Target = Seat;

    fn deref(&self) -> &Seat {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::seat::is_eviction;

    const LONG: Duration = Duration::from_secs(60);

    async fn enter(crowd: &Arc<Crowd>, client: u32) -> Option<Place> {
        crowd.enter(address(client)).await
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    /// Every place taken, by the address that `client` says for each.
    async fn full(client: impl Fn(u32) -> u32) -> (Arc<Crowd>, Vec<Place>) {
        let (crowd, mut places) = (Arc::new(Crowd::new(LONG)), Vec::new());
        for number in 0..MAX_CONNECTIONS as u32 {
            places.push(enter(&crowd, client(number)).await.expect("a place"));
        }
        (crowd, places)
    }

    /// Which address has to make room for this one, `None` if it has to wait.
    fn goes(crowd: &Crowd, client: u32, now: Instant) -> Option<IpAddr> {
        match crowd.choose(address(client), now) {
            Choice::Now(seat) => Some(seat.client),
            Choice::In(_) => None,
        }
    }

    #[tokio::test]
    async fn one_client_cannot_take_all_connections() {
        let crowd = Arc::new(Crowd::default());
        let mut places = Vec::new();
        for _ in 0..MAX_PER_CLIENT {
            places.push(enter(&crowd, 1).await.expect("a place"));
        }
        assert!(enter(&crowd, 1).await.is_none());
        assert!(enter(&crowd, 2).await.is_some());
        places.pop();
        places.extend(enter(&crowd, 1).await);
        assert_eq!(places.len(), MAX_PER_CLIENT);
        drop(places);
        assert!(crowd.seats().is_empty() && crowd.places.available_permits() == MAX_CONNECTIONS);
    }

    #[tokio::test]
    async fn places_are_bounded_and_half_of_them_make_a_crowd() {
        let (crowd, mut taken) = full(|number| number).await;
        assert_eq!(crowd.places.available_permits(), 0);
        assert!(crowd.is_crowded());
        taken.truncate(MAX_CONNECTIONS / 2);
        assert!(!crowd.is_crowded());
    }

    #[tokio::test]
    async fn the_address_with_the_most_connections_makes_room_with_the_one_that_takes_least() {
        // 15 addresses with 32, one with 31 and one with a single one.
        let (crowd, places) = full(|number| if number == 0 { 99 } else { number / 32 }).await;
        let now = Instant::now() + LONG;
        for place in &places {
            place.used(now);
        }
        places[40].used(now - Duration::from_millis(1));
        // Who has few is left alone, however slow it is.
        for few in [0, 1] {
            places[few].used(now - LONG);
        }
        let choice = crowd.choose(address(100), now);
        assert!(matches!(choice, Choice::Now(seat) if Arc::ptr_eq(&seat, &places[40].seat)));
        assert_eq!(goes(&crowd, 0, now), Some(address(0)), "it will have as many as the others");
        places[40].evict();
        assert_ne!(goes(&crowd, 100, now), None);
        assert!(!matches!(crowd.choose(address(100), now), Choice::Now(seat) if Arc::ptr_eq(&seat, &places[40].seat)));
    }

    #[tokio::test]
    async fn who_has_a_few_connections_keeps_them_while_it_takes_what_it_asked_for() {
        let (crowd, places) = full(|number| number / FEW as u32).await;
        let now = Instant::now() + LONG;
        for place in &places {
            place.used(now);
        }
        assert_eq!(goes(&crowd, 1000, now), None);
        places[5].used(now - LONG);
        assert_eq!(goes(&crowd, 1000, now), Some(address(1)));
    }

    #[tokio::test]
    async fn the_only_connection_of_an_address_is_ended_for_a_newcomer_alone_and_if_it_takes_nothing() {
        let (crowd, places) = full(|number| number).await;
        let now = Instant::now() + LONG;
        for place in &places {
            place.used(now);
        }
        assert_eq!(goes(&crowd, 1000, now), None, "all take what they asked for");
        places[7].used(now - LONG / 2);
        assert!(matches!(crowd.choose(address(1000), now), Choice::In(pause) if pause == LONG / 2));
        places[7].used(now - LONG);
        assert_eq!(goes(&crowd, 1000, now), Some(address(7)));
        assert_eq!(goes(&crowd, 8, now), Some(address(8)), "who has one gives up that");
        places[7].while_we_work(async { assert_eq!(goes(&crowd, 1000, now), None, "our disk is slow") }).await;
    }

    #[tokio::test]
    async fn a_newcomer_waits_until_who_makes_room_has_gone() {
        let (crowd, mut places) = full(|number| number / 32).await;
        let laggard = places.remove(0);
        for place in &places {
            place.used(Instant::now() + LONG);
        }
        let leaving = async move {
            let error =
                laggard.unless_evicted(std::future::pending::<std::io::Result<()>>()).await.expect_err("no end");
            assert!(is_eviction(&error), "{error}");
            assert_eq!(laggard.crowd.places.available_permits(), 0);
        };
        let (place, ()) = tokio::join!(enter(&crowd, 100), leaving);
        let place = place.expect("a place");
        assert_eq!(place.client, address(100));
        assert_eq!(crowd.seats().len(), MAX_CONNECTIONS);
    }
}
