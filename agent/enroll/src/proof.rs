//! Proofs that the other end knows a token, bound to both keys and both nonces.

use aws_lc_rs::{constant_time, hmac};
use meadow_model::Fingerprint;

/// What a proof is about: changes in any of it make the proof worthless, so it cannot be relayed or replayed.
pub(crate) struct Transcript<'a> {
    pub(crate) ca: &'a Fingerprint,
    pub(crate) machine: &'a Fingerprint,
    /// Commitment in the cluster's proof, the nonce itself in the machine's.
    pub(crate) machine_part: &'a [u8; 32],
    pub(crate) cluster_nonce: &'a [u8; 32],
}

/// Who proves.
#[derive(Clone, Copy)]
pub(crate) enum Prover {
    Cluster,
    Machine,
}

/// HMAC-SHA256 over the parts, each preceded by its length so that no two lists of parts look alike.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

pub(crate) fn prove(key: &[u8; 32], prover: Prover, transcript: &Transcript<'_>) -> [u8; 32] {
    let label: &[u8] = match prover {
        Prover::Cluster => b"meadow enrolment cluster 1",
        Prover::Machine => b"meadow enrolment machine 1",
    };
    let Transcript { ca, machine, machine_part, cluster_nonce } = transcript;
    mac(key, &[label, &ca.0, &machine.0, *machine_part, *cluster_nonce])
}

pub(crate) fn verify(key: &[u8; 32], prover: Prover, transcript: &Transcript<'_>, proof: &[u8; 32]) -> bool {
    constant_time::verify_slices_are_equal(&prove(key, prover, transcript), proof).is_ok()
}
