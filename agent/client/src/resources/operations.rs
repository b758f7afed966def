//! The routes of operations, and of events, typed.

use http::Method;
use meadow_model::Name;
use meadow_model::event::Event;
use meadow_model::install::Sealed;
use meadow_model::operation::Operation;
use meadow_model::resource::List;

use crate::transport::Call;
use crate::{Client, ClientError, ListAll};

impl Client {
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
}
