//! What the server wants of this machine: `boot.json`, and what follows from it.

use std::time::Duration;

use serde::Deserialize;

use crate::backoff::Backoff;

/// No `boot.json` is longer.
pub const LIMIT: usize = 64 * 1024;
const VERSION: u32 = 1;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to do with the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Fetch the root and start it.
    Boot,
    /// Stay in the initramfs.
    Hold,
    /// The machine's own disk was to boot.
    Local,
}

/// The part of `boot.json` that the initramfs uses; the rest is handed to the root as it came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BootConfig {
    version: u32,
    /// What to do.
    pub action: Action,
    /// Who may look at the boot state over SSH.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// Serial number of the disk that holds this machine's state; without it no disk is touched.
    #[serde(default)]
    pub state_disk: Option<String>,
    /// The node whose state that is, as the server says.
    #[serde(default)]
    pub node: Option<String>,
    /// The server's cluster.
    #[serde(default)]
    pub cluster: Cluster,
}

/// A cluster, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Cluster {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its CA's key.
    #[serde(default)]
    pub ca_fingerprint: String,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on to the root.
    Boot,
    /// Ask again after the pause; the text says why.
    Wait {
        /// Short and stable: `hold`, `local`, `ignored` or `error`.
        stage: &'static str,
        /// For a person.
        why: String,
        /// How long to wait.
        pause: Duration,
    },
}

/// Turns answers into decisions, with growing pauses.
#[derive(Debug)]
pub struct Policy {
    backoff: Backoff,
    last: &'static str,
}

impl Default for Policy {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), last: "" }
    }
}

impl Policy {
    /// Decides on an answer: status and body, or why there was none.
    pub fn decide(&mut self, answer: Result<(u16, &[u8]), String>) -> (Decision, Option<BootConfig>) {
        let (stage, why, config) = match answer {
            Ok((200, body)) => match parse(body) {
                Ok(config) if config.action == Action::Boot => return (Decision::Boot, Some(config)),
                Ok(config) if config.action == Action::Hold => {
                    ("hold", "held here by the boot policy of this machine".to_owned(), Some(config))
                }
                Ok(config) => (
                    "local",
                    "this machine is to boot from its own disk: put the disk first in the firmware's boot order, or change its policy"
                        .to_owned(),
                    Some(config),
                ),
                Err(why) => ("error", why, None),
            },
            Ok((404, _)) => (
                "ignored",
                "the server ignores this machine: name its MAC address or open the boot window on the server".to_owned(),
                None,
            ),
            Ok((status, _)) => ("error", format!("the server answered with status {status}"), None),
            Err(why) => ("error", why, None),
        };
        if stage != self.last {
            self.backoff.reset();
            self.last = stage;
        }
        (Decision::Wait { stage, why, pause: self.backoff.pause() }, config)
    }
}

fn parse(body: &[u8]) -> Result<BootConfig, String> {
    let config: BootConfig =
        serde_json::from_slice(body).map_err(|error| format!("the server's boot.json cannot be read: {error}"))?;
    if config.version != VERSION {
        return Err(format!(
            "the server speaks version {} of boot.json and this initrd version {VERSION}: restart this machine to fetch the server's initrd",
            config.version
        ));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_damaged_answer_waits_and_never_panics(
            status in any::<u16>(),
            at in 0..48_usize,
            byte in any::<u8>(),
            cut in 0..48_usize,
        ) {
            let mut body = br#"{"version":1,"action":"hold","authorized_keys":[]}"#.to_vec();
            body[at] = byte;
            body.truncate(cut);
            let (decision, _) = Policy::default().decide(Ok((status, &body)));
            prop_assert_ne!(decision, Decision::Boot);
        }
    }

    fn wait(decision: &Decision) -> (&'static str, u64) {
        match decision {
            Decision::Wait { stage, pause, .. } => (stage, pause.as_secs()),
            Decision::Boot => panic!("does not wait"),
        }
    }

    #[test]
    fn table_of_answers() {
        for (answer, expected) in [
            (Ok((200, r#"{"version":1,"action":"boot","ticket":"x","new":1}"#)), "boot"),
            (Ok((200, r#"{"version":1,"action":"hold"}"#)), "hold"),
            (Ok((200, r#"{"version":1,"action":"local"}"#)), "local"),
            (Ok((200, r#"{"version":2,"action":"boot"}"#)), "error"),
            (Ok((200, r#"{"version":1,"action":"wipe"}"#)), "error"),
            (Ok((200, r#"{"action":"boot"}"#)), "error"),
            (Ok((200, "not json")), "error"),
            (Ok((404, "unknown")), "ignored"),
            (Ok((500, r#"{"version":1,"action":"boot"}"#)), "error"),
            (Err("connection refused".to_owned()), "error"),
        ] {
            let answer = answer.map(|(status, body)| (status, body.as_bytes()));
            let (decision, _) = Policy::default().decide(answer.clone());
            let stage = if decision == Decision::Boot { "boot" } else { wait(&decision).0 };
            assert_eq!(stage, expected, "{answer:?}");
        }
    }

    #[test]
    fn pauses_grow_and_begin_again_when_the_reason_changes() {
        let mut policy = Policy::default();
        let hold = || Ok((200, br#"{"version":1,"action":"hold","authorized_keys":["k"]}"#.as_slice()));
        let pauses: Vec<u64> = (0..5).map(|_| wait(&policy.decide(hold()).0).1).collect();
        assert_eq!(pauses, [5, 10, 20, 30, 30]);
        assert_eq!(wait(&policy.decide(Ok((404, b""))).0), ("ignored", 5));
        assert_eq!(policy.decide(hold()).1.unwrap().authorized_keys, ["k"]);
    }
}
