//! Tells the voters every few seconds how this node is, over the mesh, and learns the mesh from their answers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use meadow_client::{API_PORT, Client, ClientError};
use meadow_model::ProblemCode;
use meadow_model::console::SelfState;
use meadow_model::enrolment::ClaimReply;
use meadow_model::mesh::{MeshPeer, MeshView};
use meadow_model::node::{NodeDisks, NodeReport, PeerHandshake};
use meadow_model::work::ReportReply;
use meadow_pki::{CaPin, Identity};
use tokio::sync::watch;

use crate::mesh::Peers;
use crate::network_settings::NetworkSettings;
use crate::probe::{Findings, probe};
use crate::self_status::SelfStatus;
use crate::work::Work;

/// Well below the ten seconds after which a report is too old.
pub const PERIOD: Duration = Duration::from_secs(2);
/// A report that does not get through within this is given up; the next one carries newer news anyway.
const TIMEOUT: Duration = Duration::from_secs(4);
/// After so many failures in a row the node asks over the LAN whether the mesh has changed.
const FAILURES_BEFORE_FALLBACK: u32 = 2;

/// Reports to the voters.
pub struct Reporter {
    /// The cluster's CA.
    pub ca: CaPin,
    /// This node's key with its certificate.
    pub identity: Identity,
    /// The API on the LAN, for the time when the mesh does not work.
    pub lan: Client,
    /// The mesh, which answers bring up to date.
    pub views: Arc<watch::Sender<Option<MeshView>>>,
    /// Handshakes.
    pub peers: watch::Receiver<Peers>,
    /// The newest look at the disks; `None` until there was one.
    pub disks: watch::Receiver<Option<NodeDisks>>,
    /// The work that the cluster gave this node.
    pub work: Work,
    /// The admins' SSH keys that are to lie on this node's disk, where others lie there.
    pub ssh_keys: watch::Sender<Option<Vec<String>>>,
    /// How the network cards are set.
    pub network: Arc<NetworkSettings>,
    /// What the console shows.
    pub status: SelfStatus,
    /// Version of the agent.
    pub version: String,
}

/// Why a node stops reporting.
#[derive(Debug, thiserror::Error)]
#[error("this node was removed from the cluster")]
pub struct Removed;

impl Reporter {
    /// Reports until the node is removed from the cluster.
    pub async fn run(self) -> Removed {
        let mut failures = 0;
        let mut voters = Voters::default();
        loop {
            let Some(view) = self.views.borrow().clone() else {
                tokio::time::sleep(PERIOD).await;
                continue;
            };
            let findings = probe(&view).await;
            let mut report = report(&view, &self.peers.borrow().clone(), findings, &self.version);
            report.disks.clone_from(&self.disks.borrow());
            report.work = self.work.reports();
            report.network = self.network.view().await.ok();
            self.show(&report);
            match self.send(&mut voters, &view, &report).await {
                Ok(reply) => {
                    failures = 0;
                    self.adopt(reply.mesh);
                    self.status.update(|view| view.waits_for_unlock = reply.waits_for_unlock);
                    self.work.take(&report.work, reply.work);
                    self.ssh_keys.send_if_modified(|wanted| {
                        let changed = *wanted != reply.ssh_keys;
                        *wanted = reply.ssh_keys;
                        changed
                    });
                    self.status.set(SelfState::Ready, format!("node {} of the cluster", view.name));
                }
                Err(e) if is_removed(&e) => return Removed,
                Err(e) => {
                    failures += 1;
                    self.status.set(SelfState::Degraded, format!("reports do not arrive over the mesh: {e}"));
                }
            }
            if failures >= FAILURES_BEFORE_FALLBACK && self.refresh_over_lan().await {
                return Removed;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Tells the console what the voters are told.
    fn show(&self, report: &NodeReport) {
        let work = self.work.under_way();
        self.status.update(|view| {
            view.disks.clone_from(&report.disks);
            view.work = work;
        });
    }

    async fn send(
        &self,
        voters: &mut Voters,
        view: &MeshView,
        report: &NodeReport,
    ) -> Result<ReportReply, ClientError> {
        let mut last = ClientError::Unreachable { tried: vec!["no voter is known".to_owned()] };
        for voter in view.peers.iter().filter(|peer| peer.reports) {
            let client = voters.client(mesh_url(voter), self)?;
            match tokio::time::timeout(TIMEOUT, client.report(&view.name, report)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(e)) => last = e,
                Err(_) => last = ClientError::Unreachable { tried: vec![format!("{}: no answer", mesh_url(voter))] },
            }
        }
        Err(last)
    }

    /// Asks over the LAN for the mesh; true where the node was removed.
    async fn refresh_over_lan(&self) -> bool {
        match tokio::time::timeout(TIMEOUT, self.lan.claim_state()).await {
            Ok(Ok(ClaimReply::Approved(admission))) => self.adopt(admission.mesh),
            Ok(Err(e)) if is_removed(&e) => return true,
            _ => {}
        }
        false
    }

    fn adopt(&self, newer: MeshView) {
        self.views.send_if_modified(|view| {
            let is_newer = view.as_ref().is_none_or(|view| view.generation < newer.generation);
            if is_newer {
                *view = Some(newer);
            }
            is_newer
        });
    }
}

/// Connections to voters, kept from one report to the next: a handshake of TLS for each would be most of the work.
#[derive(Default)]
struct Voters(BTreeMap<String, Client>);

impl Voters {
    /// The client for the voter at `url`, where none is open yet a new one.
    fn client(&mut self, url: String, reporter: &Reporter) -> Result<&Client, ClientError> {
        Ok(match self.0.entry(url) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => {
                let client = Client::tls(&[free.key().clone()], reporter.ca, Some(&reporter.identity))?;
                free.insert(client)
            }
        })
    }
}

/// What this node reports.
#[must_use]
pub fn report(view: &MeshView, peers: &Peers, findings: Findings, version: &str) -> NodeReport {
    let handshake = |peer: &MeshPeer| PeerHandshake {
        node: peer.name.clone(),
        age_s: peers.get(&peer.key).and_then(|status| status.last_handshake).map(|age| age.as_secs()),
    };
    NodeReport {
        version: version.to_owned(),
        unresolved: findings.unresolved,
        reachable: findings.reachable,
        mesh_generation: view.generation,
        handshakes: view.peers.iter().map(handshake).collect(),
        disks: None,
        work: Vec::new(),
        network: None,
    }
}

fn mesh_url(voter: &MeshPeer) -> String {
    format!("https://[{}]:{API_PORT}", voter.address)
}

fn is_removed(error: &ClientError) -> bool {
    matches!(error, ClientError::Problem(problem) if problem.code == ProblemCode::NodeRevoked)
}
