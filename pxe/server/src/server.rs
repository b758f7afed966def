//! The running boot server, as its owner sees it.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use meadow_model::MacAddress;
use meadow_model::boot::{PxeCounters, PxeLease};
use meadow_netboot::EventKind;
use meadow_netboot::dhcp::{LeaseView, MachineView};
use meadow_netboot::event::OfferForm;
use meadow_netboot::{BootImage, Firmware};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::artifacts::ArtifactStatus;
use crate::capture::{CaptureError, CapturePart, Captures};
use crate::caretaker::Caretaker;
use crate::config::{ConfigError, PxeConfig};
use crate::director::{BootEvent, Director};
use crate::interface::{self, Link, NotReady};
use crate::interface_status::InterfaceStatus;
use crate::problem::Problem;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::supervisor::Supervisor;
use crate::wake;

/// For all transfers and connections at once, and the rest of the program.
const DESCRIPTORS: u64 = 4096;

/// A machine as the boot server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineStatus {
    /// Address of its network card.
    pub mac: MacAddress,
    /// Its firmware.
    pub firmware: Option<Firmware>,
    /// Its IP address, as last observed.
    pub address: Option<IpAddr>,
    /// When it was last heard.
    pub last_seen: Timestamp,
    /// Whether it is between our answer to its firmware and its initrd.
    pub booting: bool,
    /// The form of offer that its firmware accepted.
    pub form: Option<OfferForm>,
    /// The image that its last script named, since this server started.
    pub image: Option<BootImage>,
}

/// A lease that cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// No addresses are given out at all.
    #[error("this server gives out no addresses; pxe_dhcp in its settings makes it")]
    Off,
    /// Nobody has the address.
    #[error("nobody has a lease of {0}; `meadow pxe leases ls` shows who has one")]
    Unknown(Ipv4Addr),
    /// It could not be written.
    #[error("{0}")]
    Disk(String),
}

/// The boot server.
#[derive(Debug)]
pub struct PxeServer;

impl PxeServer {
    /// Starts serving, inside a tokio runtime. Each interface is served by itself: it waits for one that is not there
    /// yet, binds what it can, keeps trying what it cannot, and reports all of that in [`PxeHandle::interfaces`] and as
    /// events.
    ///
    /// # Errors
    /// Only when the settings can never work.
    pub fn start(config: PxeConfig, director: Arc<dyn Director>) -> Result<PxeHandle, ConfigError> {
        config.check()?;
        raise_file_limit();
        let shared = Arc::new(Shared::new(config, director)?);
        shared.restore_forms();
        let names = shared.config.interfaces.iter();
        let segments: Vec<_> = names.map(|name| Arc::new(Segment::new(name.clone(), shared.clone()))).collect();
        let mut tasks = JoinSet::new();
        for segment in &segments {
            tasks.spawn(Supervisor(segment.clone()).run());
        }
        tasks.spawn(Caretaker { shared: shared.clone(), segments: segments.clone() }.run());
        Ok(PxeHandle { shared, segments, tasks: Mutex::new(tasks), captures: Captures::default() })
    }
}

/// A transfer and a connection take a descriptor each, more in all than the usual limit of 1024. The process may raise
/// it as far as the hard limit; where it may not, transfers beyond it are refused and said.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// A lease with times of the wall clock.
fn lease(view: LeaseView, now: Duration, wall: Timestamp) -> PxeLease {
    let wall = u64::try_from(wall.as_millisecond()).unwrap_or(0);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let expires = view.until.map(|until| (wall + millis(until)).saturating_sub(millis(now)));
    PxeLease {
        address: view.address.into(),
        mac: view.mac,
        hostname: view.hostname,
        state: view.state,
        expires: expires.map(|at| meadow_model::Timestamp::from_millis(at.try_into().unwrap_or(i64::MAX))),
        reserved: view.reserved,
    }
}

/// A running boot server. Dropping it ends the server, as [`Self::stop`] does, which waits for that.
pub struct PxeHandle {
    shared: Arc<Shared>,
    segments: Vec<Arc<Segment>>,
    tasks: Mutex<JoinSet<()>>,
    captures: Captures,
}

