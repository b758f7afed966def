//! What the nodes reported last. Kept in memory: a restart of the agent learns it again within seconds, and writing it
//! through Raft would sync a disk for every report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meadow_host::Clock;
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::{Node, NodeReport, NodeState, NodeStatus};
use meadow_model::{Fingerprint, Name, Timestamp};
use meadow_state::{MAX_HARDWARE_BYTES, Table};

use crate::mesh::Peers;

/// Characters of a version that are shown.
const MAX_VERSION: usize = 128;
/// A computer with a hundred cards has some 30 KiB.
const MAX_NETWORK_BYTES: usize = 64 << 10;

/// The newest report of each node and the newest handshake with each.
pub struct LiveReports {
    clock: Arc<dyn Clock>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    reports: BTreeMap<Name, Report>,
    handshakes: BTreeMap<WireGuardKey, Duration>,
    /// Who waits for a passphrase.
    waiting: BTreeSet<Name>,
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

    /// Notes a report of one of `nodes` that came over the mesh, as much of it as can be true, and forgets whoever is
    /// none of them any more. Times are counted since boot, so that setting the clock makes no node unready.
    pub fn record(&self, node: &Node, nodes: &Table<Name, Node>, report: NodeReport) {
        let report = bounded(report, nodes);
        let report = Report { fingerprint: node.spec.fingerprint, report, time: self.clock.boottime() };
        self.locked(|live| {
            live.reports.insert(node.metadata.name.clone(), report);
            live.reports.retain(|name, _| nodes.contains(name));
        });
    }

    /// Notes the handshakes that this node's own WireGuard sees.
    pub fn record_handshakes(&self, peers: &Peers) {
        let now = self.clock.boottime();
        let times = peers.values().filter_map(|peer| Some((peer.key, now.checked_sub(peer.last_handshake?)?)));
        let handshakes = times.collect();
        self.locked(|live| live.handshakes = handshakes);
    }

    /// Notes who waits for a passphrase now.
    pub fn record_waiting(&self, waiting: BTreeSet<Name>) {
        self.locked(|live| live.waiting = waiting);
    }

    /// Who waits for a passphrase.
    #[must_use]
    pub fn waiting(&self) -> Vec<Name> {
        self.locked(|live| live.waiting.iter().cloned().collect())
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
                status.network.clone_from(&report.network);
                if let (Some(hardware), Some(known)) = (&mut status.hardware, &report.disks) {
                    hardware.disks.clone_from(&known.disks);
                    known.firmware.into_iter().for_each(|now| hardware.set_firmware_state(now));
                }
            }
            status.last_handshake = live.handshakes.get(&node.spec.wireguard).map(|time| wall(*time));
        });
        let name = &node.metadata.name;
        if name == me {
            status.last_handshake = status.last_report;
        }
        let mut status = status.judged(now);
        if status.state == NodeState::NotReady && self.locked(|live| live.waiting.contains(name)) {
            status.reason = Some(format!("it waits for its passphrase: meadow unlock {name}"));
        }
        status
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

/// A report without what no node can know: every list of nodes shows it, and a node that went mad, or was taken over,
/// must not fill the memory of the voters.
fn bounded(mut report: NodeReport, nodes: &Table<Name, Node>) -> NodeReport {
    for names in [&mut report.unresolved, &mut report.reachable] {
        let known: BTreeSet<Name> = names.drain(..).filter(|name| nodes.contains(name)).collect();
        names.extend(known);
    }
    report.version = report.version.chars().take(MAX_VERSION).collect();
    // Both are in the state, or of no use to it.
    report.handshakes = Vec::new();
    report.work = Vec::new();
    let size = serde_json::to_vec(&report.disks).map_or(usize::MAX, |disks| disks.len());
    if size > MAX_HARDWARE_BYTES {
        report.disks = None;
    }
    if serde_json::to_vec(&report.network).map_or(usize::MAX, |network| network.len()) > MAX_NETWORK_BYTES {
        report.network = None;
    }
    report
}

fn ago(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use meadow_host::SystemClock;
    use meadow_model::hardware::Disk;
    use meadow_model::node::NodeDisks;
    use meadow_state::State;
    use meadow_state::command::{Bootstrap, Command, FirstNode, Proposal};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("valid")
    }

    /// A cluster of one node.
    fn cluster(node: &str) -> State {
        let mut state = State::default();
        let command = Command::Bootstrap(Box::new(Bootstrap {
            cluster: name("home"),
            ca_fingerprint: Fingerprint([7; 32]),
            authorized_keys: Vec::new(),
            release_key: String::new(),
            node: FirstNode {
                name: name(node),
                fingerprint: Fingerprint([8; 32]),
                wireguard: WireGuardKey([8; 32]),
                endpoint: None,
                hardware: None,
                measures: None,
            },
            pxe_open_until: None,
        }));
        let at = Timestamp::from_millis(1_800_000_000_000);
        let proposal = Proposal { at, actor: "meadow".to_owned(), idempotency_key: None, command };
        state.apply(1, &proposal).expect("accepted");
        state
    }

    fn of<'s>(state: &'s State, node: &str) -> &'s Node {
        state.nodes().get(&name(node)).expect("a node")
    }

    fn report() -> NodeReport {
        NodeReport {
            version: "1".to_owned(),
            unresolved: Vec::new(),
            reachable: Vec::new(),
            mesh_generation: 1,
            handshakes: Vec::new(),
            disks: None,
            work: Vec::new(),
            network: None,
        }
    }

    #[test]
    fn a_report_without_end_is_kept_as_far_as_it_can_be_true() {
        let (state, live) = (cluster("seed"), LiveReports::new(Arc::new(SystemClock)));
        let mut mad = report();
        mad.version = "x".repeat(100_000);
        mad.unresolved = std::iter::repeat_n(name("seed"), 1000).chain([name("unknown")]).collect();
        mad.reachable = vec![name("nobody")];
        let disk = Disk { name: "d".repeat(MAX_HARDWARE_BYTES), ..Disk::default() };
        mad.disks = Some(NodeDisks { disks: vec![disk], ..NodeDisks::default() });
        live.record(of(&state, "seed"), state.nodes(), mad);
        let status = live.status(of(&state, "seed"), &name("other"));
        assert_eq!(status.version.map(|version| version.len()), Some(MAX_VERSION));
        assert_eq!((status.unresolved, status.reachable), (vec![name("seed")], Vec::new()));
        live.locked(|live| assert!(live.reports.values().all(|kept| kept.report.disks.is_none())));
    }

    #[test]
    fn who_waits_for_a_passphrase_is_told_until_it_is_ready() {
        let (state, live) = (cluster("seed"), LiveReports::new(Arc::new(SystemClock)));
        live.record_waiting(BTreeSet::from([name("seed")]));
        let status = live.status(of(&state, "seed"), &name("seed"));
        assert_eq!(status.reason.as_deref(), Some("it waits for its passphrase: meadow unlock seed"));
        assert_eq!(live.waiting(), [name("seed")]);
        live.record(of(&state, "seed"), state.nodes(), report());
        assert_eq!(live.status(of(&state, "seed"), &name("seed")).reason, None);
    }

    #[test]
    fn whoever_left_is_forgotten() {
        let (before, after) = (cluster("old"), cluster("new"));
        let live = LiveReports::new(Arc::new(SystemClock));
        live.record(of(&before, "old"), before.nodes(), report());
        live.record(of(&after, "new"), after.nodes(), report());
        assert_eq!(live.locked(|live| live.reports.keys().cloned().collect::<Vec<_>>()), [name("new")]);
    }
}
