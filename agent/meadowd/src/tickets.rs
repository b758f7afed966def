//! The texts of boot tickets that were not used yet: the replicated state has only their digests, and the boot server
//! must hand them out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use meadow_controllers::stored::{self, StoredError};
use meadow_model::{MacAddress, Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// Tickets by MAC address, kept in a 0600 file so that a restart between arming and booting loses none.
pub(crate) struct Tickets {
    path: PathBuf,
    by_mac: Mutex<BTreeMap<MacAddress, Entry>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    ticket: Secret<String>,
    expires: Timestamp,
}

impl Tickets {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StoredError> {
        let by_mac = stored::load(&path)?.unwrap_or_default();
        Ok(Self { path, by_mac: Mutex::new(by_mac) })
    }

    /// Keeps a ticket until it expires; an older one of the same machine goes.
    pub(crate) fn keep(
        &self,
        mac: MacAddress,
        ticket: Secret<String>,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoredError> {
        let mut by_mac = self.by_mac.lock().unwrap_or_else(PoisonError::into_inner);
        by_mac.retain(|_, entry| entry.expires > now);
        by_mac.insert(mac, Entry { ticket, expires });
        stored::save(&self.path, &*by_mac)
    }

    /// The ticket of a machine, where it has one that is still valid.
    pub(crate) fn of(&self, mac: MacAddress, now: Timestamp) -> Option<Secret<String>> {
        let by_mac = self.by_mac.lock().unwrap_or_else(PoisonError::into_inner);
        by_mac.get(&mac).filter(|entry| entry.expires > now).map(|entry| entry.ticket.clone())
    }
}
