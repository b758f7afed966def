//! The state as bytes: JSON with the version of its schema.

use serde::{Deserialize, Serialize};

use crate::State;

/// Version of the form that [`State::to_snapshot`] writes. Older ones are read as long as a migration exists.
pub const SCHEMA: u32 = 1;

/// Why bytes are no snapshot that this program can read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not JSON, or not of the form that its version promises.
    #[error("the snapshot of the state cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It was written by a newer Meadow.
    #[error(
        "the snapshot of the state has schema {found}, and this Meadow reads at most {SCHEMA}; install the newer Meadow that wrote it"
    )]
    Newer {
        /// The version found.
        found: u32,
    },
    /// No version that ever was.
    #[error("the snapshot of the state has schema {found}, which never existed; restore it from a backup")]
    Unknown {
        /// The version found.
        found: u32,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct Header {
    schema: u32,
}

#[derive(Deserialize)]
struct Read {
    state: State,
}

impl State {
    /// The whole state as bytes. It holds the keys of join tokens: keep it as secret as those.
    ///
    /// # Errors
    /// None that a state made by [`State::apply`] can meet; the serializer's error otherwise.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(serde_json::to_vec(&Written { schema: SCHEMA, state: self })?)
    }

    /// Reads what [`State::to_snapshot`] wrote.
    ///
    /// # Errors
    /// [`SnapshotError`] says what is wrong with the bytes and what to do.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        // The version first: a newer form must be told from a damaged one.
        match serde_json::from_slice::<Header>(bytes)?.schema {
            SCHEMA => Ok(serde_json::from_slice::<Read>(bytes)?.state),
            found if found > SCHEMA => Err(SnapshotError::Newer { found }),
            found => Err(SnapshotError::Unknown { found }),
        }
    }
}
