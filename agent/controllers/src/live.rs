//! What the nodes reported last. Kept in memory: a restart of the agent learns it again within seconds, and writing it
//! through Raft would sync a disk for every report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meadow_host::Clock;
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::{Node, NodeReport, NodeState, NodeStatus};
use meadow_model::{Fingerprint, Name, Timestamp};

use crate::mesh::Peers;

/// The newest report of each node and the newest handshake with each.
pub struct LiveReports {
    clock: Arc<dyn Clock>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    reports: BTreeMap<Name, Report>,
    handshakes: BTreeMap<WireGuardKey, Duration>,
}

struct Report {
    /// Whose it is: a name can pass on to another computer, the news of the old one cannot.
    fingerprint: Fingerprint,
    report: NodeReport,
    time: Duration,
}

impl LiveReports {
    /// Nothing reported yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, live: Mutex::default() }
    }

    /// Notes a report that came over the mesh. Times are counted since boot, so that setting the clock makes no node
    /// unready.
    pub fn record(&self, node: &Node, report: NodeReport) {
        let report = Report { fingerprint: node.spec.fingerprint, report, time: self.clock.boottime() };
        self.locked(|live| live.reports.insert(node.metadata.name.clone(), report));
    }

    /// Notes the handshakes that this node's own WireGuard sees.
    pub fn record_handshakes(&self, peers: &Peers) {
        let now = self.clock.boottime();
        let times = peers.values().filter_map(|peer| Some((peer.key, now.checked_sub(peer.last_handshake?)?)));
        let handshakes = times.collect();
        self.locked(|live| live.handshakes = handshakes);
    }

    /// Whether a node has reported since the agent started.
    #[must_use]
    pub fn has_reported(&self, node: &Node) -> bool {
        self.locked(|live| live.report_of(node).is_some())
    }

    /// Completes the status of a node from its newest report. `me` is the node that this agent runs on: it has no
    /// handshake with itself, and its report is its own word.
    #[must_use]
    pub fn status(&self, node: &Node, me: &Name) -> NodeStatus {
        let (now, since_boot) = (self.clock.wall(), self.clock.boottime());
        let wall = |then: Duration| ago(now, since_boot.saturating_sub(then));
        let mut status = node.status.clone();
        if status.state == NodeState::Lost {
            return status;
        }
        self.locked(|live| {
            if let Some(Report { report, time, .. }) = live.report_of(node) {
                status.last_report = Some(wall(*time));
                status.unresolved.clone_from(&report.unresolved);
                status.reachable.clone_from(&report.reachable);
                status.version = Some(report.version.clone());
                if let (Some(hardware), Some(known)) = (&mut status.hardware, &report.disks) {
                    hardware.disks.clone_from(&known.disks);
                }
            }
            status.last_handshake = live.handshakes.get(&node.spec.wireguard).map(|time| wall(*time));
        });
        if node.metadata.name == *me {
            status.last_handshake = status.last_report;
        }
        status.judged(now)
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Live) -> T) -> T {
        work(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Live {
    fn report_of(&self, node: &Node) -> Option<&Report> {
        self.reports.get(&node.metadata.name).filter(|report| report.fingerprint == node.spec.fingerprint)
    }
}

fn ago(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
}
