//! The agent of a voter as the routes of the API see it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use data_encoding::BASE32_NOPAD;
use meadow_api::wire::{CapturePart, Health};
use meadow_api::{Answer, Arm, Author, Backend};
use meadow_controllers::live::LiveReports;
use meadow_controllers::mailbox::Mailbox;
use meadow_controllers::network_settings::NetworkSettings;
use meadow_controllers::self_status::SelfStatus;
use meadow_controllers::stored::StoredError;
use meadow_enroll::{JoinToken, Ticket};
use meadow_host::{Clock, Entropy, SystemClock, SystemEntropy};
use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck, PxeLease, PxeStatus};
use meadow_model::console::SelfView;
use meadow_model::enrolment::{Claim, ClaimReply, Hello, HelloReply};
use meadow_model::fingerprint::PublicKey;
use meadow_model::image::{IncomingImage, OfferedImage};
use meadow_model::install::Sealed;
use meadow_model::network::{NetworkChange, NetworkView};
use meadow_model::node::{Node, NodeReport, NodeStatus};
use meadow_model::token::NewToken;
use meadow_model::work::{NodeWork, ReportReply};
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Timestamp};
use meadow_raft::ReplicaHandle;
use meadow_state::command::{Command, MachineRef, Proposal};
use meadow_state::{Applied, State};
use tracing::warn;

use crate::enrolment::{Enrolment, canonical};
use crate::images::Images;
use crate::listener::Membership;
use crate::pxe::Pxe;
use crate::tickets::Tickets;

/// What a voter's agent consists of.
pub(crate) struct Voter {
    pub(crate) replica: ReplicaHandle,
    pub(crate) live: Arc<LiveReports>,
    pub(crate) enrolment: Enrolment,
    pub(crate) ca_fingerprint: Fingerprint,
    pub(crate) me: Name,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) pxe: Arc<Pxe>,
    pub(crate) mailbox: Mailbox,
    pub(crate) images: Arc<Images>,
    pub(crate) status: SelfStatus,
    pub(crate) network: Arc<NetworkSettings>,
}