impl PxeHandle {
    /// The interfaces, as the settings name them, and how each is served.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceStatus> {
        self.segments.iter().map(|segment| InterfaceStatus::of(segment)).collect()
    }

    /// Events after number `since`, in order; of one machine, or all with the server's own.
    #[must_use]
    pub fn events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent> {
        self.shared.log.events(mac, since)
    }

    /// What is not served now on any interface; [`Self::interfaces`] has what is not on one.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.shared.problems()
    }

    /// Version of the installed image; `None` until its manifest was read.
    #[must_use]
    pub fn installed_image(&self) -> Option<String> {
        self.shared.artifacts.version()
    }

    /// The artifacts of the installed image and whether they can be served.
    #[must_use]
    pub fn artifacts(&self) -> Vec<ArtifactStatus> {
        self.shared.artifacts.statuses()
    }

    /// What it has done since its start, in numbers.
    #[must_use]
    pub fn counters(&self) -> PxeCounters {
        self.shared.counting.read()
    }

    /// Everything that is known of the addresses that it gives out, in their order; empty where it gives out none.
    #[must_use]
    pub fn leases(&self) -> Vec<PxeLease> {
        let Some(full) = &self.shared.full else { return Vec::new() };
        let (now, wall) = (self.shared.now(), Timestamp::now());
        let views = full.server().views(now);
        views.into_iter().map(|view| lease(view, now, wall)).collect()
    }

    /// Ends the lease of an address, or takes one back that was set aside. Blocks until that is on the disk.
    ///
    /// Its client does not hear of it: it may use the address until it asks again. Others get it only when there is
    /// none that nobody ever had.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub fn release(&self, address: Ipv4Addr) -> Result<(), ReleaseError> {
        let full = self.shared.full.as_ref().ok_or(ReleaseError::Off)?;
        let now = self.shared.now();
        let record = full.server().end(now, address).ok_or(ReleaseError::Unknown(address))?;
        full.commit(now, &[record]).map_err(|problem| ReleaseError::Disk(problem.text))?;
        // Its client may have renewed it meanwhile, and that record may have come to the disk before ours.
        let renewed = full.server().active_record(self.shared.now(), address);
        if let Some(record) = renewed {
            full.commit(self.shared.now(), &[record]).map_err(|problem| ReleaseError::Disk(problem.text))?;
        }
        self.shared.say(EventKind::Server { message: format!("the lease of {address} was ended by an admin") });
        Ok(())
    }

    /// The machines that were seen, sorted by address.
    #[must_use]
    pub fn machines(&self) -> Vec<MachineStatus> {
        let now = self.shared.now();
        let wall = Timestamp::now();
        let views = self.shared.engine().machines(now);
        let status = |view: MachineView| MachineStatus {
            mac: view.mac,
            firmware: view.firmware,
            address: view.address,
            last_seen: SignedDuration::try_from(now.saturating_sub(view.last_seen))
                .ok()
                .and_then(|age| wall.checked_sub(age).ok())
                .unwrap_or(wall),
            booting: view.booting,
            form: view.form,
            image: view.image,
        };
        views.into_iter().map(status).collect()
    }

    /// Sends the packet that switches on the machine with this card, on all interfaces.
    ///
    /// # Errors
    /// When no interface is ready, or none sends.
    pub fn wake(&self, mac: MacAddress) -> io::Result<()> {
        let send = |link: Result<Link, NotReady>| wake::send(&link.map_err(io::Error::other)?, mac);
        let (sent, failed): (Vec<_>, Vec<_>) = self.links().map(send).partition(Result::is_ok);
        match failed.into_iter().next() {
            Some(error) if sent.is_empty() => error,
            _ => Ok(()),
        }
    }

    /// Begins to capture what this machine and the server say to each other on all interfaces that are there, for at most
    /// `lasts`; needs a tokio runtime.
    ///
    /// # Errors
    /// When nothing can be captured.
    pub fn capture(&self, mac: MacAddress, lasts: Duration) -> Result<(), CaptureError> {
        let (mut links, mut missing) = (Vec::new(), Vec::new());
        for link in self.links() {
            match link {
                Ok(link) => links.push(link),
                Err(why) => missing.push(why.to_string()),
            }
        }
        if links.is_empty() {
            return Err(CaptureError::Interface(missing.join(", ")));
        }
        self.captures.start(links, mac, lasts)
    }

    fn links(&self) -> impl Iterator<Item = Result<Link, NotReady>> {
        self.segments.iter().map(|segment| interface::find(&segment.name))
    }

    /// What was captured of a machine, a pcap file from byte `from` on; `None` where nobody began.
    #[must_use]
    pub fn captured(&self, mac: MacAddress, from: usize) -> Option<CapturePart> {
        let known = self.shared.engine().address_of(mac);
        let address = known.and_then(|address| match address {
            IpAddr::V4(address) => Some(address),
            // Behind a relay of IPv6 nobody is booted.
            IpAddr::V6(_) => None,
        });
        self.captures.read(mac, from, address)
    }

    /// Closes all sockets, ends all transfers and has on disk what is to be known after a restart: leases, also those
    /// that were given back, and what firmware took.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Some(full) = &self.shared.full {
            full.written().await;
        }
        let shared = self.shared.clone();
        let _ = tokio::task::spawn_blocking(move || shared.keep_forms(true)).await;
    }
}
