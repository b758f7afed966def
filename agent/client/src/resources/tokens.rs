//! The routes of tokens, typed.

use http::Method;
use meadow_model::Name;
use meadow_model::resource::List;
use meadow_model::token::{NewToken, Token, TokenRequest};

use crate::transport::Call;
use crate::{Client, ClientError, ListAll};

impl Client {
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
}
