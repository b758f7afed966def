//! The texts of boot tickets that were not used yet: the replicated state has only their digests, and the boot server
//! must hand them out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use meadow_controllers::stored::{self, StoredError};
use meadow_enroll::Ticket;
use meadow_model::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// Tickets kept at most; the one that ends first goes. Arming that many machines at once is no home cluster.
const MAX_TICKETS: usize = 1000;

/// Tickets by their digest, kept in a 0600 file so that a restart between arming and booting loses none.
///
/// Which of them counts says the state alone: a ticket whose proposal was refused, or that was replaced, is never asked
/// for and goes when it expires.
pub(crate) struct Tickets {
    path: PathBuf,
    by_hash: Mutex<BTreeMap<[u8; 32], Entry>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    ticket: Secret<String>,
    expires: Timestamp,
}

impl Tickets {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StoredError> {
        let entries: Vec<Entry> = stored::load(&path)?.unwrap_or_default();
        let by_hash = entries.into_iter().map(|entry| (Ticket::hash(&entry.ticket), entry)).collect();
        Ok(Self { path, by_hash: Mutex::new(by_hash) })
    }

    /// Keeps a ticket until it expires.
    pub(crate) fn keep(&self, ticket: &Ticket, expires: Timestamp, now: Timestamp) -> Result<(), StoredError> {
        let mut by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        by_hash.retain(|_, entry| entry.expires > now);
        while by_hash.len() >= MAX_TICKETS {
            let first = by_hash.iter().min_by_key(|(_, entry)| entry.expires).map(|(hash, _)| *hash);
            first.and_then(|hash| by_hash.remove(&hash));
        }
        by_hash.insert(Ticket::hash(ticket.text()), Entry { ticket: ticket.text().clone(), expires });
        stored::save(&self.path, &by_hash.values().collect::<Vec<_>>())
    }

    /// The ticket with this digest, where it is still valid.
    pub(crate) fn with_hash(&self, hash: &[u8; 32], now: Timestamp) -> Option<Secret<String>> {
        let by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        by_hash.get(hash).filter(|entry| entry.expires > now).map(|entry| entry.ticket.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &std::path::Path) -> Tickets {
        Tickets::open(dir.join("tickets.json")).expect("opened")
    }

    #[test]
    fn a_ticket_survives_a_restart_and_ends_when_it_expires() {
        let dir = tempfile::tempdir().expect("folder");
        let now = Timestamp::from_millis(1_800_000_000_000);
        let ticket = Ticket::from_random([1; 20]);
        let hash = Ticket::hash(ticket.text());
        open(dir.path()).keep(&ticket, now.plus_seconds(60), now).expect("kept");
        let again = open(dir.path());
        assert_eq!(again.with_hash(&hash, now).as_ref(), Some(ticket.text()));
        assert_eq!(again.with_hash(&hash, now.plus_seconds(60)), None);
    }

    #[test]
    fn a_newer_ticket_does_not_displace_the_one_that_the_state_has() {
        let dir = tempfile::tempdir().expect("folder");
        let now = Timestamp::from_millis(1_800_000_000_000);
        let (armed, refused) = (Ticket::from_random([1; 20]), Ticket::from_random([2; 20]));
        let tickets = open(dir.path());
        for ticket in [&armed, &refused] {
            tickets.keep(ticket, now.plus_seconds(60), now).expect("kept");
        }
        assert_eq!(tickets.with_hash(&Ticket::hash(armed.text()), now).as_ref(), Some(armed.text()));
    }
}
