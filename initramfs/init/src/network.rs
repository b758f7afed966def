//! All wired network cards at once: of those with a lease and a Meadow server, the one that the firmware booted from
//! wins, or else the first.

mod boot_card;
mod card;
mod facts;
mod fixed;
mod packet_socket;
mod rtnetlink;
mod status;

use std::collections::HashMap;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::boot_log::BootLog;
use crate::dhcp::{self, Mac};
use crate::http::Route;
use crate::lock;
use crate::system::uptime;

pub use boot_card::boot_card;
pub use facts::wired_cards;
pub use fixed::{FixedAddress, FixedCard, FixedNetwork, networkd_files};
use rtnetlink::Rtnetlink;
pub use status::{CardStatus, Choice, choose, describe_wait, lines};

/// A card that crashed is tried again after this.
const RESTART_PAUSE: Duration = Duration::from_secs(5);
/// How often a waiting boot says what it waits for.
const WAIT_STEP: Duration = Duration::from_secs(5);

/// The way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Interface and server.
    pub route: Route,
    /// The card's hardware address: the name by which the server knows this machine.
    pub mac: Mac,
}

impl Uplink {
    /// The path of something that belongs to this machine.
    #[must_use]
    pub fn path(&self, what: &str) -> String {
        format!("/machine/{}/{what}", dhcp::format_mac(self.mac, "-"))
    }
}

/// What is known of all cards.
#[derive(Debug, Default)]
pub struct Network {
    boot_card: Option<Mac>,
    cards: Mutex<HashMap<String, CardStatus>>,
    fixed: Mutex<Vec<FixedNetwork>>,
    changed: Condvar,
    closed: AtomicBool,
}

impl Network {
    /// Without cards yet. With `boot_card`, the card that the firmware booted from names the machine if it can.
    #[must_use]
    pub fn new(boot_card: Option<Mac>) -> Self {
        Self { boot_card, ..Self::default() }
    }

    /// Takes up every wired card that is not yet; to be called whenever one may have come.
    pub fn take_up(self: &Arc<Self>, log: &Arc<BootLog>) {
        for (name, index, mac) in wired_cards() {
            self.take_up_one(name, index, mac, log);
        }
    }

    fn take_up_one(self: &Arc<Self>, name: String, index: u32, mac: Mac, log: &Arc<BootLog>) {
        let mut cards = lock(&self.cards);
        if cards.contains_key(&name) {
            return;
        }
        cards.insert(name.clone(), CardStatus::new(mac));
        drop(cards);
        self.start_card(name, index, mac, Arc::clone(log));
    }

    fn start_card(self: &Arc<Self>, name: String, index: u32, mac: Mac, log: Arc<BootLog>) {
        let network = Arc::clone(self);
        let thread_name = format!("card-{name}");
        let run = move || {
            network.serve_card(&name, index, mac, &log);
            if !network.is_closed() {
                lock(&network.cards).remove(&name);
                log.say(&format!("{name}: the network card is gone"));
            }
        };
        if let Err(error) = thread::Builder::new().name(thread_name).spawn(run) {
            // Without it in the table the next device event tries again.
            lock(&self.cards).retain(|_, status| status.mac != mac);
            eprintln!("no thread for a network card: {error}");
        }
    }

