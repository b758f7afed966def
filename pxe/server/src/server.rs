//! Starts, supervises and stops the services of one interface.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use meadow_netboot::dhcp::ServerPort;
use meadow_netboot::event::OfferForm;
use meadow_netboot::{EventKind, Firmware, MacAddr};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::artifacts::ArtifactStatus;
use crate::config::{ConfigError, PxeConfig};
use crate::culprit::{self, Protocol};
use crate::director::{BootEvent, Director};
use crate::interface::{self, Link, NotReady};
use crate::shared::Shared;
use crate::udp::UdpPort;
use crate::{dhcp, http, router_advertisement, tftp};

/// Pause of a receive loop after an error, so that a dead interface does not take a whole core.
pub(crate) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);

/// How often the interface, the missing ports and the artifacts are looked at again.
const SUPERVISE: Duration = Duration::from_secs(2);

/// One of the server's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Service {
    Dhcp,
    BootServer,
    Tftp,
    Http,
    RouterSolicitations,
}

const SERVICES: [Service; 5] =
    [Service::Dhcp, Service::BootServer, Service::Tftp, Service::Http, Service::RouterSolicitations];

/// Something that is not served now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code: `pxe.port-taken`, `pxe.socket`, `pxe.interface`.
    pub code: &'static str,
    /// Reason and next step.
    pub text: String,
}

/// A machine as the boot server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineStatus {
    /// Address of its network card.
    pub mac: MacAddr,
    /// Its firmware.
    pub firmware: Option<Firmware>,
    /// Its IPv4 address, as last observed.
    pub address: Option<Ipv4Addr>,
    /// When it was last heard.
    pub last_seen: Timestamp,
    /// Whether it is between our answer to its firmware and its initrd.
    pub booting: bool,
    /// The form of offer that its firmware accepted.
    pub form: Option<OfferForm>,
}

/// The boot server of one interface.
#[derive(Debug)]
pub struct PxeServer;

impl PxeServer {
    /// Starts serving, inside a tokio runtime. It waits for an interface that is not there yet,
    /// binds what it can, keeps trying what it cannot, and reports all of that in
    /// [`PxeHandle::problems`] and as events.
    ///
    /// # Errors
    /// Only when the settings can never work.
    pub fn start(config: PxeConfig, director: Arc<dyn Director>) -> Result<PxeHandle, ConfigError> {
        config.check()?;
        let shared = Arc::new(Shared::new(config, director));
        let (stop, stopped) = watch::channel(false);
        let (address, _) = watch::channel(None);
        let problems = Arc::new(Mutex::new(Vec::new()));
        let supervisor = Supervisor { shared: shared.clone(), address: address.clone(), problems: problems.clone() };
        let task = tokio::spawn(async move { supervisor.run(stopped).await });
        Ok(PxeHandle { shared, stop, task, address, problems })
    }
}

/// A running boot server. Dropping it leaves the server running; [`Self::stop`] ends it.
pub struct PxeHandle {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    address: watch::Sender<Option<Ipv4Addr>>,
    problems: Arc<Mutex<Vec<Problem>>>,
}

impl PxeHandle {
    /// The address that is served from, `None` while the interface is not ready.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        *self.address.borrow()
    }

    /// Changes of [`Self::address`].
    #[must_use]
    pub fn watch_address(&self) -> watch::Receiver<Option<Ipv4Addr>> {
        self.address.subscribe()
    }

    /// Events after number `since`, in order; of one machine, or all with the server's own.
    #[must_use]
    pub fn events(&self, mac: Option<MacAddr>, since: u64) -> Vec<BootEvent> {
        self.shared.log.events(mac, since)
    }

    /// What is not served now.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The artifacts and whether they can be served.
    #[must_use]
    pub fn artifacts(&self) -> Vec<ArtifactStatus> {
        self.shared.artifacts.statuses()
    }

    /// The machines that were seen, sorted by address.
    #[must_use]
    pub fn machines(&self) -> Vec<MachineStatus> {
        let now = self.shared.now();
        let wall = Timestamp::now();
        let views = self.shared.engine().machines(now);
        let status = |view: meadow_netboot::dhcp::MachineView| MachineStatus {
            mac: view.mac,
            firmware: view.firmware,
            address: view.address,
            last_seen: SignedDuration::try_from(now.saturating_sub(view.last_seen))
                .ok()
                .and_then(|age| wall.checked_sub(age).ok())
                .unwrap_or(wall),
            booting: view.booting,
            form: view.form,
        };
        views.into_iter().map(status).collect()
    }

    /// Closes all sockets and ends all transfers.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // The task ends by itself; it can only fail by a panic, which was reported when it happened.
        let _ = self.task.await;
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    address: watch::Sender<Option<Ipv4Addr>>,
    problems: Arc<Mutex<Vec<Problem>>>,
}

