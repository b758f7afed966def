//! The cluster's side of the protocol.

use std::collections::BTreeMap;

use meadow_model::code::{VerificationCode, commitment};
use meadow_model::enrolment::{Bytes32, Claim, Hello};
use meadow_model::{Fingerprint, Name, Secret};

use crate::proof::{Prover, Transcript, prove, verify};

/// How many machines may be between hello and claim. A stranger can open connections as fast as the network lets him,
/// so the oldest hello makes place for the newest; its machine says hello again.
const MAX_HELLOS: usize = 4096;

/// Machines that said hello, in memory only.
#[derive(Debug)]
pub struct Hellos {
    ca: Fingerprint,
    by_machine: BTreeMap<Fingerprint, Session>,
    next: u64,
}

#[derive(Debug)]
struct Session {
    order: u64,
    commitment: [u8; 32],
    nonce: [u8; 32],
    token: Option<(Name, Secret<[u8; 32]>)>,
}

/// A claim whose cryptography holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// What the machine's console shows.
    pub code: VerificationCode,
    /// The token that the machine has proved to know.
    pub token: Option<Name>,
}

/// Why a claim is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// There is no hello of this key: the agent was restarted, or too many came since.
    #[error("no hello of this key is known; say hello again")]
    NoHello,
    /// The nonce is not the one that was committed to.
    #[error("the nonce is not the one that the machine committed to; say hello again")]
    BrokenCommitment,
    /// The proof that the machine knows its token is missing or wrong.
    #[error("the machine does not know the secret of the token that it named")]
    WrongProof,
}

impl Hellos {
    /// For the cluster with this CA.
    #[must_use]
    pub fn new(ca: Fingerprint) -> Self {
        Self { ca, by_machine: BTreeMap::new(), next: 0 }
    }

    /// Notes a hello and gives the proof to answer with. `nonce` is fresh randomness; `token` is the token that the
    /// hello names, where it is valid.
    pub fn hello(
        &mut self,
        machine: Fingerprint,
        hello: &Hello,
        nonce: [u8; 32],
        token: Option<(Name, Secret<[u8; 32]>)>,
    ) -> Option<Bytes32> {
        let proof = token.as_ref().map(|(_, key)| {
            let transcript = Transcript {
                ca: &self.ca,
                machine: &machine,
                machine_part: &hello.commitment.0,
                cluster_nonce: &nonce,
            };
            Bytes32(prove(key.expose(), Prover::Cluster, &transcript))
        });
        if self.by_machine.len() >= MAX_HELLOS && !self.by_machine.contains_key(&machine) {
            let oldest = self.by_machine.iter().min_by_key(|(_, session)| session.order).map(|(machine, _)| *machine);
            oldest.and_then(|machine| self.by_machine.remove(&machine));
        }
        self.next += 1;
        let session = Session { order: self.next, commitment: hello.commitment.0, nonce, token };
        self.by_machine.insert(machine, session);
        proof
    }

    /// Checks a claim against the hello of the same key.
    ///
    /// # Errors
    /// [`EnrolError`]; nothing is forgotten, so that a correct claim can still follow.
    pub fn claim(&self, machine: &Fingerprint, claim: &Claim) -> Result<Checked, EnrolError> {
        let session = self.by_machine.get(machine).ok_or(EnrolError::NoHello)?;
        if commitment(&claim.nonce.0) != session.commitment {
            return Err(EnrolError::BrokenCommitment);
        }
        let token = match &session.token {
            None => None,
            Some((id, key)) => {
                let transcript =
                    Transcript { ca: &self.ca, machine, machine_part: &claim.nonce.0, cluster_nonce: &session.nonce };
                let proof = claim.proof.as_ref().ok_or(EnrolError::WrongProof)?;
                if !verify(key.expose(), Prover::Machine, &transcript, &proof.0) {
                    return Err(EnrolError::WrongProof);
                }
                Some(id.clone())
            }
        };
        let code = VerificationCode::compute(&self.ca, machine, &claim.nonce.0, &session.nonce);
        Ok(Checked { code, token })
    }
}
