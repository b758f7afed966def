//! The cluster's side of enrolment: from messages to proposals to the replicated state.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use meadow_enroll::{EnrolError, Hellos, Ticket};
use meadow_host::{Entropy, SystemEntropy};
use meadow_model::enrolment::{Admission, Bytes32, Claim, ClaimReply, Hello, HelloReply};
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Secret, Timestamp};
use meadow_pki::{Ca, PkiError, Role};
use meadow_state::command::{ClaimRecord, Command, Credential, Proposal};
use meadow_state::{Outcome, Standing, State};

/// Signing requests kept between a claim and its approval; the oldest goes first, its machine claims again.
const MAX_REQUESTS: usize = 4096;

/// What enrolment keeps in memory: nonces and signing requests. A restart forgets them, and machines begin again.
pub(crate) struct Enrolment {
    ca: Ca,
    hellos: Mutex<Hellos>,
    requests: Mutex<Requests>,
}

#[derive(Default)]
struct Requests {
    by_machine: BTreeMap<Fingerprint, (u64, String)>,
    next: u64,
}

impl Enrolment {
    pub(crate) fn new(ca: Ca) -> Self {
        let hellos = Mutex::new(Hellos::new(ca.fingerprint()));
        Self { ca, hellos, requests: Mutex::default() }
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
        machine: Fingerprint,
        claim: Claim,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Proposal, Problem> {
        let checked = self.hellos.lock().unwrap_or_else(PoisonError::into_inner).claim(&machine, &claim);
        let checked = checked.map_err(|e| claim_problem(&e))?;
        let credential = match (checked.token, &claim.ticket) {
            (Some(token), _) => Credential::Token(token),
            (None, Some(ticket)) => Credential::Ticket(Ticket::hash(ticket)),
            (None, None) => Credential::None,
        };
        let mac = boot_mac(&claim);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).keep(machine, claim.csr_pem);
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
        };
        let command = Command::Claim(Box::new(record));
        Ok(Proposal { at: now, actor: format!("machine {machine}"), idempotency_key: None, command })
    }

    /// The answer to a claim whose proposal had this outcome.
    pub(crate) fn reply(&self, state: &State, machine: Fingerprint, outcome: Outcome) -> Result<ClaimReply, Problem> {
        match outcome {
            Outcome::Claimed { machine: name, standing } => self.answer(state, machine, name, standing),
            other => Err(Problem::new(ProblemCode::Internal, format!("a claim ended as {other:?}"))),
        }
    }

    /// Where the claim of this key stands.
    pub(crate) fn standing(&self, state: &State, machine: Fingerprint) -> Result<ClaimReply, Problem> {
        match state.standing(&machine) {
            Ok(Some((name, standing))) => self.answer(state, machine, name, standing),
            Ok(None) => Err(Problem::new(ProblemCode::NotFound, "this key has not claimed; say hello first")),
            Err(problem) if problem.code == ProblemCode::MachineRejected => {
                Ok(ClaimReply::Rejected { reason: problem.to_string() })
            }
            Err(problem) => Err(problem),
        }
    }

    fn answer(
        &self,
        state: &State,
        machine: Fingerprint,
        name: Name,
        standing: Standing,
    ) -> Result<ClaimReply, Problem> {
        match standing {
            Standing::Pending { reason } => Ok(ClaimReply::Pending { machine: name, reason }),
            Standing::Approved { node } => Ok(ClaimReply::Approved(Box::new(self.admit(state, machine, &node)?))),
        }
    }

    fn admit(&self, state: &State, machine: Fingerprint, node: &Name) -> Result<Admission, Problem> {
        let unknown = || Problem::new(ProblemCode::NotFound, format!("node {node} is gone"));
        let request = self.requests.lock().unwrap_or_else(PoisonError::into_inner).of(&machine);
        let request = request.ok_or_else(|| claim_problem(&EnrolError::NoHello))?;
        let certificate_pem = self.ca.sign(&request, &machine, node, Role::Node).map_err(signing_problem)?;
        Ok(Admission {
            node_id: state.nodes().get(node).ok_or_else(unknown)?.spec.id,
            certificate_pem,
            ca_pem: self.ca.certificate_pem().to_owned(),
            mesh: state.mesh_view(node).ok_or_else(unknown)?,
        })
    }
}

impl Requests {
    fn keep(&mut self, machine: Fingerprint, request: String) {
        if self.by_machine.len() >= MAX_REQUESTS && !self.by_machine.contains_key(&machine) {
            let oldest = self.by_machine.iter().min_by_key(|(_, (order, _))| *order).map(|(machine, _)| *machine);
            oldest.and_then(|machine| self.by_machine.remove(&machine));
        }
        self.next += 1;
        self.by_machine.insert(machine, (self.next, request));
    }

    fn of(&self, machine: &Fingerprint) -> Option<String> {
        self.by_machine.get(machine).map(|(_, request)| request.clone())
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

fn signing_problem(error: PkiError) -> Problem {
    Problem::new(ProblemCode::BadRequest, format!("the signing request: {error}"))
}

fn starting() -> Problem {
    Problem::new(ProblemCode::Unavailable, "the cluster is not made yet")
}

/// The address of a peer, as the state keeps it.
pub(crate) fn canonical(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}
