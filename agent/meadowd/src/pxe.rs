//! The PXE server of this node, as the API shows it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use meadow_api::wire::CapturePart;
use meadow_controllers::image_store::ImageStore;
use meadow_controllers::paths::Paths;
use meadow_controllers::settings::Settings;
use meadow_model::boot::{BootEvent, BootPolicy, MachineBoot, PxeCheck, PxeInterface, PxeLease, PxeStatus};
use meadow_model::{MacAddress, Problem, ProblemCode, Timestamp};
use meadow_pxe::netboot::BootImage;
use meadow_pxe::netboot::progress::{BootProgress, BootStage};
use meadow_pxe::{ArtifactState, InterfaceStatus, MachineStatus, PxeConfig, PxeHandle, PxeServer, ReleaseError};
use meadow_raft::ReplicaHandle;
use meadow_state::State;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::director::{SIGHTINGS, Sightings, StateDirector};
use crate::pxe_doctor;
use crate::spent_orders::SpentOrders;
use crate::tickets::Tickets;

/// A boot that shows nothing for so long is under way no more.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// How long the end waits for its disk.
const STOP: Duration = Duration::from_secs(10);

/// The PXE server, or why there is none.
pub(crate) enum Pxe {
    /// No interface is configured for it.
    Off,
    /// The settings can never work.
    Misconfigured(String),
    /// It runs; what it cannot serve yet it says itself.
    On { handle: PxeHandle, threads: Threads },
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
    pub(crate) fn start(
        settings: &Settings,
        paths: &Paths,
        replica: ReplicaHandle,
        tickets: Arc<Tickets>,
    ) -> std::io::Result<Self> {
        if settings.pxe_interfaces.is_empty() {
            return Ok(match settings.pxe_dhcp.as_slice() {
                [] => Self::Off,
                _ => Self::Misconfigured(
                    "pxe_dhcp needs pxe_interfaces, which is not set; set it, or remove pxe_dhcp".into(),
                ),
            });
        }
        let threads = Threads::start()?;
        let director = StateDirector {
            replica,
            tickets,
            api_addresses: settings.api_addresses.clone(),
            runtime: tokio::runtime::Handle::current(),
            listing: Arc::new(Semaphore::new(SIGHTINGS)),
            sightings: Sightings::default(),
            spent: SpentOrders::default(),
        };
        let files = settings.pxe_files.clone();
        let dhcp = settings.pxe_dhcp.clone();
        let lease_file = paths.state_dir().join("dhcp-leases");
        let forms_file = Some(paths.state_dir().join("pxe-forms.json"));
        let images = Some(ImageStore::new(paths.images()).whole_images());
        let config = PxeConfig::new(&settings.pxe_interfaces, &settings.image_dir);
        let tftp_single_port = settings.pxe_tftp_single_port;
        let config = PxeConfig { files, tftp_single_port, dhcp, lease_file, forms_file, images, ..config };
        Ok(match threads.within(|| PxeServer::start(config, Arc::new(director))) {
            Ok(handle) => Self::On { handle, threads },
            Err(e) => {
                warn!("PXE is not served: {e}");
                Self::Misconfigured(e.to_string())
            }
        })
    }

    /// Ends it, with what is to be known after a restart on the disk. A disk that stands still keeps nobody for long.
    pub(crate) async fn stop(&self) {
        let Self::On { handle, .. } = self else { return };
        if tokio::time::timeout(STOP, handle.stop()).await.is_err() {
            warn!("the PXE server is left before its leases are on the disk, which does not answer");
        }
    }

    /// Its state, with the window as the replicated state has it.
    pub(crate) fn status(&self, open_until: Option<Timestamp>) -> PxeStatus {
        let off = |problems| PxeStatus { serving: false, interfaces: Vec::new(), open_until, problems, counters: None };
        match self {
            Self::Off => off(Vec::new()),
            Self::Misconfigured(why) => off(vec![why.clone()]),
            Self::On { handle, .. } => {
                let interfaces: Vec<_> = handle.interfaces().into_iter().map(interface).collect();
                PxeStatus {
                    serving: interfaces.iter().any(|interface| interface.serving),
                    interfaces,
                    open_until,
                    problems: problems(handle),
                    counters: Some(handle.counters()),
                }
            }
        }
    }

    /// How far the boot of each machine is, the one that was heard last first; `state` knows the images.
    pub(crate) fn boots(&self, state: &State, now: Timestamp) -> Vec<MachineBoot> {
        let Self::On { handle, .. } = self else {
            return Vec::new();
        };
        let mut boots: Vec<_> =
            handle.machines().into_iter().filter_map(|machine| boot(handle, machine, state, now)).collect();
        boots.sort_by_key(|boot| std::cmp::Reverse(boot.last_seen));
        boots
    }

    /// Everything that is known of the addresses that it gives out.
    pub(crate) fn leases(&self) -> Vec<PxeLease> {
        let Self::On { handle, .. } = self else { return Vec::new() };
        handle.leases()
    }

