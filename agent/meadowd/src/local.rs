//! The agent of a computer that keeps no replicated state, as the routes of its local API see it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use meadow_api::wire::{CapturePart, Health};
use meadow_api::{Answer, Arm, Author, Backend};
use meadow_controllers::network_settings::NetworkSettings;
use meadow_controllers::self_status::SelfStatus;
use meadow_host::{Clock, SystemClock};
use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck, PxeLease, PxeStatus};
use meadow_model::console::{SelfState, SelfView};
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
use meadow_state::command::Proposal;
use meadow_state::{Applied, State};

use crate::own_computer::OwnComputer;

/// Knows only itself; everything of the cluster is asked at a voter.
pub(crate) struct Onlooker {
    pub(crate) status: SelfStatus,
    pub(crate) network: Arc<NetworkSettings>,
    pub(crate) this: OwnComputer,
}

fn elsewhere() -> Problem {
    Problem::new(ProblemCode::Unavailable, "this computer keeps no state of the cluster; ask a voter")
}

fn answer<T: Send + 'static>(problem: Problem) -> Answer<'static, T> {
    Box::pin(std::future::ready(Err(problem)))
}

impl Backend for Onlooker {
    fn state(&self) -> Result<Arc<State>, Problem> {
        Err(elsewhere())
    }

    fn now(&self) -> Timestamp {
        SystemClock.wall()
    }

    fn propose(&self, _proposal: Proposal) -> Answer<'_, Applied> {
        answer(elsewhere())
    }

    fn node_status(&self, node: &Node) -> NodeStatus {
        node.status.clone()
    }

    fn leader(&self) -> Option<Name> {
        None
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn health(&self) -> Health {
        let view = self.status.view();
        let ok = view.state == SelfState::Ready;
        Health { ok, why: if ok { Vec::new() } else { vec![view.detail] }, version: view.version }
    }

    fn create_token(&self, _expires: Timestamp, _uses: u32, _author: Author) -> Answer<'_, NewToken> {
        answer(elsewhere())
    }

    fn arm(&self, _arm: Arm, _author: Author) -> Answer<'_, Applied> {
        answer(elsewhere())
    }

    fn record_report(&self, _node: &Name, _report: NodeReport, _from: SocketAddr) -> Answer<'_, ReportReply> {
        answer(elsewhere())
    }

    fn give_work(&self, _node: &Name, _work: NodeWork) -> Result<(), Problem> {
        Err(elsewhere())
    }

    fn operation_answer(&self, _operation: &Name) -> Option<Sealed> {
        None
    }

    fn put_operation_answer(&self, _node: &Name, _operation: &Name, _answer: Sealed) -> Result<(), Problem> {
        Err(elsewhere())
    }

    fn offer_image(&self, _offered: OfferedImage) -> Answer<'_, IncomingImage> {
        answer(elsewhere())
    }

    fn put_image_piece(&self, _digest: String, _name: String, _offset: u64, _piece: Bytes) -> Answer<'_, u64> {
        answer(elsewhere())
    }

    fn adopt_image(&self, _digest: String, _author: Author) -> Answer<'_, Applied> {
        answer(elsewhere())
    }

    fn drop_image(&self, _digest: String) -> Answer<'_, ()> {
        answer(elsewhere())
    }

    fn hello(&self, _key: Fingerprint, _hello: Hello, _from: SocketAddr) -> Answer<'_, HelloReply> {
        answer(elsewhere())
    }

    fn claim(&self, _key: PublicKey, _claim: Claim, _from: SocketAddr) -> Answer<'_, ClaimReply> {
        answer(elsewhere())
    }

    fn claim_state(&self, _key: PublicKey) -> Answer<'_, ClaimReply> {
        answer(elsewhere())
    }

    fn pxe_status(&self) -> PxeStatus {
        PxeStatus { serving: false, interfaces: Vec::new(), open_until: None, problems: Vec::new(), counters: None }
    }

    fn pxe_events(&self, _mac: Option<MacAddress>, _since: u64) -> Vec<BootEvent> {
        Vec::new()
    }

    fn pxe_boots(&self) -> Vec<MachineBoot> {
        Vec::new()
    }

    fn pxe_leases(&self) -> Vec<PxeLease> {
        Vec::new()
    }

    fn release_lease(&self, _address: IpAddr) -> Answer<'_, ()> {
        answer(elsewhere())
    }

    fn pxe_checks(&self) -> Vec<PxeCheck> {
        Vec::new()
    }

    fn pxe_capture(&self, _mac: MacAddress, _for_s: u32) -> Result<(), Problem> {
        Err(elsewhere())
    }

    fn pxe_captured(&self, _mac: MacAddress, _from: usize) -> Option<CapturePart> {
        None
    }

    fn wake(&self, _mac: MacAddress) -> Result<(), Problem> {
        Err(elsewhere())
    }

    fn self_view(&self) -> SelfView {
        self.status.view()
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

    fn own_disks(&self) -> Answer<'_, Vec<Disk>> {
        Box::pin(self.this.disks())
    }

    fn plan_own_reset(&self, request: ResetRequest) -> Answer<'_, ResetPlan> {
        Box::pin(async move { self.this.plan_reset(&request).await })
    }

    fn reset_self(&self, request: ResetRequest) -> Answer<'_, ResetDone> {
        Box::pin(async move { self.this.reset(&request).await })
    }

    fn update_self(&self, update: StickUpdate) -> Answer<'_, String> {
        Box::pin(async move { self.this.update(&update).await })
    }

    fn support_self(&self, task: SupportTask) -> Answer<'_, String> {
        Box::pin(async move { self.this.support(&task).await })
    }
}
