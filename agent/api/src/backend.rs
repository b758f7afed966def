//! What the routes need of the agent around them.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck, PxeLease, PxeStatus};
use meadow_model::console::SelfView;
use meadow_model::enrolment::{Claim, ClaimReply, Hello, HelloReply};
use meadow_model::fingerprint::PublicKey;
use meadow_model::hardware::Disk;
use meadow_model::image::{IncomingImage, OfferedImage};
use meadow_model::install::Sealed;
use meadow_model::network::{NetworkChange, NetworkView};
use meadow_model::node::{Node, NodeReport, NodeStatus};
use meadow_model::reset::{ResetDone, ResetPlan, ResetRequest};
use meadow_model::token::NewToken;
use meadow_model::work::{NodeWork, ReportReply, StickUpdate, SupportTask};
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Timestamp};
use meadow_state::command::{MachineRef, Proposal};
use meadow_state::{Applied, State};

use crate::wire::{CapturePart, Health};

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// Who proposes a change, and under which key a repetition gets the first answer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// As in [`Proposal::actor`].
    pub actor: String,
    /// As in [`Proposal::idempotency_key`].
    pub idempotency_key: Option<String>,
}

/// Arms the next boot of a machine; the backend makes the ticket and keeps it for the boot server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The machine.
    pub machine: MachineRef,
    /// Until when.
    pub expires: Timestamp,
    /// The name of the node.
    pub node: Option<Name>,
    /// The lost node that it replaces.
    pub replaces: Option<Name>,
    /// The machine's revision as the caller read it.
    pub if_match: Option<u64>,
}

