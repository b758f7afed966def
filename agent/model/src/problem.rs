//! Problems: what the API answers when it cannot do what was asked (RFC 9457).

use serde::{Deserialize, Serialize};

macro_rules! problems {
    ($($variant:ident $code:literal $status:literal $title:literal $hint:literal;)*) => {
        /// The registry of problems: stable codes, each with an HTTP status, a title and a hint what to do next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum ProblemCode {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)*
        }

        impl ProblemCode {
            /// All codes, for documentation and tests.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable code, as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What is wrong, in general.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What to do next.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

problems! {
    BadRequest "bad-request" 400 "The request cannot be understood" "Compare it with /v1/openapi.json.";
    Unauthenticated "unauthenticated" 401 "No valid client certificate" "Use the context that `meadow init` wrote, or ask an admin for one.";
    Forbidden "forbidden" 403 "This identity may not do that" "Ask an admin of the cluster.";
    NotFound "not-found" 404 "There is no such resource" "List what there is, for example with `meadow machine ls`.";
    MethodNotAllowed "method-not-allowed" 405 "This route does not take that method" "Compare it with /v1/openapi.json.";
    AlreadyExists "already-exists" 409 "A resource of that name exists" "Choose another name.";
    Conflict "conflict" 409 "The resource is in a state that does not allow this" "Look at the resource and try again.";
    RevisionMismatch "revision-mismatch" 412 "The resource has changed since it was read" "Read it again and repeat the change.";
    PreconditionRequired "precondition-required" 428 "If-Match is missing" "Send the ETag of the resource that you read as If-Match.";
    TooLarge "too-large" 413 "The request is too large" "Requests are limited to 1 MiB.";
    InvalidToken "invalid-token" 403 "The join token is not valid" "Make a new one with `meadow token create`.";
    TokenExpired "token-expired" 403 "The join token has expired" "Make a new one with `meadow token create`.";
    TokenUsed "token-used" 403 "The join token was used up" "Make a new one with `meadow token create --uses N`.";
    TicketReused "ticket-reused" 409 "The boot ticket was asked for with two keys" "Compare the fingerprint on the machine's console and run `meadow machine approve`.";
    IdentityMismatch "identity-mismatch" 409 "A known node came with another key" "If the machine was reinstalled, remove the old node with `meadow node remove` first.";
    MachineRejected "machine-rejected" 403 "An admin rejected this machine" "Run `meadow machine approve` if that was a mistake.";
    NodeRevoked "node-revoked" 403 "This node was removed from the cluster" "Enrol it again.";
    LastVoter "last-voter" 409 "This is the only voter of the cluster" "Add another voter first.";
    InstallRefused "install-refused" 409 "Nothing can be installed there" "Choose another disk, or change what the reason names; `meadow node show` lists the disks.";
    PlanChanged "plan-changed" 409 "The disk is not as it was when consent was given" "Look at the new plan and consent to that one.";
    ImageRefused "image-refused" 409 "The cluster does not take this image" "Do what the reason says, and add the image again.";
    StorageFull "storage-full" 507 "The disk that holds the state is full" "Free space below /var/lib/meadow; nothing was lost, and PXE goes on.";
    StorageFailed "storage-failed" 500 "The state could not be written" "Look at the log of meadowd; nothing was acknowledged.";
    NoQuorum "no-quorum" 503 "There is no quorum" "Start the other voters.";
    Unavailable "unavailable" 503 "The agent is starting or stopping" "Try again in a few seconds.";
    Internal "internal" 500 "A defect of Meadow" "Report it with the request id and the log of meadowd.";
}

impl std::fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A problem as the API writes it (`application/problem+json`, RFC 9457 section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// URI that names the kind of problem: `urn:meadow:problem:<code>`.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// Stable code.
    pub code: ProblemCode,
    /// HTTP status.
    pub status: u16,
    /// What is wrong, in general.
    pub title: String,
    /// What is wrong, here.
    pub detail: String,
    /// What to do next.
    pub hint: String,
    /// Where the documentation says more.
    pub docs: String,
    /// Names this request in the log of meadowd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Which fields of the request are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
}

/// A field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer or name of the query parameter.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    /// A problem of this code, here and now.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("urn:meadow:problem:{code}"),
            code,
            status: code.status(),
            title: code.title().to_owned(),
            detail: detail.into(),
            hint: code.hint().to_owned(),
            docs: format!("docs/problems.md#{code}"),
            request_id: None,
            fields: Vec::new(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}. {}", self.title, self.detail.trim_end_matches('.'), self.hint)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_every_one_says_what_to_do_next() {
        let mut codes: Vec<&str> = ProblemCode::ALL.iter().map(|c| c.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ProblemCode::ALL.len());
        for code in ProblemCode::ALL {
            assert!(!code.title().is_empty() && code.hint().ends_with('.'), "{code}");
            assert!((400..600).contains(&code.status()), "{code}");
        }
    }
}
