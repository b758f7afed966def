//! Proposals as the data of log entries: a version byte, then JSON.

use meadow_model::{Problem, ProblemCode};
use meadow_state::command::Proposal;

/// Largest proposal that is taken, in bytes of its JSON form.
pub const MAX_PROPOSAL_BYTES: usize = 256 * 1024;
const VERSION: u8 = 1;

/// Why the data of an entry is no proposal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("proposal version {0}")]
    Newer(u8),
    #[error("it is no proposal: {0}")]
    Malformed(serde_json::Error),
}

pub(crate) fn encode(proposal: &Proposal) -> Result<Vec<u8>, Problem> {
    let mut data = vec![VERSION];
    serde_json::to_writer(&mut data, proposal)
        .map_err(|e| Problem::new(ProblemCode::Internal, format!("the proposal cannot be written: {e}")))?;
    if data.len() > MAX_PROPOSAL_BYTES {
        let detail = format!("the change has {} bytes, and at most {MAX_PROPOSAL_BYTES} are taken", data.len());
        return Err(Problem::new(ProblemCode::TooLarge, detail));
    }
    Ok(data)
}

pub(crate) fn decode(data: &[u8]) -> Result<Proposal, DecodeError> {
    match data.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(DecodeError::Malformed),
        version => Err(DecodeError::Newer(version.map_or(0, |(version, _)| *version))),
    }
}
