//! `meadow unlock`: opens nodes' state over a stock ssh(1), to the very host key that the cluster knows.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use meadow_model::{Name, Secret};
use tokio::sync::Mutex;
use tokio::task::{JoinSet, spawn_blocking};

use super::{Context, passphrase};
use crate::args::UnlockArgs;
use crate::exit::{Exit, Failure, exit_of};
use crate::output::say;
use crate::reference;

/// Port of Dropbear in the initramfs.
const PORT: &str = "2222";
/// How often a node that still starts is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// What ssh(1) is told beside its defaults: one host key is trusted, and nothing that this computer trusts elsewhere, as a
/// `@cert-authority` in the system's file would let anybody with a certificate have the passphrase. No settings are read
/// (`-F none`), so there is no `KnownHostsCommand`, which OpenSSH before 8.5 does not know.
const OPTIONS: [&str; 6] = [
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "VerifyHostKeyDNS=no",
    "HostKeyAlgorithms=ssh-ed25519",
    "ConnectTimeout=15",
    "PasswordAuthentication=no",
];

/// How ssh(1) ends where it is ssh that failed, and not what it ran.
const SSH_FAILED: i32 = 255;
/// What ssh(1) then says where it was shown another host key than the pinned one, or only a kind that is not taken, as a
/// certificate is.
const UNTRUSTED: [&str; 2] = ["Host key verification failed", "no matching host key type"];