    /// Runs a card, again after every failure, until it is gone.
    fn serve_card(self: &Arc<Self>, name: &str, index: u32, mac: Mac, log: &Arc<BootLog>) {
        let mut said = String::new();
        while !self.is_closed() && facts::exists(name, index) {
            let run = AssertUnwindSafe(|| card::run(name, index, mac, self, log));
            match catch_unwind(run) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    let text = format!("{name}: {error:#}; trying again");
                    // A card that never works is said once, not every few seconds.
                    if text != said {
                        log.say(&text);
                        said = text;
                    }
                }
                Err(_) => {} // the panic hook told
            }
            thread::sleep(RESTART_PAUSE);
        }
    }

    /// Waits for a card with a lease and a server, and says meanwhile what is missing.
    pub fn wait_for_server(&self, log: &BootLog) -> Uplink {
        loop {
            if let Some(uplink) = self.wait(WAIT_STEP) {
                return uplink;
            }
            let missing = describe_wait(&lock(&self.cards));
            log.waiting(&missing);
        }
    }

    /// The way to the server, if there is one within this time.
    pub fn server_within(&self, limit: Duration, log: &BootLog) -> Option<Uplink> {
        let end = uptime() + limit;
        loop {
            let left = end.saturating_sub(uptime());
            let found = self.wait(left.min(WAIT_STEP));
            if found.is_some() || left.is_zero() {
                return found;
            }
            log.waiting(&describe_wait(&lock(&self.cards)));
        }
    }

    /// From now on these addresses are used, and DHCP no more on their cards, unless they ask for it too.
    pub fn fix(&self, networks: Vec<FixedNetwork>) {
        // The cards look at it by themselves.
        *lock(&self.fixed) = networks;
    }

    /// Waits until every fixed address is in use on a card; `false` where one is not within this time.
    pub fn wait_fixed(&self, limit: Duration) -> bool {
        let wanted: Vec<FixedNetwork> = lock(&self.fixed).iter().filter(|n| n.address.is_some()).cloned().collect();
        let end = uptime() + limit;
        let mut cards = lock(&self.cards);
        loop {
            let in_use = |network: &FixedNetwork| {
                let text = network.address.map(|address| address.text()).unwrap_or_default();
                cards.iter().any(|(name, card)| network.is_for(name, card.mac) && card.fixed.contains(&text))
            };
            let left = end.saturating_sub(uptime());
            if wanted.iter().all(in_use) || left.is_zero() {
                return wanted.iter().all(in_use);
            }
            (cards, _) = self.changed.wait_timeout(cards, left).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn fixed_for(&self, name: &str, mac: Mac) -> Vec<FixedNetwork> {
        // A VLAN's interface is told by the card beneath it.
        if name.contains('.') {
            return Vec::new();
        }
        lock(&self.fixed).iter().filter(|network| network.is_for(name, mac)).cloned().collect()
    }

    /// Every card with fixed addresses.
    #[must_use]
    pub fn fixed(&self) -> Vec<FixedCard> {
        let cards = lock(&self.cards);
        let all = cards.iter().map(|(name, status)| (name.clone(), status.mac, self.fixed_for(name, status.mac)));
        all.filter(|(_, _, networks)| !networks.is_empty()).collect()
    }

    /// All addresses in use, with their prefix lengths.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let cards = lock(&self.cards);
        cards.iter().flat_map(|(name, status)| self.addresses_of(name, status)).collect()
    }

    /// A lease counts no more as soon as fixed addresses are known.
    fn addresses_of(&self, name: &str, status: &CardStatus) -> Vec<String> {
        if asks(&self.fixed_for(name, status.mac)) { status.addresses() } else { status.fixed.clone() }
    }

    /// Waits for the first address that can be reached, without its prefix length. `missing` hears meanwhile why there is none,
    /// and again whenever that is another reason.
    pub fn wait_for_address(&self, missing: impl Fn(&str)) -> String {
        let mut said = String::new();
        loop {
            if let Some(address) = self.address_within(WAIT_STEP) {
                return address.split('/').next().unwrap_or_default().to_owned();
            }
            let why = describe_wait(&lock(&self.cards));
            if why != said {
                missing(&why);
                said = why;
            }
        }
    }

    /// An address on a card with a cable.
    fn address_within(&self, limit: Duration) -> Option<String> {
        let end = uptime() + limit;
        let mut cards = lock(&self.cards);
        loop {
            let linked = cards.iter().filter(|(_, status)| status.carrier);
            let address = linked.flat_map(|(name, status)| self.addresses_of(name, status)).next();
            let left = end.saturating_sub(uptime());
            if address.is_some() || left.is_zero() {
                return address;
            }
            (cards, _) = self.changed.wait_timeout(cards, left).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// A card with an address, or else any: what names the machine where no server was asked.
    #[must_use]
    pub fn first_card(&self) -> Option<(String, Mac)> {
        let cards = lock(&self.cards);
        let first = cards.iter().min_by_key(|(name, status)| (status.addresses().is_empty(), (*name).clone()));
        first.map(|(name, status)| (name.clone(), status.mac))
    }

    /// The way to the server; waits for it in silence.
    pub fn uplink(&self) -> Uplink {
        loop {
            if let Some(uplink) = self.wait(WAIT_STEP) {
                return uplink;
            }
        }
    }

    /// Waits at most this long for a way to the server.
    fn wait(&self, limit: Duration) -> Option<Uplink> {
        let end = uptime() + limit;
        let mut cards = lock(&self.cards);
        loop {
            let now = uptime();
            let wake = match choose(&cards, self.boot_card, now) {
                Choice::Use(uplink) => return Some(uplink),
                Choice::At(time) => time.min(end),
                Choice::Unready => end,
            };
            if now >= end {
                return None;
            }
            (cards, _) = self
                .changed
                .wait_timeout(cards, wake.saturating_sub(now))
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// The server could not be reached this way: prefer other cards, and look for it again.
    pub fn failed(&self, route: &Route) {
        let Some(interface) = &route.interface else { return };
        if let Some(status) = lock(&self.cards).get_mut(interface) {
            status.failures = status.failures.saturating_add(1);
            status.search_again = true;
        }
    }

    /// Whether any card asks DHCP, by which a server would be found. One that is not there yet may.
    #[must_use]
    pub fn asks_dhcp(&self) -> bool {
        let cards = lock(&self.cards);
        cards.is_empty() || cards.iter().any(|(name, status)| asks(&self.fixed_for(name, status.mac)))
    }

    /// Lets all cards be as they are: the booted system takes them over.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Switches all cards off: another kernel starts, into whose memory none may write. What a driver refuses is left to the
    /// kernel, which shuts every device down.
    pub fn switch_off(&self) {
        self.close();
        let Ok(kernel) = Rtnetlink::open() else { return };
        let names: Vec<String> = lock(&self.cards).keys().cloned().collect();
        names.iter().filter_map(|name| facts::index_of(name)).for_each(|index| _ = kernel.set_down(index));
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Changes what is known of a card and tells all who wait.
    fn update(&self, name: &str, log: &BootLog, change: impl FnOnce(&mut CardStatus)) {
        let mut cards = lock(&self.cards);
        if let Some(status) = cards.get_mut(name) {
            change(status);
            status.settle(uptime());
        }
        let text = lines(&cards);
        drop(cards);
        log.set_network(text);
        self.changed.notify_all();
    }

    /// Whether somebody asked to look for the server again; asking resets it.
    fn take_search_wish(&self, name: &str) -> bool {
        lock(&self.cards).get_mut(name).is_some_and(|status| std::mem::take(&mut status.search_again))
    }
}

/// Whether a card with these networks asks DHCP.
fn asks(networks: &[FixedNetwork]) -> bool {
    networks.is_empty() || networks.iter().any(FixedNetwork::is_plain_dhcp)
}

/// Occupies UDP port 68, so that the kernel does not answer servers with "port unreachable"
/// while the packet sockets listen.
///
/// # Errors
/// If the port is taken, which nobody here could have done.
pub fn occupy_dhcp_port() -> std::io::Result<UdpSocket> {
    UdpSocket::bind(("0.0.0.0", 68))
}
