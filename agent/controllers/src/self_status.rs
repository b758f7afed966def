//! What this computer shows of itself on its console.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meadow_host::links::Links;
use meadow_host::{Clock, SystemClock};
use meadow_model::console::{InterfaceAddress, PowerOff, SelfEvent, SelfState, SelfView};
use tracing::info;

/// How many events the console's log keeps.
const EVENTS: usize = 50;
/// How often the interfaces' addresses are looked at: a person waits for them at the console after plugging in a cable.
const ADDRESS_PERIOD: Duration = Duration::from_secs(3);

/// The shared view of this computer; every part of the agent writes what it knows.
#[derive(Clone)]
pub struct SelfStatus {
    view: Arc<Mutex<SelfView>>,
}

impl SelfStatus {
    /// The view of an agent that has just started.
    #[must_use]
    pub fn starting(version: &str) -> Self {
        let view = SelfView {
            name: None,
            state: SelfState::Starting,
            detail: "the agent starts".to_owned(),
            cluster: None,
            ca_fingerprint: None,
            fingerprint: None,
            code: None,
            addresses: Vec::new(),
            api: Vec::new(),
            events: Vec::new(),
            version: version.to_owned(),
            voters: None,
            disks: None,
            work: Vec::new(),
            waits_for_unlock: Vec::new(),
            power_off: PowerOff::default(),
        };
        Self { view: Arc::new(Mutex::new(view)) }
    }

    /// Changes the view.
    pub fn update(&self, change: impl FnOnce(&mut SelfView)) {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sets state and detail; a change is an event too.
    pub fn set(&self, state: SelfState, detail: impl Into<String>) {
        let detail = detail.into();
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.state == state && view.detail == detail {
            return;
        }
        view.state = state;
        view.detail.clone_from(&detail);
        push_event(&mut view, detail);
    }

    /// Adds a line to the console's log.
    pub fn event(&self, message: impl Into<String>) {
        self.update(|view| push_event(view, message.into()));
    }

    /// The view now.
    #[must_use]
    pub fn view(&self) -> SelfView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone().judged()
    }

    /// Keeps the addresses in the view as the interfaces have them, for ever.
    pub async fn keep_addresses(self) {
        loop {
            let addresses = interface_addresses().await;
            self.update(|view| view.addresses = addresses);
            tokio::time::sleep(ADDRESS_PERIOD).await;
        }
    }
}

fn push_event(view: &mut SelfView, message: String) {
    info!("{message}");
    if view.events.last().is_some_and(|last| last.message == message) {
        return;
    }
    view.events.push(SelfEvent { time: SystemClock.wall(), message });
    let excess = view.events.len().saturating_sub(EVENTS);
    view.events.drain(..excess);
}

/// Addresses that others can reach, with their interfaces; none where the kernel cannot be asked.
async fn interface_addresses() -> Vec<InterfaceAddress> {
    let Ok(links) = Links::open() else { return Vec::new() };
    let Ok(list) = links.list().await else { return Vec::new() };
    list.iter()
        .filter(|link| !link.loopback)
        .flat_map(|link| {
            link.routable_addresses().map(|cidr| InterfaceAddress {
                interface: link.name.clone(),
                address: cidr.address(),
                prefix_len: cidr.length(),
            })
        })
        .collect()
}