    /// Ends the lease of an address; blocks until it is on the disk.
    pub(crate) fn release(&self, address: IpAddr) -> Result<(), Problem> {
        let Self::On { handle, .. } = self else { return Err(no_interface()) };
        let IpAddr::V4(address) = address else {
            return Err(Problem::new(ProblemCode::NotFound, "leases here are of IPv4 addresses"));
        };
        handle.release(address).map_err(|error| {
            let code = match error {
                ReleaseError::Off => ProblemCode::Conflict,
                ReleaseError::Unknown(_) => ProblemCode::NotFound,
                ReleaseError::Disk(_) => ProblemCode::StorageFailed,
            };
            Problem::new(code, error.to_string())
        })
    }

    /// What keeps machines from booting.
    pub(crate) fn checks(&self) -> Vec<PxeCheck> {
        match self {
            Self::On { handle, .. } => pxe_doctor::checks(handle),
            Self::Off => vec![off("no interface is served for PXE")],
            Self::Misconfigured(why) => vec![off(why)],
        }
    }

    /// Begins to capture the packets of a machine.
    pub(crate) fn capture(&self, mac: MacAddress, for_s: u32) -> Result<(), Problem> {
        let Self::On { handle, threads, .. } = self else { return Err(no_interface()) };
        let begun = threads.within(|| handle.capture(mac, Duration::from_secs(for_s.into())));
        begun.map_err(|error| Problem::new(ProblemCode::Conflict, error.to_string()))
    }

    /// What was captured of a machine.
    pub(crate) fn captured(&self, mac: MacAddress, from: usize) -> Option<CapturePart> {
        let Self::On { handle, .. } = self else { return None };
        let part = handle.captured(mac, from)?;
        let address = part.address.map(IpAddr::from);
        Some(CapturePart { data: BASE64.encode(&part.bytes), done: part.done, address })
    }

    /// Wakes a machine.
    pub(crate) fn wake(&self, mac: MacAddress) -> Result<(), Problem> {
        let Self::On { handle, .. } = self else { return Err(no_interface()) };
        handle.wake(mac).map_err(|error| {
            Problem::new(ProblemCode::Conflict, format!("the packet that wakes {mac} cannot be sent: {error}"))
        })
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

fn interface(status: InterfaceStatus) -> PxeInterface {
    let url = |address| format!("http://{address}:{}/", meadow_pxe::Ports::default().http);
    PxeInterface {
        name: status.name,
        serving: status.address.is_some(),
        base_url: status.address.map(url),
        leases: status.leases,
        problems: status.problems.iter().map(ToString::to_string).collect(),
    }
}

fn problems(handle: &PxeHandle) -> Vec<String> {
    let missing = handle.artifacts().into_iter().filter_map(|artifact| match artifact.state {
        ArtifactState::Damaged { why } => Some(format!("{}: {why}", artifact.name)),
        _ => None,
    });
    handle.problems().iter().map(ToString::to_string).chain(missing).collect()
}

fn off(why: &str) -> PxeCheck {
    let next_step = Some("set pxe_interfaces in /etc/meadow/meadowd.toml, and restart meadowd".to_owned());
    PxeCheck { name: "settings".to_owned(), ok: false, text: why.to_owned(), next_step }
}

fn no_interface() -> Problem {
    let detail = "this computer serves no interface for PXE; set pxe_interfaces in its settings";
    Problem::new(ProblemCode::Conflict, detail)
}

/// Version of the image that a machine was given, or is to boot.
fn image_of(handle: &PxeHandle, machine: &MachineStatus, state: &State, now: Timestamp) -> Option<String> {
    let choice = state.boot_choice(machine.mac, now);
    let version = |digest: &str| {
        let image = state.images().values().find(|image| image.spec.digest == digest);
        image.map_or_else(|| digest.to_owned(), |image| image.spec.version.clone())
    };
    match (&machine.image, choice.policy, choice.image) {
        (Some(BootImage::Adopted(digest)), ..) => Some(version(digest)),
        (None, BootPolicy::Image | BootPolicy::Hold, Some(image)) => Some(image.spec.version.clone()),
        (Some(BootImage::Installed), ..) | (None, BootPolicy::Image | BootPolicy::Hold, None) => {
            handle.installed_image()
        }
        (None, ..) => None,
    }
}

fn boot(handle: &PxeHandle, machine: MachineStatus, state: &State, now: Timestamp) -> Option<MachineBoot> {
    let events = handle.events(Some(machine.mac), 0);
    let progress = BootProgress::of(events.iter().map(|event| &event.kind))?;
    let last = Timestamp::from_millis(events.last()?.time.as_millisecond());
    let silent = Duration::from_millis(u64::try_from(now.as_millis() - last.as_millis()).unwrap_or(0));
    let next_step = progress.next_step(silent).map(str::to_owned);
    Some(MachineBoot {
        mac: machine.mac,
        firmware: machine.firmware.map(|firmware| firmware.to_string()),
        address: machine.address,
        form: machine.form.map(|form| form.to_string()),
        image: image_of(handle, &machine, state, now),
        under_way: silent < FORGOTTEN && !matches!(progress.stage, BootStage::Ignored | BootStage::Started),
        stage: progress.stage.name().to_owned(),
        percent: progress.percent,
        waits_for: progress.waits_for(machine.firmware).filter(|_| next_step.is_none()).map(str::to_owned),
        next_step,
        failed: progress.failed,
        message: progress.text,
        last_seen: last,
    })
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