impl Voter {
    /// Work on the files of images, which may take long.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Images) -> Result<T, Problem> + Send + 'static,
    ) -> Answer<'_, T> {
        let images = Arc::clone(&self.images);
        Box::pin(async move {
            let ended = tokio::task::spawn_blocking(move || work(&images)).await;
            ended.map_err(|e| Problem::new(ProblemCode::Internal, e.to_string()))?
        })
    }

    async fn propose_as(&self, author: &Author, command: Command) -> Result<Applied, Problem> {
        let proposal = Proposal {
            at: SystemClock.wall(),
            actor: author.actor.clone(),
            idempotency_key: author.idempotency_key.clone(),
            command,
        };
        self.replica.propose(proposal).await?.into_result()
    }

    async fn create_token_as(&self, expires: Timestamp, uses: u32, author: Author) -> Result<NewToken, Problem> {
        let id = Name::new(format!("t-{}", BASE32_NOPAD.encode(&random::<5>()?).to_ascii_lowercase()));
        let id = id.map_err(|e| Problem::new(ProblemCode::Internal, e.to_string()))?;
        let token = JoinToken::from_random(id.clone(), self.ca_fingerprint, random()?);
        let command = Command::CreateToken { id: id.clone(), key: token.key(), expires, uses };
        self.propose_as(&author, command).await?;
        let state = self.replica.state();
        // A repetition under one idempotency key gets the first answer, whose token has another id.
        let resource = state.tokens().get(&id).ok_or_else(|| {
            Problem::new(ProblemCode::Conflict, "this request was answered before, and a token is shown only once")
        })?;
        Ok(NewToken { token: resource.clone(), text: token.text() })
    }

    async fn arm_as(&self, arm: Arm, author: Author) -> Result<Applied, Problem> {
        self.check_has_mac(&arm.machine)?;
        let ticket = Ticket::from_random(random()?);
        // Kept first: a ticket that the state knows and the boot server does not would arm nothing.
        self.tickets.keep(&ticket, arm.expires, SystemClock.wall()).map_err(|e| storage_problem(&e))?;
        let command = Command::Arm {
            machine: arm.machine,
            ticket_hash: Ticket::hash(ticket.text()),
            expires: arm.expires,
            node: arm.node,
            replaces: arm.replaces,
            if_match: arm.if_match,
        };
        self.propose_as(&author, command).await
    }

    /// A ticket is handed out by MAC address, so a machine without one cannot be armed.
    fn check_has_mac(&self, machine: &MachineRef) -> Result<(), Problem> {
        let MachineRef::Name(name) = machine else { return Ok(()) };
        let state = self.replica.state();
        let machine = state.machines().get(name);
        let missing = || Problem::new(ProblemCode::NotFound, format!("there is no machine {name}"));
        let nameless = || Problem::new(ProblemCode::Conflict, format!("{name} has no known MAC address"));
        machine.ok_or_else(missing)?.status.mac.map(|_| ()).ok_or_else(nameless)
    }

    async fn take_report(&self, node: &Name, report: NodeReport) -> Result<ReportReply, Problem> {
        let state = self.replica.state();
        let revoked = || Problem::new(ProblemCode::NodeRevoked, format!("node {node} is not in the cluster"));
        let resource = state.nodes().get(node).ok_or_else(revoked)?;
        // The news can wait for a disk that has room again; that the node reports shows all the same that it is well.
        match self.take_news(&state, resource, &report).await {
            Ok(()) => self.mailbox.settle(node, &report.work, &self.replica.state()),
            Err(problem) => warn!(%node, "what the node reports cannot be kept: {problem}"),
        }
        let installed = report.disks.as_ref().and_then(|disks| disks.installed.clone());
        self.live.record(resource, state.nodes(), report);
        let mesh = state.mesh_view(node).ok_or_else(revoked)?;
        let state = self.replica.state();
        let ssh_keys = installed.and_then(|disk| state.ssh_keys_for(&disk).map(<[String]>::to_vec));
        let work = self.mailbox.work_for(node, &state);
        Ok(ReportReply { mesh, work, waits_for_unlock: self.live.waiting(), ssh_keys })
    }

    /// Brings the state up to date with what a node reports of itself, its disk and its work.
    async fn take_news(&self, state: &State, node: &Node, report: &NodeReport) -> Result<(), Problem> {
        let name = &node.metadata.name;
        let author = Author { actor: format!("node {name}"), idempotency_key: None };
        // A lost node that reports is back: else a stranger who copies its MAC and serials could keep it lost.
        if state.is_news_of(node, &report.version) {
            let command = Command::NodeJoined { node: name.clone(), version: report.version.clone() };
            self.propose_as(&author, command).await?;
        }
        if let Some(known) = &report.disks
            && state.is_disk_news_of(node, known)
        {
            let installed = known.installed.clone().map(Box::new);
            let durable = known.durable;
            self.propose_as(&author, Command::SetNodeDisk { node: name.clone(), installed, durable }).await?;
        }
        for command in self.mailbox.take(name, &report.work, &self.replica.state()) {
            self.propose_as(&author, command).await?;
        }
        Ok(())
    }

    async fn take_claim(&self, key: PublicKey, claim: Claim, from: SocketAddr) -> Result<ClaimReply, Problem> {
        let proposal = self.enrolment.proposal(&key, claim, canonical(from), SystemClock.wall())?;
        let applied = self.replica.propose(proposal).await.and_then(Applied::into_result);
        self.enrolment.reply(&self.replica.state(), &key, applied.map(|applied| applied.outcome))
    }
}

impl Membership for ReplicaHandle {
    fn is_member(&self, fingerprint: &Fingerprint) -> bool {
        self.state().node_by_fingerprint(fingerprint).is_some()
    }
}

impl Backend for Voter {
    fn state(&self) -> Result<Arc<State>, Problem> {
        Ok(self.replica.state())
    }

    fn now(&self) -> Timestamp {
        SystemClock.wall()
    }

