//! Boot tickets: one-shot secrets that a machine gets over PXE when an admin armed its next boot.

use data_encoding::BASE32_NOPAD;
use meadow_model::Secret;
use sha2::{Digest, Sha256};

/// A boot ticket. The cluster keeps only its digest in the replicated state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket(Secret<String>);

impl Ticket {
    /// Writes 20 random bytes as a ticket.
    #[must_use]
    pub fn from_random(bytes: [u8; 20]) -> Self {
        Self(Secret::new(BASE32_NOPAD.encode(&bytes)))
    }

    /// The ticket as it stands in the boot configuration.
    #[must_use]
    pub fn text(&self) -> &Secret<String> {
        &self.0
    }

    /// The digest that the replicated state keeps.
    #[must_use]
    pub fn hash(text: &Secret<String>) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"meadow boot ticket 1");
        hash.update(text.expose().as_bytes());
        hash.finalize().into()
    }
}
