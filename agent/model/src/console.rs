//! What the console of a machine shows: `GET /v1/self` on the agent's local socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::code::VerificationCode;
use crate::install::{BootSlot, InstalledDisk, KeyKind, KeySlot};
use crate::node::NodeDisks;
use crate::{Fingerprint, Name, Timestamp};

/// The agent's view of the machine it runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SelfView {
    /// The node's or the machine's name, once the cluster gave one.
    pub name: Option<Name>,
    /// Where it stands.
    pub state: SelfState,
    /// What it waits for, or what is wrong, with the next step.
    pub detail: String,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// The cluster CA's fingerprint.
    pub ca_fingerprint: Option<Fingerprint>,
    /// This machine's identity.
    pub fingerprint: Option<Fingerprint>,
    /// The code to compare before approving.
    pub code: Option<VerificationCode>,
    /// Addresses with their interfaces.
    pub addresses: Vec<InterfaceAddress>,
    /// Where the API of this or the seed node is.
    pub api: Vec<String>,
    /// What happened last, newest last.
    pub events: Vec<SelfEvent>,
    /// Version of the agent.
    pub version: String,
    /// Whether it votes in Raft, and how many do; `None` where it does not.
    #[serde(default)]
    pub voters: Option<u32>,
    /// Its disks, and its own one; `None` until it has looked, or while it is no node.
    #[serde(default)]
    pub disks: Option<NodeDisks>,
    /// What it works on for the cluster.
    #[serde(default)]
    pub work: Vec<SelfWork>,
    /// The nodes that wait for their passphrase, as the voters see it.
    #[serde(default)]
    pub waits_for_unlock: Vec<Name>,
    /// Whether it may be switched off.
    #[serde(default)]
    pub power_off: PowerOff,
}

/// A piece of work under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SelfWork {
    /// The operation that it belongs to; a name such as `reset-here` for what a person at this very computer ordered, of
    /// which the cluster has no operation.
    pub operation: Name,
    /// What it does now.
    pub step: String,
    /// How far that step is.
    pub percent: Option<u8>,
    /// Whether it stands still until the computer is restarted.
    #[serde(default)]
    pub wants_restart: bool,
}

/// Whether a computer may be switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PowerOff {
    /// Whether nothing is lost and nobody has to wait for it.
    pub safe: bool,
    /// Why not, each with the next step.
    pub because: Vec<String>,
    /// What happens at the next start.
    pub then: Vec<String>,
}

impl SelfView {
    /// Decides [`SelfView::power_off`] from the other fields.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let mut because = Vec::new();
        // What waits for a restart is not cut off by one.
        let under_way = self.work.iter().filter(|work| !work.wants_restart);
        because.extend(
            under_way.map(|work| format!("it works on {} ({}); wait until that has ended", work.operation, work.step)),
        );
        let own = self.disks.as_ref().and_then(|disks| disks.installed.as_ref());
        if let Some((running, blessed)) = own.and_then(on_trial) {
            because.push(format!(
                "it tries the image in slot {}, and would start the one in slot {} again; wait until it is kept",
                running.letter(),
                blessed.letter()
            ));
        }
        match self.voters {
            // What one votes for alone, nobody decides without it.
            Some(1) => because.push(
                "it is the only voter: nothing of the cluster can be changed while it is off; what runs goes on"
                    .to_owned(),
            ),
            Some(2) => because.push("two voters need each other: nothing can be changed while it is off".to_owned()),
            _ => {}
        }
        let then = self.after_start();
        self.power_off = PowerOff { safe: because.is_empty(), because, then };
        self
    }

    /// What a person has to do once it is started again.
    fn after_start(&self) -> Vec<String> {
        let (Some(name), Some(disks)) = (&self.name, &self.disks) else { return Vec::new() };
        let opens_itself = |key: &KeySlot| key.kind == KeyKind::Tpm2;
        match &disks.installed {
            Some(own) if own.keys.iter().any(opens_itself) => {
                vec!["its TPM opens its state, or asks for its PIN".to_owned()]
            }
            Some(_) => vec![format!("it waits for its passphrase: meadow unlock {name}")],
            None if !disks.durable => vec![format!(
                "it keeps nothing: it comes back as a new machine (meadow machine approve NAME --replaces {name})"
            )],
            None => Vec::new(),
        }
    }
}

