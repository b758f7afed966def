//! `meadow unlock`: opens nodes' state over a stock ssh(1), to the very host key that the cluster knows.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use meadow_model::node::Node;
use meadow_model::{Name, Secret};

use super::{Context, passphrase};
use crate::args::UnlockArgs;
use crate::exit::{Exit, Failure};
use crate::output::say;
use crate::reference;

/// Port of Dropbear in the initramfs.
const PORT: &str = "2222";
/// How often a node that still starts is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, args: &UnlockArgs) -> anyhow::Result<()> {
    if (args.address.is_some() || args.host_key.is_some()) && args.names.len() > 1 {
        return Err(Failure::usage("--address and --host-key go with one node").into());
    }
    let client = context.connect()?;
    let mut nodes = Vec::new();
    for name in &args.names {
        nodes.push(reference::node(&client, name).await?);
    }
    let text = passphrase::existing(context.prompt, args.passphrase_file.as_deref(), "Passphrase or recovery key:")?;
    let mut failed = Vec::new();
    for node in &nodes {
        let name = &node.metadata.name;
        match unlock(node, args, &text).await {
            Ok(said) => say(&format!("{name}: {said}")),
            Err(error) => {
                say(&format!("{name}: {error:#}"));
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let names = failed.into_iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    Err(Failure::new(Exit::Failed, format!("not unlocked: {names}")).into())
}

async fn unlock(node: &Node, args: &UnlockArgs, text: &Secret<String>) -> anyhow::Result<String> {
    let installed = node.status.installed.as_ref().context("it has no state on a disk")?;
    let seen = node.status.endpoint.map(|endpoint| endpoint.ip());
    let address = args.address.or(seen).context("its address is not known; name it with --address")?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let known_hosts = folder.path().join("known_hosts");
    let line = shown_key(&node.metadata.name, address, args.timeout).await?;
    // From the console, which is read by who stands there.
    let expected = args.host_key.as_deref().unwrap_or(&installed.host_key);
    let line = pinned(&line, address, expected)?;
    meadow_host::files::replace(&known_hosts, line.as_bytes(), meadow_host::files::Access::Private)?;

    let mut ssh = program("ssh");
    ssh.args(["-F", "none", "-p", PORT, "-l", "root", "-T"]);
    for option in ["StrictHostKeyChecking=yes", "ConnectTimeout=15", "PasswordAuthentication=no"] {
        ssh.args(["-o", option]);
    }
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known_hosts.display()));
    if let Some(identity) = &args.identity {
        ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
    }
    ssh.arg(address.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().context("cannot run ssh(1); install the package openssh-client")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A server that refuses closes first; what it says then is what counts.
        let _ = stdin.write_all(text.expose().as_bytes()).and_then(|()| stdin.write_all(b"\n"));
    }
    let output = child.wait_with_output().context("ssh(1) broke off")?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    anyhow::bail!("{}", [said(&output.stdout), said(&output.stderr)].join(" ").trim().to_owned())
}

/// The line of known_hosts for the key that answers at `address`: a node that still starts is waited for.
async fn shown_key(name: &Name, address: IpAddr, timeout_s: u32) -> anyhow::Result<String> {
    let asked = async {
        let mut told = false;
        loop {
            if let Some(line) = scan(address)? {
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

    #[test]
    fn fingerprints_as_ssh_shows_them() {
        let line = "[192.0.2.7]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA2jnM6jK4zOLoL7P2YlrAIJTGnsjAvV0B3M9gP4YsGS";
        let shown = fingerprint_of(line).expect("a key");
        assert!(shown.starts_with("SHA256:") && shown.len() == 50, "{shown}");
        assert_eq!(fingerprint_of("# comment"), None);
        assert_eq!(fingerprint_of("host ssh-ed25519 not+base64!"), None);
    }
}