impl Supervisor {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let serve = async {
            loop {
                let link = self.wait_for_interface().await;
                self.serve_link(&link).await;
            }
        };
        tokio::select! {
            () = serve => {}
            // An error means that the handle is gone without stop(): nobody can stop it then.
            () = wait_until_true(&mut stopped) => {}
        }
        self.address.send_replace(None);
    }

    async fn wait_for_interface(&self) -> Link {
        let mut said: Option<NotReady> = None;
        loop {
            match interface::find(&self.shared.config.interface) {
                Ok(link) => return link,
                Err(reason) => {
                    if said.as_ref() != Some(&reason) {
                        let text = format!("{reason}; waiting for it (`ip addr` shows what there is)");
                        self.set_problems(vec![Problem { code: "pxe.interface", text: text.clone() }]);
                        self.shared.say(EventKind::Server { message: text });
                        said = Some(reason);
                    }
                    self.refresh_artifacts();
                    tokio::time::sleep(SUPERVISE).await;
                }
            }
        }
    }

    /// Serves until the interface changes.
    async fn serve_link(&self, link: &Link) {
        // Dropped at the end of this function, which closes all sockets.
        let mut tasks = JoinSet::new();
        let mut missing = SERVICES.to_vec();
        let mut said = Vec::new();
        loop {
            let mut problems = Vec::new();
            let mut still = Vec::new();
            for service in missing {
                match self.start_service(service, link, &mut tasks).await {
                    Ok(()) => {}
                    Err(problem) => {
                        still.push(service);
                        problems.push(problem);
                    }
                }
            }
            missing = still;
            self.say_changes(&said, &problems, link);
            if self.address.borrow().is_none() {
                self.address.send_replace(Some(link.address));
                let message = format!("serving {} from {}", link.name, link.address);
                self.shared.say(EventKind::Server { message });
            }
            said.clone_from(&problems);
            self.set_problems(problems);
            self.refresh_artifacts();
            tokio::time::sleep(SUPERVISE).await;
            match interface::find(&link.name) {
                Ok(now) if now == *link => {}
                changed => {
                    let what = match changed {
                        Ok(now) => format!("its address is {} now", now.address),
                        Err(reason) => reason.to_string(),
                    };
                    let message = format!("interface {} changed: {what}; starting anew", link.name);
                    self.shared.say(EventKind::Server { message });
                    self.address.send_replace(None);
                    return;
                }
            }
        }
    }

    async fn start_service(&self, service: Service, link: &Link, tasks: &mut JoinSet<()>) -> Result<(), Problem> {
        let shared = self.shared.clone();
        let ports = shared.config.ports;
        let bind = |port| UdpPort::bind(link, port).map_err(|error| port_problem(Protocol::Udp, port, &error));
        match service {
            Service::Dhcp => {
                tasks.spawn(dhcp::serve(shared, bind(ports.dhcp)?, ServerPort::Dhcp));
            }
            Service::BootServer => {
                tasks.spawn(dhcp::serve(shared, bind(ports.boot_server)?, ServerPort::BootServer));
            }
            Service::Tftp => {
                tasks.spawn(tftp::serve(shared, bind(ports.tftp)?, link.clone()));
            }
            Service::Http => {
                let listener = http::bind(link, ports.http).await;
                let listener = listener.map_err(|error| port_problem(Protocol::Tcp, ports.http, &error))?;
                tasks.spawn(http::serve(shared, listener, link.address));
            }
            Service::RouterSolicitations => {
                let socket = router_advertisement::bind(link).map_err(|error| Problem {
                    code: "pxe.socket",
                    text: format!(
                        "IPv6 router solicitations on {} cannot be answered ({error}), so machines start up to 16 s \
                         later; turn on IPv6 on it: `sysctl net.ipv6.conf.{}.disable_ipv6=0`",
                        link.name, link.name
                    ),
                })?;
                tasks.spawn(router_advertisement::serve(shared, socket));
            }
        }
        Ok(())
    }

    fn say_changes(&self, before: &[Problem], now: &[Problem], link: &Link) {
        for problem in now.iter().filter(|problem| !before.contains(problem)) {
            let what = problem.text.clone();
            self.shared.say(EventKind::Conflict { what });
        }
        if !before.is_empty() && now.is_empty() {
            let message = format!("all ports on {} are served now", link.name);
            self.shared.say(EventKind::Server { message });
        }
    }

    fn set_problems(&self, problems: Vec<Problem>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    fn refresh_artifacts(&self) {
        if self.shared.artifacts.is_stale() {
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || shared.artifacts.refresh(&|kind| shared.say(kind)));
        }
    }
}

async fn wait_until_true(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Says which port, who holds it and what to do.
fn port_problem(protocol: Protocol, port: u16, error: &std::io::Error) -> Problem {
    let name = match protocol {
        Protocol::Udp => format!("UDP port {port}"),
        Protocol::Tcp => format!("TCP port {port}"),
    };
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let text = match culprit::holder(protocol, port) {
                Some(holder) => format!(
                    "{name} is taken by {} (pid {}): stop it (`systemctl status {}` shows its unit), or serve another interface; \
                     it is tried again every 2 s",
                    holder.name, holder.pid, holder.pid
                ),
                None => format!(
                    "{name} is taken by another program: `ss -lnp 'sport = {port}'` run by root shows which; \
                     it is tried again every 2 s"
                ),
            };
            Problem { code: "pxe.port-taken", text }
        }
        std::io::ErrorKind::PermissionDenied => Problem {
            code: "pxe.socket",
            text: format!(
                "{name} needs the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW: run this program as root"
            ),
        },
        _ => Problem {
            code: "pxe.socket",
            text: format!("{name} cannot be bound: {error}; it is tried again every 2 s"),
        },
    }
}
