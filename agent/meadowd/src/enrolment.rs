//! The cluster's side of enrolment: from messages to proposals to the replicated state.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use meadow_enroll::{EnrolError, Hellos, Ticket};
use meadow_host::{Entropy, SystemEntropy};
use meadow_model::enrolment::{Admission, Bytes32, Claim, ClaimReply, Hello, HelloReply};
use meadow_model::fingerprint::PublicKey;
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Secret, Timestamp};
use meadow_pki::{Ca, PkiError, Role, check_identity_key};
use meadow_state::command::{ClaimRecord, Command, Credential, Proposal};
use meadow_state::{Outcome, Standing, State};

/// What enrolment keeps in memory: the nonces between a hello and its claim. A restart forgets them, and machines that
/// had not claimed yet say hello again. All else is known from the replicated state and the key of the TLS connection.
pub(crate) struct Enrolment {
    ca: Ca,
    hellos: Mutex<Hellos>,
}

impl Enrolment {
    pub(crate) fn new(ca: Ca) -> Self {
        let hellos = Mutex::new(Hellos::new(ca.fingerprint()));
        Self { ca, hellos }
    }

    /// Answers a hello; a token that is named must be one that lets a machine in now.
    pub(crate) fn hello(
        &self,
        state: &State,
        machine: Fingerprint,
        hello: &Hello,
        now: Timestamp,
    ) -> Result<HelloReply, Problem> {
        let cluster = state.cluster().ok_or_else(starting)?;
        let token = hello.token_id.as_deref().map(|id| usable_token(state, id, &machine, now)).transpose()?;
        let mut nonce = [0; 32];
        SystemEntropy.fill(&mut nonce).map_err(|e| Problem::new(ProblemCode::Internal, e.to_string()))?;
        let proof = self.hellos.lock().unwrap_or_else(PoisonError::into_inner).hello(machine, hello, nonce, token);
        Ok(HelloReply {
            nonce: Bytes32(nonce),
            cluster: cluster.metadata.name.clone(),
            ca_pem: self.ca.certificate_pem().to_owned(),
            proof,
        })
    }