/// A node at its prompt, and what is known of it.
struct Prompt {
    name: Name,
    address: IpAddr,
    /// `SHA256:…` of its host key.
    host_key: String,
    timeout_s: u32,
    identity: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, args: &UnlockArgs) -> anyhow::Result<()> {
    if (args.address.is_some() || args.host_key.is_some()) && args.names.len() > 1 {
        return Err(Failure::usage("--address and --host-key go with one node").into());
    }
    let prompts = prompts(context, args).await?;
    let text = passphrase::existing(context.prompt, args.passphrase_file.as_deref(), "Passphrase or recovery key:")?;
    let text = Arc::new(text);
    // Nodes that start are waited for at the same time; ssh(1) may ask a person for something, so one runs at a time.
    let turn = Arc::new(Mutex::new(()));
    let mut asked = JoinSet::new();
    for (name, prompt) in prompts {
        let (text, turn) = (Arc::clone(&text), Arc::clone(&turn));
        asked.spawn(async move {
            let opened = match prompt {
                Ok(prompt) => prompt.unlock(&text, &turn).await,
                Err(error) => Err(error),
            };
            (name, opened)
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = asked.join_next().await {
        let (name, opened) = ended.context("the unlock broke off")?;
        match opened {
            Ok(said) => say(&format!("{name}: {said}")),
            Err(error) => {
                say(&format!("{name}: {error:#}"));
                failed.push((name, exit_of(&error)));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let exit = exit_of_all(failed.iter().map(|(_, exit)| *exit));
    let names = failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    Err(Failure::new(exit, format!("not unlocked: {names}")).into())
}

/// Where each node is, and its host key: as the cluster knows it, or as the command line says, which needs no cluster.
async fn prompts(context: &Context, args: &UnlockArgs) -> anyhow::Result<Vec<(Name, anyhow::Result<Prompt>)>> {
    let prompt = |name: &Name, address, host_key| {
        let (timeout_s, identity) = (args.timeout, args.identity.clone());
        Prompt { name: name.clone(), address, host_key, timeout_s, identity }
    };
    if let (Some(address), Some(host_key), [name]) = (args.address, &args.host_key, args.names.as_slice()) {
        return Ok(vec![(name.clone(), Ok(prompt(name, address, host_key.clone())))]);
    }
    let client = context.connect()?;
    let mut prompts = Vec::new();
    for name in &args.names {
        let node = reference::node(&client, name).await?;
        let name = node.metadata.name.clone();
        let known = || {
            let installed = node.status.installed.as_ref().context("it has no state on a disk")?;
            let seen = node.status.endpoint.map(|endpoint| endpoint.ip());
            let address = args.address.or(seen).context("its address is not known; name it with --address")?;
            // From the console, which is read by who stands there.
            let host_key = args.host_key.as_ref().unwrap_or(&installed.host_key);
            Ok(prompt(&name, address, host_key.clone()))
        };
        prompts.push((name.clone(), known()));
    }
    Ok(prompts)
}

/// Of one failure its own; of several the one that they share, and above all that somebody else answered.
fn exit_of_all(exits: impl IntoIterator<Item = Exit>) -> Exit {
    let shared = |one, other| match (one, other) {
        (Exit::Conflict, _) | (_, Exit::Conflict) => Exit::Conflict,
        _ if one == other => one,
        _ => Exit::Failed,
    };
    exits.into_iter().reduce(shared).unwrap_or(Exit::Failed)
}

impl Prompt {
    async fn unlock(self, text: &Arc<Secret<String>>, turn: &Mutex<()>) -> anyhow::Result<String> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let known_hosts = folder.path().join("known_hosts");
        let line = shown_key(&self.name, self.address, self.timeout_s).await?;
        let line = pinned(&line, self.address, &self.host_key)?;
        meadow_host::files::replace(&known_hosts, line.as_bytes(), meadow_host::files::Access::Private)?;

        let mut ssh = ssh(self.address, &known_hosts, self.identity.as_deref());
        let text = Arc::clone(text);
        let _turn = turn.lock().await;
        let output = spawn_blocking(move || send(&mut ssh, &text)).await.context("ssh(1) broke off")??;
        if output.status.success() {
            return Ok(text_of(&output.stdout));
        }
        Err(not_unlocked(self.address, &output))
    }
}

/// An ssh(1) to the prompt at `address` that trusts the one host key in `known_hosts`.
fn ssh(address: IpAddr, known_hosts: &Path, identity: Option<&Path>) -> Command {
    let mut ssh = program("ssh");
    ssh.args(["-F", "none", "-p", PORT, "-l", "root", "-T"]);
    for option in OPTIONS {
        ssh.args(["-o", option]);
    }
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known_hosts.display()));
    if let Some(identity) = identity {
        ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
    }
    ssh.arg(address.to_string());
    ssh
}

/// Sends a line over `ssh`.
fn send(ssh: &mut Command, text: &Secret<String>) -> anyhow::Result<Output> {
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().context("cannot run ssh(1); install the package openssh-client")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A server that refuses closes first; what it says then is what counts.
        let _ = stdin.write_all(text.expose().as_bytes()).and_then(|()| stdin.write_all(b"\n"));
    }
    child.wait_with_output().context("ssh(1) broke off")
}

/// Why ssh(1) did not open it.
fn not_unlocked(address: IpAddr, output: &Output) -> anyhow::Error {
    let told = text_of(&output.stderr);
    if output.status.code() == Some(SSH_FAILED) && UNTRUSTED.iter().any(|words| told.contains(words)) {
        let message = format!(
            "SOMEBODY ELSE ANSWERS on {address}: first with the host key that is expected, then with another one; the passphrase was not sent. Look at the cables, and for who else has this address"
        );
        return Failure::new(Exit::Conflict, message).into();
    }
    anyhow::anyhow!("{}", format!("{} {told}", text_of(&output.stdout)).trim().to_owned())
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The line of known_hosts for the key that answers at `address`: a node that still starts is waited for.
async fn shown_key(name: &Name, address: IpAddr, timeout_s: u32) -> anyhow::Result<String> {
    let asked = async {
        let mut told = false;
        loop {
            if let Some(line) = spawn_blocking(move || scan(address)).await.context("ssh-keyscan(1) broke off")?? {
                return Ok(line);
            }
            if !told {
                say(&format!("{name}: nothing answers on {address} port {PORT} yet; waiting (Ctrl-C ends)"));
                told = true;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(timeout_s.into()), asked).await.unwrap_or_else(|_| {
        let message = format!("nothing answers on {address} port {PORT}; does its console wait for a passphrase?");
        Err(Failure::new(Exit::TimedOut, message).into())
    })
}

/// What ssh-keyscan(1) hears, if anything.
fn scan(address: IpAddr) -> anyhow::Result<Option<String>> {
    let mut scan = program("ssh-keyscan");
    scan.args(["-p", PORT, "-T", "15", "-t", "ed25519", &address.to_string()]).stderr(Stdio::null());
    let keys = scan.output().context("cannot run ssh-keyscan(1); install the package openssh-client")?.stdout;
    let keys = String::from_utf8_lossy(&keys);
    Ok(keys.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty()).map(str::to_owned))
}

/// `line` with its end, if its key is the one that the cluster knows.
fn pinned(line: &str, address: IpAddr, fingerprint: &str) -> anyhow::Result<String> {
    let shown = fingerprint_of(line).context("what answers there shows no key that ssh(1) can use")?;
    if shown == fingerprint {
        return Ok(format!("{line}\n"));
    }
    let message = format!(
        "SOMEBODY ELSE ANSWERS on {address}: the host key is {shown}, and {fingerprint} is expected; the passphrase was not sent. Look at the cables, compare with the node's console: --host-key takes what it shows, after its TPM gave the old one not back"
    );
    Err(Failure::new(Exit::Conflict, message).into())
}

/// `SHA256:…` of the key in a line of known_hosts, as ssh-keygen(1) shows it: base64 without padding.
fn fingerprint_of(line: &str) -> Option<String> {
    use data_encoding::{BASE64, BASE64_NOPAD};
    let key = BASE64.decode(line.split_whitespace().nth(2)?.as_bytes()).ok()?;
    Some(format!("SHA256:{}", BASE64_NOPAD.encode(&meadow_pki::sha256(&key))))
}

#[expect(clippy::disallowed_methods, reason = "ssh(1) is the user's own, with the user's keys and agent")]
fn program(name: &str) -> Command {
    Command::new(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_the_cluster_knows_is_trusted() {
        let line = "[192.0.2.7]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA2jnM6jK4zOLoL7P2YlrAIJTGnsjAvV0B3M9gP4YsGS";
        let address = "192.0.2.7".parse().expect("an address");
        let known = fingerprint_of(line).expect("a key");
        assert_eq!(pinned(line, address, &known).expect("trusted"), format!("{line}\n"));
        let refused = pinned(line, address, "SHA256:other").expect_err("somebody else").to_string();
        assert!(
            refused.contains(&known) && refused.contains("SHA256:other") && refused.contains("not sent"),
            "{refused}"
        );
    }

    /// What ssh(1) itself makes of the command line.
    #[test]
    fn ssh_trusts_nothing_but_the_one_file() {
        let address = "192.0.2.7".parse().expect("an address");
        let mut ssh = ssh(address, Path::new("/run/one"), None);
        let output = ssh.arg("-G").output().expect("ssh(1) runs");
        assert!(output.status.success(), "{output:?}");
        let settings = String::from_utf8(output.stdout).expect("text");
        let setting = |name: &str| {
            let value = settings.lines().filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == name);
            value.map(|(_, value)| value)
        };
        for (name, value) in [
            ("userknownhostsfile", "/run/one"),
            ("globalknownhostsfile", "/dev/null"),
            // No certificate: a CA that is trusted elsewhere says nothing here.
            ("hostkeyalgorithms", "ssh-ed25519"),
            ("stricthostkeychecking", "true"),
            ("verifyhostkeydns", "false"),
            ("passwordauthentication", "no"),
        ] {
            assert_eq!(setting(name), Some(value), "{name} in {settings}");
        }
        assert!(matches!(setting("knownhostscommand"), None | Some("none")), "{settings}");
    }

    #[test]
    fn a_man_in_the_middle_wins_over_other_failures() {
        assert_eq!(exit_of_all([Exit::TimedOut]), Exit::TimedOut);
        assert_eq!(exit_of_all([Exit::TimedOut, Exit::TimedOut]), Exit::TimedOut);
        assert_eq!(exit_of_all([Exit::TimedOut, Exit::Failed]), Exit::Failed);
        assert_eq!(exit_of_all([Exit::Failed, Exit::TimedOut, Exit::Conflict, Exit::Failed]), Exit::Conflict);
    }

    #[test]
    fn fingerprints_as_ssh_shows_them() {
        let line = "[192.0.2.7]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA2jnM6jK4zOLoL7P2YlrAIJTGnsjAvV0B3M9gP4YsGS";
        let shown = fingerprint_of(line).expect("a key");
        assert!(shown.starts_with("SHA256:") && shown.len() == 50, "{shown}");
        assert_eq!(fingerprint_of("# comment"), None);
        assert_eq!(fingerprint_of("host ssh-ed25519 not+base64!"), None);
    }
}
