//! Tells the PXE server what to do with each machine, from the replicated state.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use meadow_host::{Clock, SystemClock};
use meadow_model::boot::{BootAction, BootCluster, BootConfig, BootOptions, BootPolicy};
use meadow_model::machine::Decision;
use meadow_model::{MacAddress, Timestamp};
use meadow_netboot::event::Transport;
use meadow_netboot::{Allowance, BootDecision, BootImage, ClientKind, EventKind, Firmware, Sighting};
use meadow_pxe::Director;
use meadow_raft::ReplicaHandle;
use meadow_state::State;
use meadow_state::command::{Command, MachineRef, Proposal};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::spent_orders::{Order, SpentOrders};
use crate::tickets::Tickets;

/// Answers from the newest applied state, and lists machines that were never seen.
pub(crate) struct StateDirector {
    pub(crate) replica: ReplicaHandle,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) api_addresses: Vec<SocketAddr>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Sightings that are being listed; see [`SIGHTINGS`].
    pub(crate) listing: Arc<Semaphore>,
    /// How many may be listed now.
    pub(crate) sightings: Sightings,
    /// Orders for one boot that were carried out a moment ago.
    pub(crate) spent: SpentOrders,
}

/// Machines that are being listed at a time. A stranger can send ever new addresses faster than a disk takes them in;
/// what is left out is listed when its machine asks again, which all do.
pub(crate) const SIGHTINGS: usize = 64;

/// Machines that are listed at once and a second: each is a write to the disks of all voters.
const LISTED_AT_ONCE: u32 = 1024;
const LISTED_PER_SECOND: u32 = 8;

/// How many machines may be listed, whoever poses as how many.
#[derive(Debug)]
pub(crate) struct Sightings {
    since: Instant,
    allowance: Mutex<Allowance>,
}

impl Default for Sightings {
    fn default() -> Self {
        Self { since: Instant::now(), allowance: Mutex::new(Allowance::new(LISTED_AT_ONCE, LISTED_PER_SECOND)) }
    }
}

impl Sightings {
    fn may_list(&self) -> bool {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).pass(self.since.elapsed())
    }
}

impl Director for StateDirector {
    fn decide(&self, sighting: &Sighting) -> BootDecision {
        let state = self.replica.state();
        self.list(&state, sighting);
        let mac = sighting.mac;
        let choice = state.boot_choice(mac, SystemClock.wall());
        let policy = match self.spent_order(&state, mac).map(|order| order.policy) {
            // Firmware that hears nothing asks again before it goes on to its disk.
            Some(BootPolicy::LocalDisk) => BootPolicy::LocalDisk,
            Some(policy) if sighting.client == ClientKind::Initrd => policy,
            Some(_) => {
                self.spent.forget(mac);
                choice.policy
            }
            None => choice.policy,
        };
        BootDecision { policy, plain_pxe: choice.plain_pxe }
    }

    fn decide_script(&self, sighting: &Sighting) -> BootDecision {
        let state = self.replica.state();
        self.list(&state, sighting);
        let choice = state.boot_choice(sighting.mac, SystemClock.wall());
        let policy = self.spent_order(&state, sighting.mac).map_or(choice.policy, |order| order.policy);
        BootDecision { policy, plain_pxe: choice.plain_pxe }
    }

    fn left_to_its_disk(&self, mac: MacAddress) {
        self.spend(&self.replica.state(), mac, BootPolicy::LocalDisk);
    }

    fn boot_config(&self, mac: MacAddress) -> Option<serde_json::Value> {
        serde_json::to_value(self.config(&self.replica.state(), mac, SystemClock.wall())?).ok()
    }

    fn options(&self, mac: MacAddress) -> BootOptions {
        let state = self.replica.state();
        state.machine(&MachineRef::Mac(mac)).map(|machine| machine.spec.boot_options.clone()).unwrap_or_default()
    }

    fn image(&self, mac: MacAddress) -> BootImage {
        let state = self.replica.state();
        self.image_of(&state, mac, SystemClock.wall()).map_or(BootImage::Installed, BootImage::Adopted)
    }

    fn images(&self) -> BTreeSet<String> {
        // Not those of spent orders: the boot server keeps an image for longer than such a boot lasts.
        self.replica.state().images_to_boot()
    }

    fn event(&self, event: &meadow_pxe::BootEvent) {
        info!(target: "pxe", "{event}");
        if let Some(mac) = event.mac {
            self.note_once(mac, &event.kind);
        }
    }
}

