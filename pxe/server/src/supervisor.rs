//! Starts the services of one interface, keeps them running and restarts them when it changes.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meadow_netboot::EventKind;
use meadow_netboot::dhcp::ServerPort;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::culprit::Protocol;
use crate::interface::{self, Link, NotReady};
use crate::problem::Problem;
use crate::shared::Shared;
use crate::udp::UdpPort;
use crate::wire::{self, Wire};
use crate::{conflict_probe, dhcp, http, router_advertisement, tftp};

/// Pause of a receive loop after an error, so that a dead interface does not take a whole core.
pub(crate) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);

/// How often the interface, the missing ports and the artifacts are looked at again.
const SUPERVISE: Duration = Duration::from_secs(2);

/// One of the server's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Dhcp,
    BootServer,
    Tftp,
    Http,
    HttpV6,
    RouterSolicitations,
    OtherServers,
    ConflictProbe,
}

const SERVICES: [Service; 8] = [
    Service::Dhcp,
    Service::BootServer,
    Service::Tftp,
    Service::Http,
    Service::HttpV6,
    Service::RouterSolicitations,
    Service::OtherServers,
    Service::ConflictProbe,
];

/// Runs the services of one interface and restarts them when it changes.
pub(crate) struct Supervisor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: watch::Sender<Option<Ipv4Addr>>,
    pub(crate) problems: Arc<Mutex<Vec<Problem>>>,
}

impl Supervisor {
    /// Serves until it is told to stop.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
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
            problems.extend(self.look_after_leases(link).await);
            problems.extend(self.shared.images.problems());
            problems.extend(self.shared.others().problems(&link.name, self.shared.full.is_some()));
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
        let bind = |port| UdpPort::bind(link, port).map_err(|error| Problem::port(Protocol::Udp, port, &error));
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
                let listener = http::bind(link, ports.http);
                let listener = listener.map_err(|error| Problem::port(Protocol::Tcp, ports.http, &error))?;
                tasks.spawn(http::serve(shared, listener, (link.address, ports.http).into()));
            }
            Service::HttpV6 => {
                tasks.spawn(http::serve_v6(shared, link.clone()));
            }
            Service::RouterSolicitations => {
                let socket =
                    router_advertisement::bind(link).map_err(|error| Problem::router_solicitations(link, &error))?;
                tasks.spawn(router_advertisement::serve(shared, socket));
            }
            Service::OtherServers => {
                let wire = Wire::open(link).map_err(|error| Problem::wire(link, &error))?;
                tasks.spawn(wire::serve(shared, wire));
            }
            Service::ConflictProbe => {
                tasks.spawn(conflict_probe::serve(shared, link.clone()));
            }
        }
        Ok(())
    }

    /// What keeps leases from being given out, other servers aside.
    async fn look_after_leases(&self, link: &Link) -> Option<Problem> {
        let full = self.shared.full.as_ref()?;
        if !full.server().serves(link.address) {
            return Some(Problem::dhcp_subnet(link));
        }
        let shared = self.shared.clone();
        let look = move || shared.full.as_ref().map(|full| full.look_after(shared.now()));
        match tokio::task::spawn_blocking(look).await.ok().flatten()? {
            Ok(message) => {
                if let Some(message) = message {
                    self.shared.say(EventKind::Server { message });
                }
                None
            }
            Err(problem) => Some(problem),
        }
    }

    fn say_changes(&self, before: &[Problem], now: &[Problem], link: &Link) {
        for problem in now.iter().filter(|problem| !before.contains(problem)) {
            let text = problem.text.clone();
            self.shared.say(match problem.code {
                "pxe.port-taken" | "pxe.other-dhcp" | "pxe.other-boot-server" => EventKind::Conflict { what: text },
                _ => EventKind::Failed { file: String::new(), why: text },
            });
        }
        if !before.is_empty() && now.is_empty() {
            let message = format!("nothing is wrong on {} any more", link.name);
            self.shared.say(EventKind::Server { message });
        }
    }

    fn set_problems(&self, problems: Vec<Problem>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Has everything checked that is new or changed, the images that nobody boots any more forgotten.
    fn refresh_artifacts(&self) {
        let wanted = self.shared.director.images();
        let in_use = self.shared.engine().images_in_use(self.shared.now());
        let stores = self.shared.images.keep(&wanted, &in_use).into_iter().chain([self.shared.artifacts.clone()]);
        for store in stores.filter(|store| store.is_stale()) {
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || store.refresh(&|kind| shared.say(kind)));
        }
    }
}

async fn wait_until_true(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}
