//! The admins' SSH keys.

use meadow_model::ssh_key::{self, SshKey};
use meadow_model::{Kind, Problem};

use super::transaction::{Transaction, bad_request, check_revision, conflict};
use crate::Outcome;
use crate::query::known_part;

impl Transaction {
    /// Who may unlock a node over SSH from now on; each node brings the record on its disk up to date once it hears of it.
    pub(super) fn set_ssh_keys(&mut self, keys: &[String], if_match: Option<u64>) -> Result<Outcome, Problem> {
        let Some(mut cluster) = self.state.cluster.clone() else { return Err(conflict("there is no cluster yet")) };
        check_revision(&cluster.metadata, if_match)?;
        let before = &cluster.spec.authorized_keys;
        let keys = ssh_key::accept(before, keys).map_err(|why| bad_request(why.to_string()))?;
        if keys == *before {
            return Ok(Outcome::Done);
        }
        let message = changes(before, &keys);
        let name = cluster.metadata.name.clone();
        cluster.spec.authorized_keys = keys;
        cluster.metadata.revision = self.metadata(&name).revision;
        self.state.cluster = Some(cluster);
        self.touch(Kind::Cluster, &name);
        self.info("ssh-keys-changed", Kind::Cluster, &name, message);
        Ok(Outcome::Done)
    }
}

/// What differs between two lists, in words.
fn changes(before: &[String], after: &[String]) -> String {
    let missing_in = |list: &[String], other: &[String]| -> Vec<String> {
        list.iter().filter(|key| !other.contains(key)).map(|key| named(key)).collect()
    };
    let (added, removed) = (missing_in(after, before), missing_in(before, after));
    let mut parts = Vec::new();
    for (what, keys) in [("added", added), ("removed", removed)] {
        if !keys.is_empty() {
            parts.push(format!("{what} {}", keys.join(", ")));
        }
    }
    if parts.is_empty() {
        parts.push("the same in another order".to_owned());
    }
    format!("admins' SSH keys: {}", parts.join("; "))
}

fn named(key: &str) -> String {
    match key.parse::<SshKey>() {
        Ok(key) => known_part(format!("{} {}", key.fingerprint(), key.comment()).trim_end()),
        Err(_) => "one that Dropbear does not take".to_owned(),
    }
}
