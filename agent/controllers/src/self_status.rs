//! What this computer shows of itself on its console.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meadow_host::links::Links;
use meadow_host::{Clock, SystemClock};
use meadow_model::Name;
use meadow_model::console::{InterfaceAddress, PowerOff, SelfEvent, SelfState, SelfView, SelfWork};
use tracing::info;

/// How many events the console's log keeps.
const EVENTS: usize = 50;
/// How often the interfaces' addresses are looked at: a person waits for them at the console after plugging in a cable.
const ADDRESS_PERIOD: Duration = Duration::from_secs(3);

/// The shared view of this computer; every part of the agent writes what it knows.
#[derive(Clone)]
pub struct SelfStatus {
    view: Arc<Mutex<SelfView>>,
    here: Arc<Mutex<BTreeMap<u64, SelfWork>>>,
}

/// Work that a person at this very computer ordered, of which the cluster knows nothing: shown until this is dropped.
pub struct WorkHere {
    number: u64,
    here: Arc<Mutex<BTreeMap<u64, SelfWork>>>,
}

impl WorkHere {
    /// The work is at this step.
    pub fn step(&self, step: &str, percent: Option<u8>) {
        if let Some(work) = locked(&self.here).get_mut(&self.number) {
            step.clone_into(&mut work.step);
            work.percent = percent;
        }
    }
}

impl Drop for WorkHere {
    fn drop(&mut self) {
        locked(&self.here).remove(&self.number);
    }
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
        Self { view: Arc::new(Mutex::new(view)), here: Arc::default() }
    }

    /// Changes the view.
    pub fn update(&self, change: impl FnOnce(&mut SelfView)) {
        change(&mut locked(&self.view));
    }

    /// Shows work that a person here ordered, beside what the cluster gave this node, until that is dropped.
    pub fn works_here(&self, what: Name, step: &str) -> WorkHere {
        let mut here = locked(&self.here);
        let number = here.last_key_value().map_or(0, |(last, _)| last.wrapping_add(1));
        let work = SelfWork { operation: what, step: step.to_owned(), percent: None, wants_restart: false };
        here.insert(number, work);
        WorkHere { number, here: Arc::clone(&self.here) }
    }

    /// Sets state and detail; a change is an event too.
    pub fn set(&self, state: SelfState, detail: impl Into<String>) {
        let detail = detail.into();
        let mut view = locked(&self.view);
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
        let mut view = locked(&self.view).clone();
        view.work.extend(locked(&self.here).values().cloned());
        view.judged()
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

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordered_here_is_shown_and_speaks_against_switching_off_until_it_has_ended() {
        let status = SelfStatus::starting("1");
        let name = |text: &str| Name::new(text).expect("a name");
        let support = status.works_here(name("support-here"), "gathers");
        let update = status.works_here(name("update-here"), "reads the stick");
        // As with each report to the voters.
        status.update(|view| view.work = Vec::new());
        drop(support);
        update.step("writes the image", Some(7));
        let view = status.view();
        let [work] = view.work.as_slice() else { panic!("{view:?}") };
        assert_eq!((work.step.as_str(), work.percent), ("writes the image", Some(7)));
        assert!(!view.power_off.safe && view.power_off.because[0].contains("update-here"), "{view:?}");
        drop(update);
        assert!(status.view().work.is_empty() && status.view().power_off.safe);
    }
}
