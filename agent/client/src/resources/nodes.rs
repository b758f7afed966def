//! The routes of nodes, typed.

use http::Method;
use meadow_model::Name;
use meadow_model::install::{InstallPlan, InstallRequest};
use meadow_model::network::NetworkChange;
use meadow_model::node::{Node, NodeReport};
use meadow_model::operation::Operation;
use meadow_model::reset::{ResetPlan, ResetRequest};
use meadow_model::resource::List;
use meadow_model::work::{KeyTask, Reinstall, ReportReply, StickUpdate, SupportTask};

use crate::transport::Call;
use crate::{Client, ClientError, ListAll};

impl Client {
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
    pub async fn reinstall(&self, name: &Name, order: Reinstall) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/nodes/{name}/reinstall"), &order, None).await
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
}