/// The slot that runs for a trial, and the one that is kept; `None` where the blessed slot runs, or a stand-in for it: such
/// a slot stays, and nobody waits until it is kept.
fn on_trial(own: &InstalledDisk) -> Option<(BootSlot, BootSlot)> {
    let (running, blessed) = (own.running?, own.blessed?);
    (running != blessed && own.went_back_from != Some(blessed)).then_some((running, blessed))
}

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SelfState {
    /// The agent starts: inventory, measures.
    Starting,
    /// It knows no cluster.
    Unconfigured,
    /// It asks the cluster to be let in.
    Enrolling,
    /// It waits for a person to approve it.
    Pending,
    /// It was turned away.
    Rejected,
    /// It is a node and its reports arrive.
    Ready,
    /// It is a node and something is missing.
    Degraded,
}

/// An address and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InterfaceAddress {
    /// Interface name.
    pub interface: String,
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
}

/// A line of the console's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SelfEvent {
    /// When.
    pub time: Timestamp,
    /// What.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(change: serde_json::Value) -> SelfView {
        let mut view = serde_json::json!({
            "name": "node-1", "state": "ready", "detail": "", "cluster": "home", "ca_fingerprint": null,
            "fingerprint": null, "code": null, "addresses": [], "api": [], "events": [], "version": "1",
        });
        view.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        serde_json::from_value::<SelfView>(view).expect("a view").judged()
    }

    fn installed(blessed: &str, keys: serde_json::Value) -> serde_json::Value {
        serde_json::json!({"disks": {"disks": [], "durable": true, "installed": {
            "serial": "S1", "disk": "sda", "mode": "system", "luks_uuid": "", "host_key": "SHA256:x",
            "host_key_sealed": false, "keys": keys, "running": "b", "blessed": blessed,
        }}})
    }

    #[test]
    fn a_node_that_nobody_needs_now_may_be_switched_off() {
        let plain = view(serde_json::json!({}));
        assert_eq!(plain.power_off, PowerOff { safe: true, ..PowerOff::default() });
        let ram = view(serde_json::json!({"disks": {"disks": [], "durable": false, "installed": null}}));
        assert!(ram.power_off.safe && ram.power_off.then[0].contains("--replaces node-1"));
        let disk = view(installed("b", serde_json::json!([])));
        assert!(disk.power_off.safe && disk.power_off.then[0].ends_with("meadow unlock node-1"));
        let key = serde_json::json!([{"slot": 2, "kind": "tpm2", "label": "", "created": null}]);
        assert!(view(installed("b", key)).power_off.then[0].contains("TPM"));
        assert!(view(serde_json::json!({"voters": 3})).power_off.safe);
    }

    #[test]
    fn a_stand_in_and_a_wish_for_a_restart_do_not_speak_against_it() {
        let mut stand_in = installed("a", serde_json::json!([]));
        stand_in["disks"]["installed"]["went_back_from"] = "a".into();
        let waits = serde_json::json!({"work": [{"operation": "op-1", "step": "waits for a start over the network",
            "percent": null, "wants_restart": true}]});
        for change in [stand_in, waits] {
            assert_eq!(view(change.clone()).power_off.because, [""; 0], "{change}");
        }
    }

    #[test]
    fn work_a_trial_and_a_lone_voter_speak_against_it() {
        let work = serde_json::json!({"work": [{"operation": "op-1", "step": "writes the system", "percent": 3}]});
        // Another image went back before; the one that is tried now is not that one's stand-in.
        let mut again = installed("a", serde_json::json!([]));
        again["disks"]["installed"]["went_back_from"] = "b".into();
        for (change, why) in [
            (work, "op-1 (writes the system)"),
            (again, "tries the image in slot b"),
            (installed("a", serde_json::json!([])), "tries the image in slot b"),
            (serde_json::json!({"voters": 1}), "only voter"),
            (serde_json::json!({"voters": 2}), "need each other"),
        ] {
            let power = view(change).power_off;
            assert!(!power.safe && power.because[0].contains(why), "{power:?}");
        }
    }
}
