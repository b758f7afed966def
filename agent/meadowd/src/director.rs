//! Tells the PXE server what to do with each machine, from the replicated state.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use meadow_host::{Clock, SystemClock};
use meadow_model::boot::{BootAction, BootCluster, BootConfig, BootOptions, BootPolicy};
use meadow_model::{MacAddress, Timestamp};
use meadow_netboot::{BootDecision, BootImage, EventKind, Sighting};
use meadow_pxe::Director;
use meadow_raft::ReplicaHandle;
use meadow_state::State;
use meadow_state::command::{Command, MachineRef, Proposal};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::tickets::Tickets;

/// Answers from the newest applied state, and lists machines that were never seen.
pub(crate) struct StateDirector {
    pub(crate) replica: ReplicaHandle,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) api_addresses: Vec<SocketAddr>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Sightings that are being listed; see [`SIGHTINGS`].
    pub(crate) listing: Arc<Semaphore>,
}

/// Machines that are being listed at a time. A stranger can send ever new addresses faster than a disk takes them in;
/// what is left out is listed when its machine asks again, which all do.
pub(crate) const SIGHTINGS: usize = 64;

impl Director for StateDirector {
    fn decide(&self, sighting: &Sighting) -> BootDecision {
        let state = self.replica.state();
        self.list(&state, sighting);
        let choice = state.boot_choice(sighting.mac, SystemClock.wall());
        BootDecision { policy: choice.policy, plain_pxe: choice.plain_pxe }
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
        let image = state.boot_choice(mac, SystemClock.wall()).image;
        image.map_or(BootImage::Installed, |image| BootImage::Adopted(image.spec.digest.clone()))
    }

    fn images(&self) -> BTreeSet<String> {
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
        let choice = state.boot_choice(mac, now);
        let action = match choice.policy {
            BootPolicy::Ignore => return None,
            BootPolicy::Image => BootAction::Boot,
            BootPolicy::Hold => BootAction::Hold,
            // A machine that boots a script of its own does not run our initramfs.
            BootPolicy::LocalDisk | BootPolicy::Script => BootAction::Local,
        };
        // A bound ticket is not handed out again: whoever asks later is a machine that a person has to approve.
        let ticket = state.open_ticket(mac, now).and_then(|hash| self.tickets.with_hash(hash, now));
        Some(BootConfig {
            version: 1,
            action,
            cluster: BootCluster {
                name: cluster.metadata.name.to_string(),
                ca_fingerprint: cluster.spec.ca_fingerprint,
                api: self.api_addresses.iter().map(|address| format!("https://{address}")).collect(),
            },
            ticket,
            authorized_keys: cluster.spec.authorized_keys.clone(),
            state_disk: state.state_disk(mac).map(str::to_owned),
            image: choice.image.map(|image| image.spec.digest.clone()),
        })
    }

    /// What a machine was to get once is over when it has got it: the image when its initramfs asks what to do, another
    /// script when iPXE has it, its own disk when it was left to it.
    fn note_once(&self, mac: MacAddress, event: &EventKind) {
        let state = self.replica.state();
        let once = state.machine(&MachineRef::Mac(mac)).and_then(|machine| machine.spec.boot_options.once);
        let taken = match (once, event) {
            (Some(BootPolicy::Image), EventKind::Asked { file, .. }) => file == "boot.json",
            (Some(BootPolicy::Script | BootPolicy::LocalDisk), EventKind::Asked { file, .. }) => file == "boot.ipxe",
            (Some(BootPolicy::LocalDisk), EventKind::Ignored { .. }) => true,
            _ => false,
        };
        if taken {
            self.propose(mac, Command::BootedOnce { mac });
        }
    }

    /// Lists a machine that the state does not know yet, without keeping the PXE server waiting.
    fn list(&self, state: &State, sighting: &Sighting) {
        let mac = sighting.mac;
        if state.machine(&MachineRef::Mac(mac)).is_some() {
            return;
        }
        let arch = sighting.firmware.map_or_else(|| "unknown".to_owned(), |firmware| firmware.to_string());
        self.propose(mac, Command::SeeMachine { mac, arch });
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