    /// Checks a claim and makes the proposal of it.
    pub(crate) fn proposal(
        &self,
        key: &PublicKey,
        claim: Claim,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Proposal, Problem> {
        // Before anything is decided: a machine that was let in must get its certificate.
        check_identity_key(key).map_err(|e| key_problem(&e))?;
        let machine = key.fingerprint();
        let checked = self.hellos.lock().unwrap_or_else(PoisonError::into_inner).claim(&machine, &claim);
        let checked = checked.map_err(|e| claim_problem(&e))?;
        let credential = match (checked.token, &claim.ticket) {
            (Some(token), _) => Credential::Token(token),
            (None, Some(ticket)) => Credential::Ticket(Ticket::hash(ticket)),
            (None, None) => Credential::None,
        };
        let mac = boot_mac(&claim);
        let record = ClaimRecord {
            fingerprint: machine,
            code: checked.code,
            credential,
            address: from,
            wireguard: claim.wireguard,
            mac,
            hardware: claim.hardware,
            measures: claim.measures,
            ephemeral: claim.ephemeral,
            wanted_name: claim.wanted_name,
            lost: claim.boot.and_then(|boot| boot.lost),
        };
        let command = Command::Claim(Box::new(record));
        Ok(Proposal { at: now, actor: format!("machine {machine}"), idempotency_key: None, command })
    }

    /// The answer to a claim whose proposal ended like this.
    pub(crate) fn reply(
        &self,
        state: &State,
        key: &PublicKey,
        outcome: Result<Outcome, Problem>,
    ) -> Result<ClaimReply, Problem> {
        match outcome {
            Ok(Outcome::Claimed { machine, standing }) => self.answer(state, key, Ok((machine, standing))),
            Ok(other) => Err(Problem::new(ProblemCode::Internal, format!("a claim ended as {other:?}"))),
            Err(problem) => self.answer(state, key, Err(problem)),
        }
    }

    /// Where the claim of this key stands, for a machine that waits and for a node that has lost its mesh.
    pub(crate) fn standing(&self, state: &State, key: &PublicKey) -> Result<ClaimReply, Problem> {
        let unknown = || Problem::new(ProblemCode::NotFound, "this key has not claimed; say hello first");
        let standing = state.standing(&key.fingerprint()).and_then(|standing| standing.ok_or_else(unknown));
        self.answer(state, key, standing)
    }

    fn answer(
        &self,
        state: &State,
        key: &PublicKey,
        standing: Result<(Name, Standing), Problem>,
    ) -> Result<ClaimReply, Problem> {
        match standing {
            Ok((machine, Standing::Pending { reason })) => Ok(ClaimReply::Pending { machine, reason }),
            Ok((_, Standing::Approved { node })) => Ok(ClaimReply::Approved(Box::new(self.admit(state, key, &node)?))),
            Err(problem) if problem.code == ProblemCode::MachineRejected => {
                Ok(ClaimReply::Rejected { reason: problem.to_string() })
            }
            Err(problem) => Err(problem),
        }
    }

    fn admit(&self, state: &State, key: &PublicKey, node: &Name) -> Result<Admission, Problem> {
        // Another change may have come in between: the certificate must carry the name of the key's own node.
        let gone = || Problem::new(ProblemCode::NodeRevoked, format!("node {node} is gone"));
        let own = state.nodes().get(node).filter(|own| own.spec.fingerprint == key.fingerprint()).ok_or_else(gone)?;
        Ok(Admission {
            node_id: own.spec.id,
            certificate_pem: self.ca.sign(key, node, Role::Node).map_err(|e| key_problem(&e))?,
            ca_pem: self.ca.certificate_pem().to_owned(),
            mesh: state.mesh_view(node).ok_or_else(gone)?,
            release_key: state.cluster().map(|cluster| cluster.spec.release_key.clone()).unwrap_or_default(),
        })
    }
}

/// The address that the machine booted from, else that of its first card.
fn boot_mac(claim: &Claim) -> Option<MacAddress> {
    let booted = claim.boot.as_ref().and_then(|boot| boot.mac);
    booted.or_else(|| claim.hardware.nics.first().map(|nic| nic.mac))
}

/// A token's key, where the token lets this machine in now. One that is used up still serves those that used it.
fn usable_token(
    state: &State,
    id: &str,
    machine: &Fingerprint,
    now: Timestamp,
) -> Result<(Name, Secret<[u8; 32]>), Problem> {
    let unknown = || Problem::new(ProblemCode::InvalidToken, "no such token, or it was revoked");
    let id = Name::new(id).map_err(|_| unknown())?;
    let token = state.tokens().get(&id).filter(|token| !token.spec.revoked).ok_or_else(unknown)?;
    let is_node = state.node_by_fingerprint(machine).is_some();
    if !is_node && now >= token.spec.expires {
        return Err(Problem::new(ProblemCode::TokenExpired, format!("token {id} expired at {}", token.spec.expires)));
    }
    if !is_node && token.status.used >= token.spec.uses {
        return Err(Problem::new(ProblemCode::TokenUsed, format!("token {id} was for {} use(s)", token.spec.uses)));
    }
    let key = state.token_key(&id).ok_or_else(unknown)?;
    Ok((id, key.clone()))
}

fn claim_problem(error: &EnrolError) -> Problem {
    match error {
        EnrolError::NoHello | EnrolError::BrokenCommitment => Problem::new(ProblemCode::Conflict, error.to_string()),
        EnrolError::WrongProof => Problem::new(ProblemCode::InvalidToken, error.to_string()),
    }
}

fn key_problem(error: &PkiError) -> Problem {
    Problem::new(ProblemCode::BadRequest, format!("the key of the TLS connection: {error}"))
}

fn starting() -> Problem {
    Problem::new(ProblemCode::Unavailable, "the cluster is not made yet")
}

/// The address of a peer, as the state keeps it.
pub(crate) fn canonical(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}
