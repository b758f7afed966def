//! What is known of the network cards, and what follows from it, without effects.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::Uplink;
use crate::dhcp::{Lease, Mac, format_mac};
use crate::http::{BaseUrl, Route};

/// How much earlier another card has to be ready than the one that the firmware booted from.
const HEAD_START: Duration = Duration::from_secs(10);

/// One card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardStatus {
    /// Hardware address.
    pub mac: Mac,
    /// Whether a cable is plugged in and the other side is on.
    pub carrier: bool,
    /// The address in use.
    pub lease: Option<Lease>,
    /// The fixed addresses in use, instead of a lease.
    pub fixed: Vec<String>,
    /// The Meadow server seen here.
    pub server: Option<BaseUrl>,
    /// Since when it has all of these.
    pub ready_since: Option<Duration>,
    /// How often the server could not be reached through it.
    pub failures: u32,
    /// Look for the server again.
    pub search_again: bool,
}

impl CardStatus {
    /// A card about which nothing is known.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self {
            mac,
            carrier: false,
            lease: None,
            fixed: Vec::new(),
            server: None,
            ready_since: None,
            failures: 0,
            search_again: false,
        }
    }

    /// The addresses in use.
    pub(super) fn addresses(&self) -> Vec<String> {
        let lease = self.lease.map(|lease| format!("{}/{}", lease.address, lease.prefix_len));
        self.fixed.iter().cloned().chain(lease).collect()
    }

    /// Notes since when the card is ready, after a change.
    pub(super) fn settle(&mut self, now: Duration) {
        let ready = self.carrier && self.lease.is_some() && self.server.is_some();
        self.ready_since = ready.then(|| self.ready_since.unwrap_or(now));
    }

    fn line(&self, name: &str) -> String {
        let mac = format_mac(self.mac, ":");
        let state = match (self.carrier, &self.lease, &self.server) {
            (false, ..) => "no carrier".to_owned(),
            (true, ..) if !self.fixed.is_empty() => format!("{} (fixed)", self.fixed.join(" ")),
            (true, None, _) => "no DHCP lease yet".to_owned(),
            (true, Some(lease), None) => {
                format!("{}/{}, no Meadow server yet", lease.address, lease.prefix_len)
            }
            (true, Some(lease), Some(server)) => {
                format!("{}/{}, server {server}", lease.address, lease.prefix_len)
            }
        };
        format!("{name} ({mac}): {state}")
    }
}

/// One line a card, sorted by name.
#[must_use]
pub fn lines(cards: &HashMap<String, CardStatus>) -> Vec<String> {
    let sorted: BTreeMap<_, _> = cards.iter().collect();
    sorted.into_iter().map(|(name, status)| status.line(name)).collect()
}

/// Which way to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Use(Uplink),
    /// Perhaps another than the card that the firmware booted from, but not before this time.
    At(Duration),
    /// No card has a lease and a server.
    Unready,
}

/// The card to use at the time `now`: the one with the fewest failures, and of those the first that was ready. The card
/// that the firmware booted from has ten seconds, until it fails: the server knows this machine by it.
#[must_use]
pub fn choose(cards: &HashMap<String, CardStatus>, boot_card: Option<Mac>, now: Duration) -> Choice {
    let boot_card = boot_card.filter(|mac| !cards.values().any(|card| card.mac == *mac && card.failures > 0));
    let turn = |status: &CardStatus| {
        let late = boot_card.is_some_and(|mac| mac != status.mac);
        status.ready_since.map(|ready| if late { ready + HEAD_START } else { ready })
    };
    let first = cards
        .iter()
        .filter_map(|(name, status)| Some((turn(status)?, name, status, status.server?)))
        .min_by_key(|(turn, name, status, _)| (status.failures, *turn, *name));
    match first {
        Some((turn, ..)) if turn > now => Choice::At(turn),
        Some((_, name, status, base)) => {
            Choice::Use(Uplink { route: Route { interface: Some(name.clone()), base }, mac: status.mac })
        }
        None => Choice::Unready,
    }
}

