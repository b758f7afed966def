//! The node's state, from the record beside it to the mounted file system.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Boot, Setback};
use crate::disks::{Layout, Partition, serial};
use crate::dropbear::{PORT, Purpose};
use crate::mode::Mode;
use crate::network::FixedNetwork;
use crate::policy::{BootConfig, Cluster};
use crate::root::LostState;
use crate::state::{self, Found, Probe, UploadTurn};
use crate::system::RUN_DIR;

/// What dm-crypt and the file system need by name.
const MODULES: [&str; 5] = ["dm_crypt", "xts", "af_alg", "algif_skcipher", "ext4"];

/// For somebody who has a backup of a header of which no copy is whole. A machine without anybody comes back all the same,
/// and switched off and on again it waits once more.
const LAST_CHANCE: Duration = Duration::from_secs(60);

/// A mounted state.
#[derive(Clone, Debug)]
pub(super) struct OwnState {
    /// Serial number of its disk; empty where the disk has none.
    pub(super) serial: String,
}

impl Boot {
    /// Waits until somebody opened the state of this disk, and mounts it. Goes on at once where there is none.
    pub(super) fn open_state(&mut self, layout: &Layout) -> Result<(), Setback> {
        let (preboot, volume) = match (&layout.preboot, &layout.state) {
            _ if self.state.is_some() || self.lost.is_some() => return Ok(()),
            (Some(preboot), volume) => (preboot.path(), volume.as_ref().map(Partition::path)),
            // A stick.
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                self.log.say(&format!(
                    "{} has no meadow-preboot, so it is unknown whose state lies there; this machine goes on without a state, as a new one: install it again",
                    layout.disk
                ));
                return Ok(());
            }
        };
        if let Some(hardware) = &self.hardware {
            // What is missing shows when the volume is opened, with the kernel's own words.
            MODULES.iter().for_each(|name| self.complain(hardware.loader.load(name)));
        }
        if state::opened().is_none() {
            let mut found = match state::probe(&preboot, volume.as_deref(), &self.children)? {
                Probe::State(found) => found,
                Probe::None { why } => {
                    self.log.say(&format!("{why}; this machine goes on without a state, as a new one"));
                    return Ok(());
                }
            };
            found.warnings.iter().for_each(|warning| self.log.say(warning));
            self.use_network_of(&found);
            self.admit(&found);
            if let Some(why) = &found.lost {
                self.announce_loss(&found, why);
                thread::sleep(if volume.is_some() { LAST_CHANCE } else { Duration::ZERO });
                // A backup that is being sent comes to its end; none begins any more.
                let turn = UploadTurn::take(Path::new(RUN_DIR))?;
                match state::probe(&preboot, volume.as_deref(), &self.children)? {
                    Probe::State(again) if again.lost.is_none() => found = again,
                    _ => {
                        self.complain(turn.forget_state());
                        self.go_on_without(found);
                        return Ok(());
                    }
                }
            }
            self.let_tpm_try();
            let opened = match state::opened() {
                Some(opened) => opened,
                None => {
                    self.announce(&found);
                    state::ask(self.log.terminals(), &self.children, &self.log)?
                }
            };
            self.log.milestone("unlocked", &format!("{} slot {} by {}", opened.kind, opened.slot, opened.place));
        }
        state::mount(&self.children, &self.log)?;
        self.log.milestone("state mounted", "");
        self.state = Some(OwnState { serial: serial(&layout.disk).unwrap_or_default() });
        Ok(())
    }

    fn announce_loss(&self, found: &Found, why: &str) {
        let (node, cluster) = (&found.node, &found.cluster);
        self.log.say(&format!("the state of {node} (cluster {cluster}) is lost: {why}"));
        self.log.waiting(&format!(
            "{} s for a backup of the header over SSH; then this machine goes on as a new one, and tells that it was {node}",
            LAST_CHANCE.as_secs()
        ));
    }

    /// The disk of this node's state was wiped, or exchanged for a new one with its number.
    pub(super) fn go_on_with_an_empty_disk(&mut self, serial: &str, config: &BootConfig) {
        let why = format!("no state is on the disk with the serial number {serial} any more");
        self.log.say(&format!("{why}; this machine goes on without one, as a new one: install it again"));
        if let Some(node) = config.node.clone()
            && self.lost.is_none()
        {
            self.log.milestone("state lost", &node);
            let Cluster { name: cluster, ca_fingerprint } = config.cluster.clone();
            self.lost = Some(LostState { node, cluster, ca_fingerprint, why });
        }
    }

    /// As a new machine: what it was is told to whoever lets it in.
    fn go_on_without(&mut self, found: Found) {
        self.log.milestone("state lost", &found.node);
        let Found { node, cluster, ca_fingerprint, lost, .. } = found;
        self.lost = Some(LostState { node, cluster, ca_fingerprint, why: lost.unwrap_or_default() });
    }

    fn use_network_of(&self, found: &Found) {
        let mut fixed = Vec::new();
        for network in &found.network {
            match FixedNetwork::parse(network) {
                Ok(network) => fixed.push(network),
                Err(why) => self.log.say(&format!("an address in the node's record is left out: {why}")),
            }
        }
        // A netbooted machine has just proved that DHCP works, and needs its server.
        if !fixed.is_empty() && matches!(self.mode, Mode::Disk { .. }) {
            self.network.fix(fixed);
        }
    }

    /// SSH for the node's admins, and for nobody else from here on.
    fn admit(&mut self, found: &Found) {
        let purpose = Purpose::Unlock { own_host_key: found.own_host_key };
        let allowed = self.dropbear.allow(&found.authorized_keys, purpose, &self.children, &self.log);
        self.complain(allowed.map_err(|error| error.context("SSH will not be there; the consoles ask too")));
    }

    /// Before anybody is asked; where it fails a person is told why.
    fn let_tpm_try(&self) {
        match state::try_tpm(&self.children) {
            Ok(tried) => tried.why.iter().for_each(|why| {
                self.log.say(&format!("the TPM does not open the state: {why}"));
            }),
            Err(error) => self.log.say(&format!("the TPM cannot be tried: {error:#}")),
        }
    }

    fn announce(&self, found: &Found) {
        let key = if found.own_host_key { found.host_key_fingerprint.as_str() } else { "new host key, see above" };
        let addresses = self.network.addresses().join(" ");
        self.log.milestone("unlock waiting", format!("{} {key} {addresses}", found.node).trim_end());
        self.log.waiting(&ways_in(found));
        // A cable that comes later brings the address later.
        let (network, log) = (Arc::clone(&self.network), Arc::clone(&self.log));
        let tell = move || {
            let say = |text: &str| {
                if state::opened().is_none() {
                    log.say(text)
                }
            };
            let address = network.wait_for_address(|why| {
                say(&format!("no network so far, so the passphrase can only be typed here: {why}"));
            });
            say(&format!("unlock over the network: ssh -p {PORT} root@{address}"));
        };
        if !found.authorized_keys.is_empty() {
            // Without it the address is still in the network's own line.
            let _ = thread::Builder::new().name("unlock-address".to_owned()).spawn(tell);
        }
    }
}

/// What is waited for, and how it gets here: over SSH only where somebody's key lies in the record.
fn ways_in(found: &Found) -> String {
    let Found { node, cluster, authorized_keys, .. } = found;
    let over_ssh = match authorized_keys.as_slice() {
        [] => "; its cluster has no admin's SSH key, so not over SSH".to_owned(),
        _ => format!(", or `meadow unlock {node}`"),
    };
    format!("for the passphrase or recovery key of {node} (cluster {cluster}): type it here{over_ssh}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlock_over_ssh_is_named_only_where_somebody_may_come_in() {
        let record = r#"{"node":"node-1","cluster":"home","authorized_keys":["ssh-ed25519 AAAA admin"],"network":[],
            "own_host_key":true,"host_key_fingerprint":"SHA256:x","warnings":[]}"#;
        let mut found: Found = serde_json::from_str(record).expect("a state");
        assert!(ways_in(&found).ends_with("type it here, or `meadow unlock node-1`"));
        found.authorized_keys.clear();
        assert!(!ways_in(&found).contains("meadow unlock") && ways_in(&found).contains("not over SSH"));
    }
}
