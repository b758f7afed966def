//! The routes, typed.

use std::net::IpAddr;

use http::Method;
use meadow_api::list::ListQuery;
use meadow_api::wire::{
    ApproveRequest, ArmRequest, CapturePart, CaptureRequest, Health, MachinePatch, NewMachine, OpenPxeRequest,
    PlanMachineRequest, Said,
};
use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck, PxeLease, PxeStatus};
use meadow_model::cluster::Cluster;
use meadow_model::console::SelfView;
use meadow_model::enrolment::{Claim, ClaimReply, Hello, HelloReply};
use meadow_model::event::Event;
use meadow_model::hardware::Disk;
use meadow_model::install::{InstallPlan, InstallRequest, Sealed};
use meadow_model::machine::Machine;
use meadow_model::network::{NetworkChange, NetworkView};
use meadow_model::node::{Node, NodeReport};
use meadow_model::operation::Operation;
use meadow_model::reset::{ResetPlan, ResetRequest};
use meadow_model::resource::List;
use meadow_model::token::{NewToken, Token, TokenRequest};
use meadow_model::work::{KeyTask, ReportReply, StickUpdate, SupportTask};
use meadow_model::{MacAddress, Name};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::transport::Call;
use crate::{Client, ClientError};

/// Which items of a list to fetch, over all its pages.
#[derive(Clone, Debug, Default)]
pub struct ListAll {
    /// As in [`ListQuery::filter`].
    pub filter: Option<String>,
    /// As in [`ListQuery::sort`].
    pub sort: Option<String>,
}

/// Items of one page.
const PAGE: usize = 500;
/// Most pages: a server that always names a next page must not keep a client for ever.
const MAX_PAGES: usize = 200;

impl Client {
    /// The cluster.
    ///
    /// # Errors
    /// [`ClientError`], as in all of these.
    pub async fn cluster(&self) -> Result<Cluster, ClientError> {
        self.get("/v1/cluster").await
    }

