//! The machine's side of enrolment: asks until it is a node or is told why not.

use std::time::Duration;

use meadow_client::{Client, ClientError};
use meadow_enroll::{Greeting, JoinToken, Suspicion};
use meadow_host::entropy::EntropyError;
use meadow_host::{Entropy, SystemEntropy};
use meadow_model::boot::{BootCluster, BootReport};
use meadow_model::console::SelfState;
use meadow_model::enrolment::{Admission, Claim, ClaimReply};
use meadow_model::hardware::{Hardware, Measures};
use meadow_model::{Name, Problem, ProblemCode, Secret};
use meadow_pki::CaPin;
use tracing::info;

use crate::keys::Keys;
use crate::self_status::SelfStatus;

/// How long to wait before asking again, growing while nothing changes.
const WAITS: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// What a machine brings to its enrolment.
pub struct Candidate<'a> {
    /// Its keys.
    pub keys: &'a Keys,
    /// Whom it enrols with.
    pub cluster: &'a BootCluster,
    /// A boot ticket.
    pub ticket: Option<Secret<String>>,
    /// A join token.
    pub token: Option<JoinToken>,
    /// Its inventory.
    pub hardware: Hardware,
    /// Its first measures.
    pub measures: Option<Measures>,
    /// How it booted.
    pub boot: Option<BootReport>,
    /// Whether it has no durable state.
    pub ephemeral: bool,
    /// The name it would like.
    pub wanted_name: Option<Name>,
}

/// Why an enrolment ended without a node.
#[derive(Debug, thiserror::Error)]
pub enum EnrolFailure {
    /// The cluster said no, for good.
    #[error(transparent)]
    Refused(#[from] Box<Problem>),
    /// The other end is not the cluster that made the token.
    #[error(transparent)]
    Suspicious(#[from] Suspicion),
    /// The addresses or the identity cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl EnrolFailure {
    /// Whether the key was a node's that was removed: it is refused for ever, and another one may be let in.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.code == ProblemCode::NodeRevoked)
    }
}

enum Attempt {
    Admitted(Box<Admission>),
    /// Not reachable, or busy: say hello again.
    Again(String),
    Failed(EnrolFailure),
}

/// Asks the cluster to let the machine in. Unreachable servers, restarts of either side and waiting for a person are
/// no failures: it goes on asking.
///
/// # Errors
/// [`EnrolFailure`] where asking again cannot help.
pub async fn enrol(candidate: &Candidate<'_>, status: &SelfStatus) -> Result<Admission, EnrolFailure> {
    let identity = &candidate.keys.identity;
    let client = Client::tls(&candidate.cluster.api, CaPin(candidate.cluster.ca_fingerprint), Some(identity))?;
    let mut waits = Waits::default();
    loop {
        match attempt(candidate, &client, status).await {
            Attempt::Admitted(admission) => return Ok(*admission),
            Attempt::Failed(failure) => return Err(failure),
            Attempt::Again(why) => {
                status.set(SelfState::Enrolling, why);
                tokio::time::sleep(waits.next()).await;
            }
        }
    }
}

async fn attempt(candidate: &Candidate<'_>, client: &Client, status: &SelfStatus) -> Attempt {
    let mut nonce = [0; 32];
    if let Err(e) = SystemEntropy.fill(&mut nonce) {
        return Attempt::Failed(e.into());
    }
    let machine = candidate.keys.identity.fingerprint();
    let greeting = Greeting::new(candidate.cluster.ca_fingerprint, machine, nonce, candidate.token.as_ref());
    let reply = match client.hello(&greeting.hello()).await {
        Ok(reply) => reply,
        Err(e) => return failed(e, candidate),
    };
    let greeted = match greeting.answered(&reply) {
        Ok(greeted) => greeted,
        Err(e) => return Attempt::Failed(e.into()),
    };
    info!(code = %greeted.code, fingerprint = %machine, "said hello");
    status.update(|view| {
        view.cluster = Some(reply.cluster.to_string());
        view.code = Some(greeted.code.clone());
    });
    let claim = Claim {
        nonce: greeted.nonce,
        proof: greeted.proof,
        ticket: candidate.ticket.clone(),
        wireguard: candidate.keys.wireguard.public_key(),
        hardware: candidate.hardware.clone(),
        measures: candidate.measures.clone(),
        boot: candidate.boot.clone(),
        ephemeral: candidate.ephemeral,
        wanted_name: candidate.wanted_name.clone(),
    };
    let first = client.claim(&claim).await;
    wait_for_decision(candidate, client, first, status).await
}

/// Asks for the decision until there is one, or until the server is gone (then hello comes first again).
async fn wait_for_decision(
    candidate: &Candidate<'_>,
    client: &Client,
    first: Result<ClaimReply, ClientError>,
    status: &SelfStatus,
) -> Attempt {
    let mut waits = Waits::default();
    let mut answer = first;
    loop {
        match answer {
            Ok(ClaimReply::Approved(admission)) => return Attempt::Admitted(admission),
            Ok(ClaimReply::Pending { machine, reason }) => {
                status.update(|view| view.name = Some(machine.clone()));
                status.set(SelfState::Pending, format!("{reason}; approve with `meadow machine approve {machine}`"));
            }
            Ok(ClaimReply::Rejected { reason }) => status.set(SelfState::Rejected, reason),
            Err(e) => return failed(e, candidate),
        }
        tokio::time::sleep(waits.next()).await;
        answer = client.claim_state().await;
    }
}

fn failed(error: ClientError, candidate: &Candidate<'_>) -> Attempt {
    match error {
        // Whoever typed the address is there to correct it; a netbooted machine can only go on asking.
        ClientError::OtherCluster { .. } if candidate.token.is_some() => Attempt::Failed(error.into()),
        ClientError::Problem(problem) if is_final(problem.code) => Attempt::Failed(EnrolFailure::Refused(problem)),
        other => Attempt::Again(other.to_string()),
    }
}

/// Problems that asking again cannot solve.
fn is_final(code: ProblemCode) -> bool {
    matches!(
        code,
        ProblemCode::InvalidToken
            | ProblemCode::TokenExpired
            | ProblemCode::TokenUsed
            | ProblemCode::IdentityMismatch
            | ProblemCode::NodeRevoked
    )
}

/// The certificates of an admission, the node's own one first.
#[must_use]
pub fn chain_pem(admission: &Admission) -> String {
    format!("{}\n{}", admission.certificate_pem.trim_end(), admission.ca_pem)
}

#[derive(Default)]
struct Waits(usize);

impl Waits {
    fn next(&mut self) -> Duration {
        // Five tries at each step, so that a machine armed with a ticket is quick and a waiting one is quiet.
        let step = (self.0 / 5).min(WAITS.len() - 1);
        self.0 += 1;
        WAITS.get(step).copied().unwrap_or(Duration::from_secs(5))
    }
}
