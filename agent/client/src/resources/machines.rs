//! The routes of machines that are no nodes yet, typed.

use http::Method;
use meadow_api::wire::{ApproveRequest, ArmRequest, MachinePatch, NewMachine, PlanMachineRequest};
use meadow_model::Name;
use meadow_model::install::InstallPlan;
use meadow_model::machine::Machine;
use meadow_model::operation::Operation;
use meadow_model::resource::List;

use crate::transport::Call;
use crate::{Client, ClientError, ListAll};

impl Client {
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

    /// What an installation would do to a disk of a machine that is no node yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan_machine(&self, name: &Name, request: &PlanMachineRequest) -> Result<InstallPlan, ClientError> {
        self.post(&format!("/v1/machines/{name}/install/plan"), request, None).await
    }

    /// Sends the packet that switches on a machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn wake(&self, machine: &Name) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::POST, format!("/v1/machines/{machine}/wake"))).await
    }
}
