//! Join tokens.

use serde::{Deserialize, Serialize};

use crate::{Resource, Secret, Timestamp};

/// A secret that lets computers enrol.
pub type Token = Resource<TokenSpec, TokenStatus>;

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenSpec {
    /// When it ends.
    pub expires: Timestamp,
    /// How many machines may use it.
    pub uses: u32,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// How a token was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenStatus {
    /// How many machines used it.
    pub used: u32,
}

/// Asks for a new token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenRequest {
    /// Seconds that it is valid; ten minutes where absent.
    pub ttl_s: Option<u32>,
    /// How many machines may use it; one where absent.
    pub uses: Option<u32>,
}

/// A new token, the only time that its text is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewToken {
    /// The token's resource.
    pub token: Token,
    /// `meadow-join-<id>-<secret>-<fingerprint of the cluster>`, for a file of mode 0600.
    pub text: Secret<String>,
}
