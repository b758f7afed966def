//! What all tasks of one boot server share.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use meadow_model::MacAddress;
use meadow_netboot::dhcp::{Policy, ProxyDhcp, ServerConfig};
use meadow_netboot::{BootDecision, BootImage, EventKind, Note, Sighting};

use crate::artifacts::ArtifactStore;
use crate::config::{ConfigError, PxeConfig};
use crate::counters::Counting;
use crate::director::Director;
use crate::event_log::EventLog;
use crate::form_store::FormStore;
use crate::full_dhcp::FullDhcp;
use crate::http::Crowd;
use crate::images::Images;
use crate::own_cards::OwnCards;
use crate::page_cache::PageCache;
use crate::problem::Problem;
use crate::restraint::Restraint;
use crate::tftp::Table;

/// What all interfaces share.
pub(crate) struct Shared {
    pub(crate) config: PxeConfig,
    pub(crate) director: Arc<dyn Director>,
    /// The installed image.
    pub(crate) artifacts: Arc<ArtifactStore>,
    forms: FormStore,
    /// Whether files are in memory when they are sent.
    pub(crate) page_cache: PageCache,
    /// The other ones that some machine boots.
    pub(crate) images: Images,
    /// Our own interfaces, which may hear each other.
    pub(crate) own_cards: OwnCards,
    pub(crate) log: EventLog,
    pub(crate) counting: Counting,
    pub(crate) restraint: Restraint,
    /// The DHCP server, where it is switched on.
    pub(crate) full: Option<Arc<FullDhcp>>,
    /// The HTTP connections.
    pub(crate) crowd: Arc<Crowd>,
    transfers: Mutex<Table>,
    problems: Mutex<Vec<Problem>>,
    engine: Mutex<ProxyDhcp>,
    origin: Instant,
}

impl Shared {
    pub(crate) fn new(config: PxeConfig, director: Arc<dyn Director>) -> Result<Self, ConfigError> {
        let full = match config.dhcp.as_slice() {
            [] => None,
            subnets => Some(Arc::new(FullDhcp::new(subnets, &config.lease_file)?)),
        };
        Ok(Self {
            director,
            full,
            crowd: Arc::default(),
            transfers: Mutex::default(),
            problems: Mutex::default(),
            artifacts: Arc::new(ArtifactStore::new(config.artifacts.clone())),
            images: Images::new(config.images.clone()),
            own_cards: OwnCards::default(),
            forms: FormStore::new(config.forms_file.clone()),
            page_cache: PageCache::default(),
            log: EventLog::default(),
            counting: Counting::default(),
            restraint: Restraint::default(),
            engine: Mutex::new(ProxyDhcp::new(ServerConfig { http_port: config.ports.http })),
            origin: Instant::now(),
            config,
        })
    }

    /// Time since the server started.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The proxyDHCP engine and its memory of machines. Never held across an await.
    pub(crate) fn engine(&self) -> MutexGuard<'_, ProxyDhcp> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what firmware took before this server started. Blocks for the reading of a small file.
    pub(crate) fn restore_forms(&self) {
        let said = self.forms.restore(&mut self.engine());
        if let Some(message) = said {
            self.say(EventKind::Server { message });
        }
    }

    /// Has on disk what firmware took; `is_last` is for the end, after which nothing is learnt. Blocks.
    pub(crate) fn keep_forms(&self, is_last: bool) {
        let learnt = || {
            let engine = self.engine();
            (engine.winner_changes(), engine.winners())
        };
        if let Some(message) = self.forms.keep((!is_last).then(|| self.now()), learnt) {
            self.say(EventKind::Server { message });
        }
    }

    /// The TFTP transfers. Never held across an await.
    pub(crate) fn transfers(&self) -> MutexGuard<'_, Table> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not served now on any interface.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_problems(&self, problems: Vec<Problem>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Says which problems are new, or that all are gone; `what` had them, such as `on eth0`.
    pub(crate) fn say_changes(&self, before: &[Problem], now: &[Problem], what: &str) {
        for problem in now.iter().filter(|problem| !before.contains(problem)) {
            self.say(problem.event());
        }
        if !before.is_empty() && now.is_empty() {
            self.say(EventKind::Server { message: format!("nothing is wrong {what} any more") });
        }
    }

    /// Records an event and tells the director.
    pub(crate) fn record(&self, note: Note) {
        match self.log.record(self.now(), note) {
            Some(event) => self.director.event(&event),
            None => self.counting.events_withheld.add(1),
        }
    }

    /// Records an event of the server itself.
    pub(crate) fn say(&self, kind: EventKind) {
        self.record(Note { mac: None, firmware: None, address: None, kind });
    }

    /// Records an event of a machine, or of an address whose machine is not known.
    pub(crate) fn record_for(&self, mac: Option<MacAddress>, address: IpAddr, kind: EventKind) {
        let note = match mac {
            Some(mac) => {
                let mut note = self.engine().note_for(mac, kind);
                note.address = Some(address);
                note
            }
            None => Note { mac: None, firmware: None, address: Some(address), kind },
        };
        self.record(note);
    }
}

impl Policy for Shared {
    fn decide(&self, sighting: &Sighting) -> BootDecision {
        self.director.decide(sighting)
    }

    fn is_ready(&self, artifact: &str) -> bool {
        self.artifacts.is_ready(artifact)
    }

    fn image_architecture(&self, mac: MacAddress) -> Option<String> {
        match self.director.image(mac) {
            BootImage::Installed => self.artifacts.architecture(),
            BootImage::Adopted(digest) => self.images.get(&digest)?.architecture(),
        }
    }

    fn left_to_its_disk(&self, mac: MacAddress) {
        self.director.left_to_its_disk(mac);
    }
}