/// What is missing, with the next step for a person.
#[must_use]
pub fn describe_wait(cards: &HashMap<String, CardStatus>) -> String {
    let hint = if cards.is_empty() {
        return "no wired network card with a driver in this initrd was found".to_owned();
    } else if cards.values().all(|card| !card.carrier) {
        "plug in a network cable"
    } else if cards.values().any(|card| !card.fixed.is_empty()) {
        "a card with fixed addresses asks no DHCP, by which a server would be found"
    } else if cards.values().all(|card| card.lease.is_none()) {
        "no DHCP server answers: is the router on?"
    } else if cards.values().any(|card| card.ready_since.is_some()) {
        "waiting a moment for the card that the firmware booted from"
    } else {
        "no Meadow server answers: is it on, in this network, and does it know this machine?"
    };
    format!("{}; {hint}", lines(cards).join("; "))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn lease() -> Lease {
        Lease {
            address: Ipv4Addr::new(192, 0, 2, 10),
            prefix_len: 24,
            router: None,
            server: Ipv4Addr::new(192, 0, 2, 1),
            lifetime: None,
            renew: Duration::ZERO,
            rebind: Duration::ZERO,
        }
    }

    fn card(carrier: bool, leased: bool, server: bool, at: u64) -> CardStatus {
        let mut status = CardStatus::new([2, 0, 0, 0, 0, 1]);
        status.carrier = carrier;
        status.lease = leased.then(lease);
        status.server = server.then(|| BaseUrl::parse("http://192.0.2.2:7480/").unwrap());
        status.settle(Duration::from_secs(at));
        status
    }

    fn cards(list: &[(&str, CardStatus)]) -> HashMap<String, CardStatus> {
        list.iter().map(|(name, status)| ((*name).to_owned(), status.clone())).collect()
    }

    fn chosen(cards: &HashMap<String, CardStatus>) -> Option<String> {
        interface(choose(cards, None, Duration::from_secs(60)))
    }

    fn interface(choice: Choice) -> Option<String> {
        match choice {
            Choice::Use(uplink) => uplink.route.interface,
            Choice::At(_) | Choice::Unready => None,
        }
    }

    #[test]
    fn only_a_card_with_everything_is_chosen() {
        for (carrier, leased, server) in [(false, true, true), (true, false, true), (true, true, false)] {
            assert_eq!(chosen(&cards(&[("eth0", card(carrier, leased, server, 1))])), None);
        }
    }

    #[test]
    fn the_first_one_ready_wins_until_it_fails() {
        let mut all = cards(&[("eth0", card(true, true, true, 9)), ("eth1", card(true, true, true, 3))]);
        assert_eq!(chosen(&all).as_deref(), Some("eth1"));
        all.get_mut("eth1").unwrap().failures = 1;
        assert_eq!(chosen(&all).as_deref(), Some("eth0"));
    }

    /// Each case: when the boot card (eth0) and the other one (eth1) are ready, the time, and the choice.
    #[test]
    fn the_boot_card_has_a_head_start() {
        let seconds = Duration::from_secs;
        for (boot, other, now, expected) in [
            (Some(5), Some(3), 5, Ok("eth0")),
            (Some(13), Some(3), 13, Ok("eth0")),
            (Some(5), None, 5, Ok("eth0")),
            (None, Some(3), 3, Err(Choice::At(seconds(13)))),
            (None, Some(3), 13, Ok("eth1")),
            // A choice that was made stays when the boot card comes later.
            (Some(14), Some(3), 20, Ok("eth1")),
            (None, None, 60, Err(Choice::Unready)),
        ] {
            let mut eth0 = card(true, true, boot.is_some(), boot.unwrap_or(0));
            eth0.mac = [2, 0, 0, 0, 0, 9];
            let all = cards(&[("eth0", eth0), ("eth1", card(true, true, other.is_some(), other.unwrap_or(0)))]);
            let choice = choose(&all, Some([2, 0, 0, 0, 0, 9]), seconds(now));
            match expected {
                Ok(name) => assert_eq!(interface(choice).as_deref(), Some(name), "{boot:?} {other:?} {now}"),
                Err(wait) => assert_eq!(choice, wait, "{boot:?} {other:?} {now}"),
            }
        }
    }

    #[test]
    fn a_boot_card_that_failed_or_never_comes_holds_nobody_up() {
        let (mac, now) = ([2, 0, 0, 0, 0, 9], Duration::from_secs(4));
        let mut failed = card(true, true, true, 1);
        (failed.mac, failed.failures) = (mac, 1);
        let all = cards(&[("eth0", failed), ("eth1", card(true, true, true, 3))]);
        assert_eq!(interface(choose(&all, Some(mac), now)).as_deref(), Some("eth1"));
        let only_other = cards(&[("eth1", card(true, true, true, 3))]);
        assert_eq!(choose(&only_other, Some(mac), now), Choice::At(Duration::from_secs(13)));
        assert!(describe_wait(&only_other).contains("the card that the firmware booted from"));
        assert_eq!(interface(choose(&only_other, Some(mac), Duration::from_secs(13))).as_deref(), Some("eth1"));
    }

    #[test]
    fn readiness_keeps_its_date_and_ends_with_the_carrier() {
        let mut status = card(true, true, true, 3);
        status.settle(Duration::from_secs(8));
        assert_eq!(status.ready_since, Some(Duration::from_secs(3)));
        status.carrier = false;
        status.settle(Duration::from_secs(9));
        assert_eq!(status.ready_since, None);
    }

    #[test]
    fn says_what_is_missing() {
        for (list, expected) in [
            (vec![], "no wired network card"),
            (vec![("eth0", card(false, false, false, 0))], "plug in a network cable"),
            (
                vec![("eth0", card(true, false, false, 0)), ("eth1", card(false, false, false, 0))],
                "no DHCP server answers",
            ),
            (vec![("eth0", card(true, true, false, 0))], "no Meadow server answers"),
            (
                vec![("eth0", CardStatus { fixed: vec!["192.0.2.7/24".to_owned()], ..card(true, false, false, 0) })],
                "192.0.2.7/24 (fixed); a card with fixed addresses",
            ),
        ] {
            let text = describe_wait(&cards(&list));
            assert!(text.contains(expected), "{text}");
        }
        let text =
            describe_wait(&cards(&[("eth1", card(true, true, false, 0)), ("eth0", card(false, false, false, 0))]));
        assert!(
            text.starts_with(
                "eth0 (02:00:00:00:00:01): no carrier; eth1 (02:00:00:00:00:01): 192.0.2.10/24, no Meadow"
            ),
            "{text}"
        );
    }
}