/// The agent as the routes see it. Reads are cheap and never wait; changes are acknowledged once they are durable.
pub trait Backend: Send + Sync + 'static {
    /// The replicated state as it was applied last.
    ///
    /// # Errors
    /// `Unavailable` on a computer that keeps none, or not yet.
    fn state(&self) -> Result<Arc<State>, Problem>;

    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Changes the replicated state.
    fn propose(&self, proposal: Proposal) -> Answer<'_, Applied>;

    /// The status of a node with its newest report, judged now.
    fn node_status(&self, node: &Node) -> NodeStatus;

    /// The node that leads Raft, where one does.
    fn leader(&self) -> Option<Name>;

    /// What a person should look at, with the next step.
    fn warnings(&self) -> Vec<String>;

    /// Whether the agent does what it is there for.
    fn health(&self) -> Health;

    /// Makes a token's secret, proposes the token (valid until `expires`, for `uses` machines), and gives its text.
    /// A repetition under one idempotency key is a `Conflict`: the text is shown only once.
    fn create_token(&self, expires: Timestamp, uses: u32, author: Author) -> Answer<'_, NewToken>;

    /// Makes a ticket, arms the machine with it, and keeps it for the boot server.
    fn arm(&self, arm: Arm, author: Author) -> Answer<'_, Applied>;

    /// Takes the report of a node that came from the node's own mesh address.
    fn record_report(&self, node: &Name, report: NodeReport, from: SocketAddr) -> Answer<'_, ReportReply>;

    /// Keeps work for a node until it says how it ended.
    ///
    /// # Errors
    /// `Conflict` where too much waits already.
    fn give_work(&self, node: &Name, work: NodeWork) -> Result<(), Problem>;

    /// The sealed secret that a node answered an operation with.
    fn operation_answer(&self, operation: &Name) -> Option<Sealed>;

    /// Keeps the answer of a node to an operation that it works on, where it is too large for a report.
    ///
    /// # Errors
    /// `Conflict` where it works on no such operation.
    fn put_operation_answer(&self, node: &Name, operation: &Name, answer: Sealed) -> Result<(), Problem>;

    /// Begins to bring an image, or goes on with it.
    fn offer_image(&self, offered: OfferedImage) -> Answer<'_, IncomingImage>;

    /// Takes a piece of the file `name` of the image `digest` from `offset` on; bytes of the file that are there.
    fn put_image_piece(&self, digest: String, name: String, offset: u64, piece: Bytes) -> Answer<'_, u64>;

    /// Signs an image that is there in full for the cluster, and proposes to adopt it.
    fn adopt_image(&self, digest: String, author: Author) -> Answer<'_, Applied>;

    /// Removes the files of an image that the state has forgotten.
    fn drop_image(&self, digest: String) -> Answer<'_, ()>;

    /// The first message of an enrolment, from the holder of `key`.
    fn hello(&self, key: Fingerprint, hello: Hello, from: SocketAddr) -> Answer<'_, HelloReply>;

    /// The claim of the holder of `key`.
    fn claim(&self, key: PublicKey, claim: Claim, from: SocketAddr) -> Answer<'_, ClaimReply>;

    /// Where the claim of the holder of `key` stands; `NotFound` where there is none. Whoever was admitted is told all
    /// that a node needs, whenever it asks.
    fn claim_state(&self, key: PublicKey) -> Answer<'_, ClaimReply>;

    /// The state of the PXE server.
    fn pxe_status(&self) -> PxeStatus;

    /// The boot log, of one machine or of all, after position `since`, oldest first.
    fn pxe_events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent>;

    /// How far the boot of each machine is that was seen, the one that was heard last first.
    fn pxe_boots(&self) -> Vec<MachineBoot>;

    /// Everything that is known of the addresses that the PXE server gives out.
    fn pxe_leases(&self) -> Vec<PxeLease>;

    /// Ends the lease of an address.
    ///
    /// # Errors
    /// `NotFound` where nobody has one.
    fn release_lease(&self, address: IpAddr) -> Answer<'_, ()>;

    /// Looks at everything that a boot over the network needs. Blocks.
    fn pxe_checks(&self) -> Vec<PxeCheck>;

    /// Begins to capture what a machine and the PXE server say to each other, for at most so many seconds.
    ///
    /// # Errors
    /// Where nothing can be captured, with the reason.
    fn pxe_capture(&self, mac: MacAddress, for_s: u32) -> Result<(), Problem>;

    /// What was captured of a machine, from byte `from` of the file on; `None` where nobody began.
    fn pxe_captured(&self, mac: MacAddress, from: usize) -> Option<CapturePart>;

    /// Sends the packet that switches on the machine with this card.
    ///
    /// # Errors
    /// Where this computer serves no interface for PXE, or it does not send.
    fn wake(&self, mac: MacAddress) -> Result<(), Problem>;

    /// What the console of this computer shows.
    fn self_view(&self) -> SelfView;

    /// How the network cards of this computer are set.
    fn network(&self) -> Answer<'_, NetworkView>;

    /// Sets network cards of this computer, until somebody confirms it or for a minute.
    fn try_network(&self, change: NetworkChange) -> Answer<'_, NetworkView>;

    /// Ends the trial: keeps the settings, or brings those before back.
    fn end_network_trial(&self, keep: bool) -> Answer<'_, NetworkView>;

    /// The disks of this computer, looked at now.
    fn own_disks(&self) -> Answer<'_, Vec<Disk>> {
        somebodys_own()
    }

    /// What a factory reset of this computer would erase.
    fn plan_own_reset(&self, _request: ResetRequest) -> Answer<'_, ResetPlan> {
        somebodys_own()
    }

    /// Carries out a factory reset of this computer, with consent for a plan, and restarts it.
    fn reset_self(&self, _request: ResetRequest) -> Answer<'_, ResetDone> {
        somebodys_own()
    }

    /// Updates this computer from a stick and restarts it; what was done.
    fn update_self(&self, _update: StickUpdate) -> Answer<'_, String> {
        somebodys_own()
    }

    /// Writes a support bundle onto a stick; what was done.
    fn support_self(&self, _task: SupportTask) -> Answer<'_, String> {
        somebodys_own()
    }
}

/// The answer of a computer that does not run Meadow's image.
fn somebodys_own<T: Send + 'static>() -> Answer<'static, T> {
    let detail = "this computer runs on a system of its own, which Meadow does not change";
    Box::pin(std::future::ready(Err(Problem::new(ProblemCode::Conflict, detail))))
}