impl StateDirector {
    fn config(&self, state: &State, mac: MacAddress, now: Timestamp) -> Option<BootConfig> {
        let cluster = state.cluster()?;
        let order = self.spent_order(state, mac).map(|order| order.policy);
        let action = match order.unwrap_or_else(|| state.boot_choice(mac, now).policy) {
            BootPolicy::Ignore => return None,
            BootPolicy::Image => BootAction::Boot,
            BootPolicy::Hold => BootAction::Hold,
            // A machine that boots a script of its own does not run our initramfs.
            BootPolicy::LocalDisk | BootPolicy::Script => BootAction::Local,
        };
        // A bound ticket is not handed out again: whoever asks later is a machine that a person has to approve.
        let ticket = state.open_ticket(mac, now).and_then(|hash| self.tickets.with_hash(hash, now));
        Some(BootConfig {
            version: BootConfig::VERSION,
            action,
            cluster: BootCluster {
                name: cluster.metadata.name.to_string(),
                ca_fingerprint: cluster.spec.ca_fingerprint,
                api: self.api_addresses.iter().map(|address| format!("https://{address}")).collect(),
            },
            ticket,
            authorized_keys: cluster.spec.authorized_keys.clone(),
            state_disk: state.state_disk(mac).map(str::to_owned),
            node: state.state_disk(mac).and(state.node_of(mac)).map(|node| node.metadata.name.clone()),
            image: self.image_of(state, mac, now),
        })
    }

    /// Digest of the adopted image that a machine boots; `None` for the installed one.
    fn image_of(&self, state: &State, mac: MacAddress, now: Timestamp) -> Option<String> {
        let image = match self.spent_order(state, mac) {
            Some(order) => order.image.and_then(|name| state.images().get(&name)),
            None => state.boot_choice(mac, now).image,
        };
        image.map(|image| image.spec.digest.clone())
    }

    /// The order of the boot that goes on, though it is spent: an answer may have been lost.
    fn spent_order(&self, state: &State, mac: MacAddress) -> Option<Order> {
        let spec = &state.machine(&MachineRef::Mac(mac))?.spec;
        let order = self.spent.of(mac, spec, Instant::now());
        order.filter(|_| spec.boot_options.once.is_none() && !matches!(spec.decision, Decision::Rejected { .. }))
    }

    /// What a machine was to get once is over when it has got it: the image when its initramfs asks what to do, another
    /// script when iPXE has it, its own disk when its firmware was left to it or iPXE was sent there.
    fn note_once(&self, mac: MacAddress, event: &EventKind) {
        let EventKind::Asked { file, via: Transport::Http } = event else { return };
        let state = self.replica.state();
        match file.as_str() {
            "boot.json" => self.spend(&state, mac, BootPolicy::Image),
            "boot.ipxe" => {
                self.spend(&state, mac, BootPolicy::Script);
                self.spend(&state, mac, BootPolicy::LocalDisk);
            }
            _ => {}
        }
    }

    /// The machine has got what it was to get once, if it was this.
    fn spend(&self, state: &State, mac: MacAddress, what: BootPolicy) {
        let spec = state.machine(&MachineRef::Mac(mac)).map(|machine| &machine.spec);
        if let Some(spec) = spec.filter(|spec| spec.boot_options.once == Some(what)) {
            self.spent.spend(mac, spec, Instant::now());
            self.propose(mac, Command::BootedOnce { mac });
        }
    }

    /// Lists a machine that the state does not know yet, or not with its processors, without keeping the PXE server
    /// waiting.
    fn list(&self, state: &State, sighting: &Sighting) {
        let mac = sighting.mac;
        let told = sighting.firmware.and_then(Firmware::architecture);
        let is_known = state
            .machine(&MachineRef::Mac(mac))
            .is_some_and(|machine| told.is_none_or(|told| machine.status.architecture.as_deref() == Some(told)));
        if is_known || !self.sightings.may_list() {
            return;
        }
        let arch = sighting.firmware.map_or_else(|| "unknown".to_owned(), |firmware| firmware.to_string());
        self.propose(mac, Command::SeeMachine { mac, arch, architecture: told.map(str::to_owned) });
    }

    /// Proposes what the boot server has seen, without keeping it waiting.
    fn propose(&self, mac: MacAddress, command: Command) {
        let Ok(place) = self.listing.clone().try_acquire_owned() else { return };
        let proposal = Proposal { at: SystemClock.wall(), actor: "pxe".to_owned(), idempotency_key: None, command };
        let replica = self.replica.clone();
        self.runtime.spawn(async move {
            if let Err(problem) = replica.propose(proposal).await {
                warn!(%mac, "what the boot server saw of the machine cannot be kept: {problem}");
            }
            drop(place);
        });
    }
}
