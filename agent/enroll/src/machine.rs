//! The machine's side of the protocol.

use meadow_model::code::{VerificationCode, commitment};
use meadow_model::enrolment::{Bytes32, Hello, HelloReply};
use meadow_model::{Fingerprint, Name, Secret};

use crate::JoinToken;
use crate::proof::{Prover, Transcript, prove, verify};

/// The machine before the cluster has answered.
#[derive(Debug)]
pub struct Greeting {
    ca: Fingerprint,
    machine: Fingerprint,
    nonce: [u8; 32],
    token: Option<(Name, Secret<[u8; 32]>)>,
}

/// The machine after the cluster has answered: what it shows, and what goes into its claim.
#[derive(Debug, PartialEq, Eq)]
pub struct Greeted {
    /// What the console shows, for a person to compare.
    pub code: VerificationCode,
    /// The nonce to reveal.
    pub nonce: Bytes32,
    /// Proof that the machine knows its token.
    pub proof: Option<Bytes32>,
}

/// The other end does not know the token that the machine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the other end does not know the join token; it is not the cluster that made it, or the token's file is damaged; look at the address, and make a new token with `meadow token create`"
)]
pub struct Suspicion;

impl Greeting {
    /// Begins an enrolment with a fresh random `nonce`; never use one twice.
    #[must_use]
    pub fn new(ca: Fingerprint, machine: Fingerprint, nonce: [u8; 32], token: Option<&JoinToken>) -> Self {
        Self { ca, machine, nonce, token: token.map(|token| (token.id.clone(), token.key())) }
    }

    /// The message to send.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            commitment: Bytes32(commitment(&self.nonce)),
            token_id: self.token.as_ref().map(|(id, _)| id.to_string()),
        }
    }

    /// Takes the cluster's answer.
    ///
    /// # Errors
    /// [`Suspicion`] where the machine holds a token and the other end cannot prove that it knows it.
    pub fn answered(&self, reply: &HelloReply) -> Result<Greeted, Suspicion> {
        let proof = match &self.token {
            None => None,
            Some((_, key)) => {
                let committed = commitment(&self.nonce);
                let theirs = reply.proof.as_ref().ok_or(Suspicion)?;
                if !verify(key.expose(), Prover::Cluster, &self.transcript(&committed, &reply.nonce), &theirs.0) {
                    return Err(Suspicion);
                }
                Some(Bytes32(prove(key.expose(), Prover::Machine, &self.transcript(&self.nonce, &reply.nonce))))
            }
        };
        let code = VerificationCode::compute(&self.ca, &self.machine, &self.nonce, &reply.nonce.0);
        Ok(Greeted { code, nonce: Bytes32(self.nonce), proof })
    }

    fn transcript<'a>(&'a self, machine_part: &'a [u8; 32], cluster_nonce: &'a Bytes32) -> Transcript<'a> {
        Transcript { ca: &self.ca, machine: &self.machine, machine_part, cluster_nonce: &cluster_nonce.0 }
    }
}
