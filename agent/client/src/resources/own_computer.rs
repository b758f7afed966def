//! What the agent says of its own computer, and does with it.

use http::Method;
use meadow_api::wire::{Health, Said};
use meadow_model::console::SelfView;
use meadow_model::hardware::Disk;
use meadow_model::network::{NetworkChange, NetworkView};
use meadow_model::reset::{ResetDone, ResetPlan, ResetRequest};
use meadow_model::work::{StickUpdate, SupportTask};

use crate::transport::Call;
use crate::{Client, ClientError};

impl Client {
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
    pub async fn reset_self(&self, request: &ResetRequest) -> Result<ResetDone, ClientError> {
        self.call(Call::new(Method::POST, "/v1/self/reset").json(request)?.patient()).await
    }

    /// Updates the agent's own computer from a stick.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn update_self(&self, update: &StickUpdate) -> Result<Said, ClientError> {
        self.call(Call::new(Method::POST, "/v1/self/update").json(update)?.patient()).await
    }

    /// Writes a support bundle of the agent's own computer onto a stick.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn support_self(&self, task: &SupportTask) -> Result<Said, ClientError> {
        self.call(Call::new(Method::POST, "/v1/self/support").json(task)?.patient()).await
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
}
