//! What `unlock probe` says about a disk's state.

use std::io::Read;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::PROGRAM;
use crate::children::Children;

/// No answer is longer.
const LIMIT: u64 = 256 * 1024;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Probe {
    /// A node's state, which somebody has to open.
    State(Found),
    /// There is none that could be opened: why, with the next step.
    None {
        /// For a person.
        why: String,
    },
}

/// A node's state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// The node.
    pub node: String,
    /// The cluster's name.
    pub cluster: String,
    /// Who may unlock over SSH.
    pub authorized_keys: Vec<String>,
    /// Fixed addresses; empty: DHCP.
    pub network: Vec<Network>,
    /// Whether the node's own host key was put into place.
    pub own_host_key: bool,
    /// `SHA256:…` of the node's own host key.
    pub host_key_fingerprint: String,
    /// What is wrong but does not keep anybody from trying, with the next step.
    pub warnings: Vec<String>,
    /// Why no key opens the state any more; `None` where one may.
    #[serde(default)]
    pub lost: Option<String>,
    /// The CA of the node's cluster.
    #[serde(default)]
    pub ca_fingerprint: String,
}

/// A network that a card is in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Hardware address with colons; `None`: every wired card.
    pub mac: Option<String>,
    /// VLAN identifier.
    pub vlan: Option<u16>,
    /// Address and prefix length, or `dhcp`.
    pub address: String,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// DNS servers, for the booted system.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
}

impl Probe {
    /// Parses the answer.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(json: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(json).context("the answer of /sbin/unlock cannot be read: build the initrd again")
    }
}

/// What came of the TPM's attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TpmTried {
    /// Whether the state is open.
    pub opened: bool,
    /// Why not, with the next step; `None` where the state has no slot for a TPM.
    pub why: Option<String>,
}

/// Asks about these two partitions, the state where there is one.
///
/// # Errors
/// If the program is missing or fails.
pub fn probe(preboot: &str, state: Option<&str>, children: &Children) -> anyhow::Result<Probe> {
    let arguments: Vec<&str> = ["probe", preboot].into_iter().chain(state).collect();
    Probe::parse(&answer(&arguments, children)?)
}

/// Lets the TPM open the state that was probed, where it has a slot for it.
///
/// # Errors
/// If the program is missing or fails.
pub fn try_tpm(children: &Children) -> anyhow::Result<TpmTried> {
    let json = answer(&["tpm"], children)?;
    serde_json::from_slice(&json).context("the answer of /sbin/unlock cannot be read: build the initrd again")
}

/// Makes the TPM let go of what it gives to an initramfs.
///
/// # Errors
/// If it does not.
pub fn close_tpm(children: &Children) -> anyhow::Result<()> {
    answer(&["close"], children).map(drop)
}

#[derive(Deserialize)]
struct Checked {
    why: Option<String>,
}

/// Why the file `manifest` counts for nothing; `None` where this initrd's build key signed it.
///
/// # Errors
/// If the program is missing or fails.
pub fn check_manifest(manifest: &str, signature: &str, children: &Children) -> anyhow::Result<Option<String>> {
    let json = answer(&["manifest", manifest, signature], children)?;
    let checked: Checked =
        serde_json::from_slice(&json).context("the answer of /sbin/unlock cannot be read: build the initrd again")?;
    Ok(checked.why)
}

/// Runs the program to its end; what it printed.
fn answer(arguments: &[&str], children: &Children) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (pid, mut child) = children.spawn(&mut command)?;
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(LIMIT).read_to_end(&mut answer).context("cannot read from /sbin/unlock")?;
    }
    let status = children.wait(pid);
    ensure!(
        status.is_some_and(|status| status.exit_status() == Some(0)),
        "/sbin/unlock {} failed ({status:?}): build the initrd again",
        arguments.first().copied().unwrap_or_default()
    );
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = r#"{"is":"state","node":"node-1","cluster":"home","authorized_keys":["ssh-ed25519 AAAA"],
        "network":[{"mac":null,"vlan":7,"address":"192.0.2.7/24","gateway":"192.0.2.1"}],
        "own_host_key":true,"host_key_fingerprint":"SHA256:x","warnings":[]}"#;

    #[test]
    fn answers() {
        let Probe::State(found) = Probe::parse(ANSWER.as_bytes()).unwrap() else { panic!("no state") };
        assert_eq!((found.node.as_str(), found.network[0].vlan), ("node-1", Some(7)));
        let none = Probe::parse(br#"{"is":"none","why":"no record"}"#).unwrap();
        assert_eq!(none, Probe::None { why: "no record".to_owned() });
        assert!(Probe::parse(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn damaged_answers_never_panic(at in 0..ANSWER.len(), byte in any::<u8>(), cut in 0..ANSWER.len()) {
            let mut bytes = ANSWER.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = Probe::parse(&bytes);
            prop_assert!(Probe::parse(&bytes[..cut]).is_err());
        }
    }
}