    /// All machines.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn machines(&self, which: &ListAll) -> Result<List<Machine>, ClientError> {
        self.all("/v1/machines", which, &[]).await
    }

    /// One machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn machine(&self, name: &Name) -> Result<Machine, ClientError> {
        self.get(&format!("/v1/machines/{name}")).await
    }

    /// Names a machine by its MAC address.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_machine(&self, new: &NewMachine) -> Result<Machine, ClientError> {
        self.post("/v1/machines", new, None).await
    }

    /// Changes what the PXE server does with a machine whose revision was read.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn patch_machine(
        &self,
        name: &Name,
        patch: &MachinePatch,
        revision: u64,
    ) -> Result<Machine, ClientError> {
        let call = Call::new(Method::PATCH, format!("/v1/machines/{name}")).if_match(Some(revision));
        self.call(call.json(patch)?).await
    }

    /// Lets a machine become a node; `revision` makes sure that it is still what a person saw.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn approve(
        &self,
        name: &Name,
        request: &ApproveRequest,
        revision: Option<u64>,
    ) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/machines/{name}/approve"), request, revision).await
    }

    /// Turns a machine away.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reject(&self, name: &Name, revision: Option<u64>) -> Result<Machine, ClientError> {
        let path = format!("/v1/machines/{name}/reject");
        self.call(Call::new(Method::POST, path).if_match(revision)).await
    }

    /// Arms the next boot of a machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn arm(&self, request: &ArmRequest) -> Result<Machine, ClientError> {
        self.post("/v1/machines/arm", request, None).await
    }

    /// All nodes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn nodes(&self, which: &ListAll) -> Result<List<Node>, ClientError> {
        self.all("/v1/nodes", which, &[]).await
    }

    /// One node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn node(&self, name: &Name) -> Result<Node, ClientError> {
        self.get(&format!("/v1/nodes/{name}")).await
    }

    /// Takes a node, whose revision was read, out of the cluster.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_node(&self, name: &Name, revision: u64) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::DELETE, format!("/v1/nodes/{name}")).if_match(Some(revision))).await
    }

    /// Tells how this node is; the answer is who is in the mesh.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn report(&self, name: &Name, report: &NodeReport) -> Result<ReportReply, ClientError> {
        self.call(Call::new(Method::PUT, format!("/v1/nodes/{name}/report")).json(report)?).await
    }

    /// What an installation would do to a disk of a node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan_install(&self, name: &Name, request: &InstallRequest) -> Result<InstallPlan, ClientError> {
        self.post(&format!("/v1/nodes/{name}/install/plan"), request, None).await
    }

    /// What an installation would do to a disk of a machine that is no node yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan_machine(&self, name: &Name, request: &PlanMachineRequest) -> Result<InstallPlan, ClientError> {
        self.post(&format!("/v1/machines/{name}/install/plan"), request, None).await
    }

    /// Installs a node onto a disk, with consent for a plan.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn install(&self, name: &Name, request: &InstallRequest) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/install"), request, None).await
    }

    /// Changes who can open a node's state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_keys(&self, name: &Name, change: &KeyTask) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/keys"), change, None).await
    }

    /// Restarts a node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reboot(&self, name: &Name) -> Result<Operation, ClientError> {
        self.call(Call::new(Method::POST, format!("/v1/nodes/{name}/reboot"))).await
    }

    /// What a factory reset of a node would erase.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan_reset(&self, name: &Name, request: &ResetRequest) -> Result<ResetPlan, ClientError> {
        self.post(&format!("/v1/nodes/{name}/reset/plan"), request, None).await
    }

    /// Resets a node, with consent for a plan.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset(&self, name: &Name, request: &ResetRequest) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/reset"), request, None).await
    }

    /// Says that this node has erased itself.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leave(&self, name: &Name) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::POST, format!("/v1/nodes/{name}/leave"))).await
    }

    /// The disks of the agent's own computer, looked at now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn own_disks(&self) -> Result<Vec<Disk>, ClientError> {
        self.get("/v1/self/disks").await
    }

    /// What a factory reset of the agent's own computer would erase.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan_own_reset(&self, request: &ResetRequest) -> Result<ResetPlan, ClientError> {
        self.post("/v1/self/reset/plan", request, None).await
    }

    /// Resets the agent's own computer, with consent for a plan.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset_self(&self, request: &ResetRequest) -> Result<ResetPlan, ClientError> {
        self.post("/v1/self/reset", request, None).await
    }

    /// Updates a node from a stick.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn update_from_stick(&self, name: &Name, update: &StickUpdate) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/update"), update, None).await
    }

    /// Writes a node's system anew from the network.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reinstall(&self, name: &Name) -> Result<Operation, ClientError> {
        self.call(Call::new(Method::POST, format!("/v1/nodes/{name}/reinstall"))).await
    }

    /// Calls a reinstallation off that has not begun.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_reinstall_off(&self, name: &Name) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::DELETE, format!("/v1/nodes/{name}/reinstall"))).await
    }

    /// Writes a node's support bundle onto a stick.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn support(&self, name: &Name, task: &SupportTask) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/support"), task, None).await
    }

    /// Updates the agent's own computer from a stick.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn update_self(&self, update: &StickUpdate) -> Result<Said, ClientError> {
        self.post("/v1/self/update", update, None).await
    }

    /// Writes a support bundle of the agent's own computer onto a stick.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn support_self(&self, task: &SupportTask) -> Result<Said, ClientError> {
        self.post("/v1/self/support", task, None).await
    }

    /// The sealed secret that a node answered an operation with.
    ///
    /// # Errors
    /// [`ClientError`]; `NotFound` where there is none, or not any more.
    pub async fn operation_answer(&self, name: &Name) -> Result<Sealed, ClientError> {
        self.get(&format!("/v1/operations/{name}/answer")).await
    }

    /// A node's own answer to an operation, where it is too large for a report.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn put_operation_answer(&self, name: &Name, answer: &Sealed) -> Result<(), ClientError> {
        let call = Call::new(Method::PUT, format!("/v1/operations/{name}/answer"));
        self.call_empty(call.json(answer)?).await
    }

    /// All join tokens.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokens(&self, which: &ListAll) -> Result<List<Token>, ClientError> {
        self.all("/v1/tokens", which, &[]).await
    }

    /// One join token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn token(&self, name: &Name) -> Result<Token, ClientError> {
        self.get(&format!("/v1/tokens/{name}")).await
    }

    /// Makes a join token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_token(&self, request: &TokenRequest) -> Result<NewToken, ClientError> {
        self.post("/v1/tokens", request, None).await
    }

    /// Takes back a join token whose revision was read.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_token(&self, name: &Name, revision: u64) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::DELETE, format!("/v1/tokens/{name}")).if_match(Some(revision))).await
    }

    /// All operations.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn operations(&self, which: &ListAll) -> Result<List<Operation>, ClientError> {
        self.all("/v1/operations", which, &[]).await
    }

    /// One operation.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn operation(&self, name: &Name) -> Result<Operation, ClientError> {
        self.get(&format!("/v1/operations/{name}")).await
    }

    /// The events after position `since`, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(&self, which: &ListAll, since: u64) -> Result<List<Event>, ClientError> {
        self.all("/v1/events", which, &[("since", since.to_string())]).await
    }

    /// The state of the PXE server.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe(&self) -> Result<PxeStatus, ClientError> {
        self.get("/v1/pxe").await
    }

    /// The boot log after position `since`, of one machine or of all, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_events(&self, mac: Option<MacAddress>, since: u64) -> Result<List<BootEvent>, ClientError> {
        let mut query = vec![("since", since.to_string())];
        query.extend(mac.map(|mac| ("mac", mac.to_string())));
        self.all("/v1/pxe/events", &ListAll::default(), &query).await
    }

    /// How far the boot of each machine is that was seen, the one that was heard last first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_boots(&self, which: &ListAll) -> Result<List<MachineBoot>, ClientError> {
        self.all("/v1/pxe/boots", which, &[]).await
    }

    /// Everything that is known of the addresses that the PXE server gives out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_leases(&self, which: &ListAll) -> Result<List<PxeLease>, ClientError> {
        self.all("/v1/pxe/leases", which, &[]).await
    }

    /// Ends the lease of an address.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn release_lease(&self, address: IpAddr) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::DELETE, format!("/v1/pxe/leases/{address}"))).await
    }

    /// Everything that a boot over the network needs, looked at.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_checks(&self, which: &ListAll) -> Result<List<PxeCheck>, ClientError> {
        self.all("/v1/pxe/doctor", which, &[]).await
    }

    /// Begins to capture what a machine and the PXE server say to each other.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn capture(&self, request: &CaptureRequest) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::POST, "/v1/pxe/captures").json(request)?).await
    }

    /// What was captured of a machine, from byte `from` of the file on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn captured(&self, mac: MacAddress, from: usize) -> Result<CapturePart, ClientError> {
        self.get(&format!("/v1/pxe/captures?mac={mac}&from={from}")).await
    }

    /// Sends the packet that switches on a machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn wake(&self, machine: &Name) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::POST, format!("/v1/machines/{machine}/wake"))).await
    }

    /// Boots every machine that asks, for a while.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_pxe(&self, for_s: u32) -> Result<PxeStatus, ClientError> {
        self.post("/v1/pxe/open", &OpenPxeRequest { for_s }, None).await
    }

    /// Boots only the machines that were named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn close_pxe(&self) -> Result<PxeStatus, ClientError> {
        self.call(Call::new(Method::POST, "/v1/pxe/close")).await
    }

    /// The first message of an enrolment.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn hello(&self, hello: &Hello) -> Result<HelloReply, ClientError> {
        self.post("/v1/enrolment/hello", hello, None).await
    }

    /// Asks to be let in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn claim(&self, claim: &Claim) -> Result<ClaimReply, ClientError> {
        self.post("/v1/enrolment/claim", claim, None).await
    }

    /// Asks where the claim stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn claim_state(&self) -> Result<ClaimReply, ClientError> {
        self.get("/v1/enrolment/claim").await
    }

    /// Sets network cards of a node for a minute, or until they are confirmed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn try_node_network(&self, name: &Name, change: &NetworkChange) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/network/try"), change, None).await
    }

    /// Keeps what a node tries, or brings back what was before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn end_node_network_trial(&self, name: &Name, keep: bool) -> Result<Operation, ClientError> {
        let verb = if keep { "confirm" } else { "back" };
        self.call(Call::new(Method::POST, format!("/v1/nodes/{name}/network/{verb}"))).await
    }

    /// How the network cards of the computer are set whose agent this talks to.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn network(&self) -> Result<NetworkView, ClientError> {
        self.get("/v1/self/network").await
    }

    /// Sets them for a minute, or until they are confirmed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn try_network(&self, change: &NetworkChange) -> Result<NetworkView, ClientError> {
        self.post("/v1/self/network/try", change, None).await
    }

    /// Keeps what is tried, or brings back what was before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn end_network_trial(&self, keep: bool) -> Result<NetworkView, ClientError> {
        let verb = if keep { "confirm" } else { "back" };
        self.call(Call::new(Method::POST, format!("/v1/self/network/{verb}"))).await
    }

    /// What the console of the agent's computer shows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn self_view(&self) -> Result<SelfView, ClientError> {
        self.get("/v1/self").await
    }

    /// The agent's health, also where it is bad.
    ///
    /// # Errors
    /// [`ClientError`] where there is no answer.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.exchange(Call::new(Method::GET, "/v1/health")).await?.parse()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Call::new(Method::GET, path)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<T, ClientError> {
        self.call(Call::new(Method::POST, path).if_match(revision).json(body)?).await
    }

    /// All pages of a list as one; its revision is that of the last page.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        which: &ListAll,
        more: &[(&str, String)],
    ) -> Result<List<T>, ClientError> {
        let mut query =
            ListQuery { limit: Some(PAGE), page: None, filter: which.filter.clone(), sort: which.sort.clone() };
        let mut items = Vec::new();
        for _ in 0..MAX_PAGES {
            let list: List<T> = self.get(&format!("{path}?{}", encode(&query, more))).await?;
            items.extend(list.items);
            query.page = list.next_page;
            if query.page.is_none() {
                return Ok(List { version: list.version, revision: list.revision, items, next_page: None });
            }
        }
        Err(ClientError::Protocol(path.to_owned(), format!("the list has more than {MAX_PAGES} pages")))
    }
}

/// A query string (RFC 3986 section 3.4).
fn encode(query: &ListQuery, more: &[(&str, String)]) -> String {
    let fields = [
        ("limit", query.limit.map(|limit| limit.to_string())),
        ("page", query.page.clone()),
        ("filter", query.filter.clone()),
        ("sort", query.sort.clone()),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let pairs = fields.chain(more.iter().cloned()).map(|(name, value)| format!("{name}={}", percent_encode(&value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_every_character() {
        let query = ListQuery { filter: Some("actor=user a&b,ü".to_owned()), ..ListQuery::default() };
        assert_eq!(encode(&query, &[("since", "7".to_owned())]), "filter=actor%3Duser%20a%26b%2C%C3%BC&since=7");
    }
}
