//! `meadow unlock` on a computer that trusts others: whoever they say is a node gets no passphrase, since the node's own key is
//! pinned. It knows no cluster here, and no agent runs.

mod host_key;
mod middle;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use meadow_rack::namespace::Namespace;
use meadow_rack::run_dir::RunDir;
use meadow_tests_it::{Ran, program};

use crate::host_key::{HostKey, certificate_authority};
use crate::middle::{End, Middle};

/// Port of SSH in the initramfs.
const PORT: u16 = 2222;

/// Runs a program where root has another home, and ssh(1) other settings of the system.
const AT_COMPUTER: &str = r#"
set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/ssh" /etc/ssh
shift
exec "$@"
"#;

/// Where a computer says whom it trusts.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// `~/.ssh/known_hosts`.
    User,
    /// `/etc/ssh/ssh_known_hosts`.
    System,
    /// `KnownHostsCommand` in `~/.ssh/config`.
    Command,
}

/// A computer of somebody who wants to unlock a node.
struct Computer {
    namespace: Namespace,
    folder: PathBuf,
}

impl Computer {
    /// It trusts all that `known` names, a line of known_hosts in that place, and nothing else.
    fn trusting(namespace: &Namespace, folder: PathBuf, place: Place, known: &str) -> Result<Self> {
        let user = folder.join("home/.ssh");
        let system = folder.join("ssh");
        fs::create_dir_all(&user)?;
        fs::create_dir_all(&system)?;
        fs::write(folder.join("passwd"), format!("root:x:0:0:root:{}:/bin/sh\n", folder.join("home").display()))?;
        fs::write(folder.join("secret"), "correct horse battery\n")?;
        match place {
            Place::User => fs::write(user.join("known_hosts"), known)?,
            Place::System => fs::write(system.join("ssh_known_hosts"), known)?,
            Place::Command => {
                fs::write(folder.join("known"), known)?;
                let command = format!("KnownHostsCommand /bin/cat {}\n", folder.join("known").display());
                fs::write(user.join("config"), command)?;
            }
        }
        Ok(Self { namespace: namespace.clone(), folder })
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Result<Ran> {
        let mut command = self.namespace.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", AT_COMPUTER, "sh"]).arg(&self.folder);
        command.arg(program).args(arguments).env("HOME", self.folder.join("home"));
        command.env_remove("XDG_CONFIG_HOME").env_remove("MEADOW_CONTEXT").env_remove("SSH_AUTH_SOCK");
        Ran::finish(&mut command)
    }

    /// A stock ssh(1).
    fn ssh(&self, address: IpAddr) -> Result<Ran> {
        let options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"];
        let (port, address) = (PORT.to_string(), format!("root@{address}"));
        self.run(Path::new("ssh"), &[&options[..], &["-p", &port, &address]].concat())
    }

    fn meadow_unlock(&self, address: IpAddr, host_key: &str) -> Result<Ran> {
        let (address, secret) = (address.to_string(), self.folder.join("secret").display().to_string());
        let node = ["unlock", "node-1", "--address", &address, "--host-key", host_key];
        self.run(&program("meadow")?, &[&node[..], &["--passphrase-file", &secret, "--timeout", "30s"]].concat())
    }
}

#[test]
fn whom_else_a_computer_trusts_gets_no_passphrase() -> Result<()> {
    let mut run = RunDir::create()?;
    run.keep_logs(false);
    let namespace = Namespace::create(&mut run, "middle")?;
    let folder = |name: &str| -> Result<PathBuf> {
        let folder = run.file(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    };
    let (ca, ca_line) = certificate_authority(&folder("ca")?)?;
    let (nodes, own) = (HostKey::create(&folder("node")?)?, HostKey::create(&folder("own")?)?);
    let certified = own.certified_by(&ca, &run.file("own"))?;
    let tricks = [
        ("certificate", certified, format!("@cert-authority * {ca_line}")),
        ("key", own.clone(), format!("* {}", own.line())),
    ];
    let mut number = 0;
    for (trick, shown, known) in &tricks {
        for place in [Place::User, Place::System, Place::Command] {
            number += 1;
            let address = IpAddr::from([192, 0, 2, number]);
            namespace.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
            let computer = Computer::trusting(&namespace, folder(&format!("computer-{number}"))?, place, known)?;
            let at = SocketAddr::from((address, PORT));

            // Else nothing would be shown here.
            let middle = Middle::start(&namespace, at, vec![shown.clone()])?;
            let trusted = computer.ssh(address)?;
            assert_eq!(middle.next()?, End::Trusts, "{trick} {place:?}: {}", trusted.stderr);

            // Whoever only asks for the host key is shown the node's.
            let middle = Middle::start(&namespace, at, vec![nodes.without_private_half(), shown.clone()])?;
            let refused = computer.meadow_unlock(address, &nodes.fingerprint())?;
            assert_eq!(refused.code, Some(4), "{trick} {place:?}: {}", refused.stderr);
            assert!(refused.stderr.contains("SOMEBODY ELSE ANSWERS"), "{trick} {place:?}: {}", refused.stderr);
            assert_eq!((middle.next()?, middle.next()?), (End::Leaves, End::Leaves), "{trick} {place:?}");
        }
    }

    // The node itself is trusted, wherever it is named.
    let address = IpAddr::from([192, 0, 2, 1]);
    let computer = Computer { namespace: namespace.clone(), folder: run.file("computer-1") };
    let middle = Middle::start(&namespace, SocketAddr::from((address, PORT)), vec![nodes.clone(), nodes.clone()])?;
    let unlocked = computer.meadow_unlock(address, &nodes.fingerprint())?;
    assert_eq!((middle.next()?, middle.next()?), (End::Leaves, End::Trusts), "{}", unlocked.stderr);
    Ok(())
}
