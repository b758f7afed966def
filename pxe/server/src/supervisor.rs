//! Starts the services of one interface, keeps them running and restarts them when it changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meadow_netboot::EventKind;
use meadow_netboot::dhcp::ServerPort;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::culprit::Protocol;
use crate::interface::{self, Link, NotReady};
use crate::problem::Problem;
use crate::segment::Segment;
use crate::udp::UdpPort;
use crate::wire::{self, Wire};
use crate::{conflict_probe, dhcp, http, router_advertisement, tftp};

/// Pause of a receive loop after an error, so that a dead interface does not take a whole core.
pub(crate) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);

/// How often interfaces, missing ports and artifacts are looked at again.
pub(crate) const SUPERVISE: Duration = Duration::from_secs(2);

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
pub(crate) struct Supervisor(pub(crate) Arc<Segment>);

impl Supervisor {
    /// Serves until the task is aborted.
    pub(crate) async fn run(self) {
        loop {
            let link = self.wait_for_interface().await;
            self.serve_link(&link).await;
        }
    }

    async fn wait_for_interface(&self) -> Link {
        let mut said: Option<NotReady> = None;
        loop {
            match interface::find(&self.0.name) {
                Ok(link) => return link,
                Err(reason) => {
                    if said.as_ref() != Some(&reason) {
                        let text = format!("{reason}; waiting for it (`ip addr` shows what there is)");
                        self.0.set_problems(vec![Problem { code: "pxe.interface", text: text.clone() }]);
                        self.0.shared.say(EventKind::Server { message: text });
                        said = Some(reason);
                    }
                    tokio::time::sleep(SUPERVISE).await;
                }
            }
        }
    }

    /// Serves until the interface changes.
    async fn serve_link(&self, link: &Link) {
        // Before it says a word that another interface of ours may hear.
        self.0.shared.own_cards.add(&link.name, link.address, interface::mac_of(&link.name).ok());
        // Dropped at the end of this function, which closes all sockets.
        let mut tasks = JoinSet::new();
        let mut running = HashMap::new();
        let mut missing = SERVICES.to_vec();
        let mut said = Vec::new();
        loop {
            let mut problems = Vec::new();
            let mut still = Vec::new();
            for service in missing {
                match self.start_service(service, link, &mut tasks).await {
                    Ok(task) => _ = running.insert(task.id(), service),
                    Err(problem) => {
                        still.push(service);
                        problems.push(problem);
                    }
                }
            }
            missing = still;
            problems.extend(self.0.others().problems(&link.name, self.0.wants_leases(link.address)));
            self.0.shared.say_changes(&said, &problems, &format!("on {}", link.name));
            said.clone_from(&problems);
            self.0.set_problems(problems);
            if self.0.address().is_none() {
                self.0.set_address(Some(link.address));
                let message = format!("serving {} from {}", link.name, link.address);
                self.0.shared.say(EventKind::Server { message });
            }
            tokio::time::sleep(SUPERVISE).await;
            for (service, why) in crashed(&mut tasks, &mut running) {
                let why = format!("{service:?} on {} is started anew after a defect of this program: {why}", link.name);
                self.0.shared.say(EventKind::Failed { file: String::new(), why });
                missing.push(service);
            }
            match interface::find(&link.name) {
                Ok(now) if now == *link => {}
                changed => {
                    let what = match changed {
                        Ok(now) => format!("its address is {} now", now.address),
                        Err(reason) => reason.to_string(),
                    };
                    let message = format!("interface {} changed: {what}; starting anew", link.name);
                    self.0.shared.say(EventKind::Server { message });
                    self.0.set_address(None);
                    self.0.shared.own_cards.remove(&link.name);
                    return;
                }
            }
        }
    }

    async fn start_service(
        &self,
        service: Service,
        link: &Link,
        tasks: &mut JoinSet<()>,
    ) -> Result<AbortHandle, Problem> {
        let segment = self.0.clone();
        let ports = segment.shared.config.ports;
        let bind = |port| UdpPort::bind(link, port).map_err(|error| Problem::port(Protocol::Udp, port, link, &error));
        Ok(match service {
            Service::Dhcp => tasks.spawn(dhcp::serve(segment, bind(ports.dhcp)?, ServerPort::Dhcp)),
            Service::BootServer => tasks.spawn(dhcp::serve(segment, bind(ports.boot_server)?, ServerPort::BootServer)),
            Service::Tftp => tasks.spawn(tftp::serve(segment, bind(ports.tftp)?, link.clone())),
            Service::Http => {
                let listener = http::bind(link, ports.http);
                let listener = listener.map_err(|error| Problem::port(Protocol::Tcp, ports.http, link, &error))?;
                tasks.spawn(http::serve(segment, listener, (link.address, ports.http).into()))
            }
            Service::HttpV6 => tasks.spawn(http::serve_v6(segment, link.clone())),
            Service::RouterSolicitations => {
                let socket =
                    router_advertisement::bind(link).map_err(|error| Problem::router_solicitations(link, &error))?;
                tasks.spawn(router_advertisement::serve(segment.shared.clone(), socket))
            }
            Service::OtherServers => {
                let wire = Wire::open(link).map_err(|error| Problem::wire(link, &error))?;
                tasks.spawn(wire::serve(segment, wire))
            }
            Service::ConflictProbe => tasks.spawn(conflict_probe::serve(segment, link.clone())),
        })
    }
}

/// The services that crashed, and how. What ended by itself has nothing to do.
fn crashed(tasks: &mut JoinSet<()>, running: &mut HashMap<Id, Service>) -> Vec<(Service, String)> {
    let mut crashed = Vec::new();
    while let Some(ended) = tasks.try_join_next_with_id() {
        match ended {
            Ok((id, ())) => _ = running.remove(&id),
            Err(error) => crashed.extend(running.remove(&error.id()).map(|service| (service, error.to_string()))),
        }
    }
    crashed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_crashes_is_told_from_one_that_has_nothing_to_do() {
        let (mut tasks, mut running) = (JoinSet::new(), HashMap::new());
        let dies = tasks.spawn(async { panic!("a defect") });
        let ends = tasks.spawn(async {});
        let lives = tasks.spawn(std::future::pending());
        running.insert(dies.id(), Service::Tftp);
        running.insert(ends.id(), Service::ConflictProbe);
        running.insert(lives.id(), Service::Dhcp);
        while !(dies.is_finished() && ends.is_finished()) {
            tokio::task::yield_now().await;
        }
        let crashed = crashed(&mut tasks, &mut running);
        let [(service, why)] = crashed.as_slice() else { panic!("{crashed:?}") };
        assert_eq!(*service, Service::Tftp);
        assert!(why.contains("a defect"), "{why}");
        assert_eq!(running.into_values().collect::<Vec<_>>(), [Service::Dhcp]);
    }
}