    fn propose(&self, proposal: Proposal) -> Answer<'_, Applied> {
        Box::pin(async move { self.replica.propose(proposal).await?.into_result() })
    }

    fn node_status(&self, node: &Node) -> NodeStatus {
        self.live.status(node, &self.me)
    }

    fn leader(&self) -> Option<Name> {
        self.replica.is_leader().then(|| self.me.clone())
    }

    fn warnings(&self) -> Vec<String> {
        self.pxe.status(None).problems
    }

    fn health(&self) -> Health {
        let leads = self.replica.is_leader();
        let why = if leads { Vec::new() } else { vec![Problem::new(ProblemCode::NoQuorum, "").to_string()] };
        Health { ok: leads, why, version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    fn create_token(&self, expires: Timestamp, uses: u32, author: Author) -> Answer<'_, NewToken> {
        Box::pin(self.create_token_as(expires, uses, author))
    }

    fn arm(&self, arm: Arm, author: Author) -> Answer<'_, Applied> {
        Box::pin(self.arm_as(arm, author))
    }

    fn record_report(&self, node: &Name, report: NodeReport, _from: SocketAddr) -> Answer<'_, ReportReply> {
        let node = node.clone();
        Box::pin(async move { self.take_report(&node, report).await })
    }

    fn give_work(&self, node: &Name, work: NodeWork) -> Result<(), Problem> {
        self.mailbox.give(node, work)
    }

    fn operation_answer(&self, operation: &Name) -> Option<Sealed> {
        self.mailbox.answer(operation)
    }

    fn put_operation_answer(&self, node: &Name, operation: &Name, answer: Sealed) -> Result<(), Problem> {
        self.mailbox.put_answer(node, operation, answer)
    }

    fn offer_image(&self, offered: OfferedImage) -> Answer<'_, IncomingImage> {
        self.blocking(move |images| images.offer(&offered))
    }

    fn put_image_piece(&self, digest: String, name: String, offset: u64, piece: Bytes) -> Answer<'_, u64> {
        self.blocking(move |images| images.put(&digest, &name, offset, &piece))
    }

    fn adopt_image(&self, digest: String, author: Author) -> Answer<'_, Applied> {
        Box::pin(async move {
            let (name, spec) = self.blocking(move |images| images.adopt(&digest)).await?;
            self.propose_as(&author, Command::AdoptImage { name, spec: Box::new(spec) }).await
        })
    }

    fn drop_image(&self, digest: String) -> Answer<'_, ()> {
        self.blocking(move |images| images.remove(&digest))
    }

    fn hello(&self, key: Fingerprint, hello: Hello, _from: SocketAddr) -> Answer<'_, HelloReply> {
        Box::pin(async move { self.enrolment.hello(&self.replica.state(), key, &hello, SystemClock.wall()) })
    }

    fn claim(&self, key: PublicKey, claim: Claim, from: SocketAddr) -> Answer<'_, ClaimReply> {
        Box::pin(self.take_claim(key, claim, from))
    }

    fn claim_state(&self, key: PublicKey) -> Answer<'_, ClaimReply> {
        Box::pin(async move { self.enrolment.standing(&self.replica.state(), &key) })
    }

    fn pxe_status(&self) -> PxeStatus {
        let state = self.replica.state();
        self.pxe.status(state.cluster().and_then(|cluster| cluster.spec.pxe_open_until))
    }

    fn pxe_events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent> {
        self.pxe.events(mac, since)
    }

    fn pxe_boots(&self) -> Vec<MachineBoot> {
        self.pxe.boots(&self.replica.state(), SystemClock.wall())
    }

    fn pxe_leases(&self) -> Vec<PxeLease> {
        self.pxe.leases()
    }

    fn release_lease(&self, address: IpAddr) -> Answer<'_, ()> {
        let pxe = Arc::clone(&self.pxe);
        Box::pin(async move {
            let ended = tokio::task::spawn_blocking(move || pxe.release(address)).await;
            ended.map_err(|e| Problem::new(ProblemCode::Internal, e.to_string()))?
        })
    }

    fn pxe_checks(&self) -> Vec<PxeCheck> {
        self.pxe.checks()
    }

    fn pxe_capture(&self, mac: MacAddress, for_s: u32) -> Result<(), Problem> {
        self.pxe.capture(mac, for_s)
    }

    fn pxe_captured(&self, mac: MacAddress, from: usize) -> Option<CapturePart> {
        self.pxe.captured(mac, from)
    }

    fn wake(&self, mac: MacAddress) -> Result<(), Problem> {
        self.pxe.wake(mac)
    }

    fn self_view(&self) -> SelfView {
        let voters = self.replica.state().nodes().values().filter(|node| node.spec.voter).count();
        let mut view = self.status.view();
        view.voters = u32::try_from(voters).ok();
        view.waits_for_unlock = self.live.waiting();
        view.judged()
    }

    fn network(&self) -> Answer<'_, NetworkView> {
        Box::pin(self.network.view())
    }

    fn try_network(&self, change: NetworkChange) -> Answer<'_, NetworkView> {
        Box::pin(async move { self.network.begin(&change).await })
    }

    fn end_network_trial(&self, keep: bool) -> Answer<'_, NetworkView> {
        Box::pin(self.network.end(keep))
    }
}

/// The code of a file that could not be written.
pub(crate) fn storage_code(kind: ErrorKind) -> ProblemCode {
    if kind == ErrorKind::StorageFull { ProblemCode::StorageFull } else { ProblemCode::StorageFailed }
}

fn storage_problem(error: &StoredError) -> Problem {
    let code = match error {
        StoredError::File(e) => e.io_kind().map_or(ProblemCode::StorageFailed, storage_code),
        _ => ProblemCode::StorageFailed,
    };
    Problem::new(code, error.to_string())
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    SystemEntropy.fill(&mut bytes).map_err(|e| Problem::new(ProblemCode::Internal, e.to_string()))?;
    Ok(bytes)
}
