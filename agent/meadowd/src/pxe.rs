//! The PXE server of this node, as the API shows it.

use std::sync::Arc;

use meadow_controllers::settings::Settings;
use meadow_model::boot::{BootEvent, PxeStatus};
use meadow_model::{MacAddress, Timestamp};
use meadow_pxe::{ArtifactState, PxeConfig, PxeHandle, PxeServer};
use meadow_raft::ReplicaHandle;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::director::{SIGHTINGS, StateDirector};
use crate::tickets::Tickets;

/// The PXE server, or why there is none.
pub(crate) enum Pxe {
    /// No interface is configured for it.
    Off,
    /// The settings can never work.
    Misconfigured(String),
    /// It runs; what it cannot serve yet it says itself.
    On { interface: String, handle: PxeHandle, _threads: Threads },
}

/// Threads of the PXE server alone: fifty machines that download at once keep two processors busy, and must not keep
/// the API and the mesh waiting. They sleep while nobody boots.
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("meadow-pxe").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs what starts tasks; they run on these threads.
    fn within<T>(&self, start: impl FnOnce() -> T) -> T {
        let _entered = self.0.as_ref().map(Runtime::enter);
        start()
    }
}

impl Drop for Threads {
    /// The last owner may be a task itself, which must not wait for threads.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Pxe {
    /// Starts it where an interface is configured.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub(crate) fn start(settings: &Settings, replica: ReplicaHandle, tickets: Arc<Tickets>) -> std::io::Result<Self> {
        let Some(interface) = settings.pxe_interface.clone() else {
            return Ok(Self::Off);
        };
        let threads = Threads::start()?;
        let director = StateDirector {
            replica,
            tickets,
            api_addresses: settings.api_addresses.clone(),
            runtime: tokio::runtime::Handle::current(),
            listing: Arc::new(Semaphore::new(SIGHTINGS)),
        };
        let config = PxeConfig::new(interface.clone(), &settings.image_dir);
        Ok(match threads.within(|| PxeServer::start(config, Arc::new(director))) {
            Ok(handle) => Self::On { interface, handle, _threads: threads },
            Err(e) => {
                warn!("PXE is not served: {e}");
                Self::Misconfigured(e.to_string())
            }
        })
    }

    /// Its state, with the window as the replicated state has it.
    pub(crate) fn status(&self, open_until: Option<Timestamp>) -> PxeStatus {
        let off = |problems| PxeStatus { serving: false, interface: None, base_url: None, open_until, problems };
        match self {
            Self::Off => off(Vec::new()),
            Self::Misconfigured(why) => off(vec![why.clone()]),
            Self::On { interface, handle, .. } => {
                let address = handle.address();
                PxeStatus {
                    serving: address.is_some(),
                    interface: Some(interface.clone()),
                    base_url: address.map(|address| format!("http://{address}:{}/", meadow_pxe::Ports::default().http)),
                    open_until,
                    problems: problems(handle),
                }
            }
        }
    }

    /// The boot log after position `since`.
    pub(crate) fn events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent> {
        let Self::On { handle, .. } = self else {
            return Vec::new();
        };
        let events = handle.events(mac, since);
        events.into_iter().map(event).collect()
    }
}

fn problems(handle: &PxeHandle) -> Vec<String> {
    let missing = handle.artifacts().into_iter().filter_map(|artifact| match artifact.state {
        ArtifactState::Damaged { why } => Some(format!("{}: {why}", artifact.name)),
        _ => None,
    });
    handle.problems().into_iter().map(|problem| problem.text).chain(missing).collect()
}

fn event(event: meadow_pxe::BootEvent) -> BootEvent {
    BootEvent {
        seq: event.sequence,
        time: Timestamp::from_millis(event.time.as_millisecond()),
        mac: event.mac,
        code: event.code.to_owned(),
        message: event.text,
    }
}
