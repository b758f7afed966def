//! The routes by which a machine enrols, typed.

use meadow_model::enrolment::{Claim, ClaimReply, Hello, HelloReply};

use crate::{Client, ClientError};

impl Client {
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
}
