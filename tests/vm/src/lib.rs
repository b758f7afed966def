//! What the machine tests share: how long things may take, an admin with an SSH key, cells of the table of firmware.

pub mod approval;
pub mod disk;
pub mod esp;
pub mod firmware_cell;
pub mod forged;
pub mod impostor;
pub mod installation;
pub mod installed_host;
pub mod node_disk;
pub mod playing_guest;
pub mod rollout;
pub mod sealer;
pub mod story;

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meadow_rack::namespace::Namespace;
use meadow_rack::{Machine, Rack, wait};

/// From power-on to a stage of the boot, for three machines at once under emulation on two busy processors. Generous:
/// it tells a machine that is stuck from one that is slow, and is no measure.
pub const BOOT: Duration = Duration::from_secs(300);

/// The port of Dropbear in the initramfs.
pub const SSH_PORT: &str = "2222";

/// How many power cuts a test tries in `make test`; `make soak` wants more.
pub const SAMPLE: u64 = 2;

/// How many power cuts a test tries now: `MEADOW_POWER_CUTS`.
///
/// # Panics
/// When that is no number.
#[must_use]
pub fn power_cuts() -> u64 {
    std::env::var("MEADOW_POWER_CUTS").map_or(SAMPLE, |text| text.parse().expect("a number"))
}

/// An admin's SSH key pair.
#[derive(Debug)]
pub struct Admin {
    key: PathBuf,
    known_hosts: PathBuf,
}

impl Admin {
    /// Makes a key pair in `folder`.
    ///
    /// # Errors
    /// When ssh-keygen(1) fails.
    pub fn create(folder: &Path) -> Result<Self> {
        let key = folder.join("admin");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "admin", "-f"]).arg(&key).status();
        ensure!(made.context("cannot run ssh-keygen; see tests/packages/test.list")?.success(), "ssh-keygen failed");
        Ok(Self { key, known_hosts: folder.join("known_hosts") })
    }

    /// The file with the private key.
    #[must_use]
    pub fn private_key(&self) -> &Path {
        &self.key
    }

    /// The public key, as `authorized_keys` has it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn public_key(&self) -> Result<String> {
        Ok(fs::read_to_string(self.key.with_extension("pub"))?.trim().to_owned())
    }

    /// Asks the machine at `address` for its host key, remembers it and gives its fingerprint, `SHA256:…`.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn fetch_host_key(&self, from: &Namespace, address: IpAddr) -> Result<String> {
        let address = address.to_string();
        let keys =
            from.command("ssh-keyscan").args(["-p", SSH_PORT, "-T", "30", "-t", "ed25519", &address]).output()?;
        ensure!(!keys.stdout.is_empty(), "no host key from {address}: {}", String::from_utf8_lossy(&keys.stderr));
        fs::write(&self.known_hosts, keys.stdout)?;
        let listed = Command::new("ssh-keygen").arg("-lf").arg(&self.known_hosts).output()?;
        let text = String::from_utf8(listed.stdout)?;
        text.split_whitespace()
            .find(|word| word.starts_with("SHA256:"))
            .map(str::to_owned)
            .context("ssh-keygen printed no fingerprint")
    }

    /// Opens a machine's state over the network, at the newest prompt on its serial line.
    ///
    /// # Panics
    /// When it asks for nothing, or the passphrase does not open it.
    pub fn open_at_newest_prompt(&self, rack: &mut Rack, person: &Namespace, number: usize, passphrase: &str) {
        let line = wait::until("a prompt", BOOT, || {
            rack.look_after()?;
            Ok(serial_text(rack, number)
                .lines()
                .rfind(|line| line.contains("unlock over the network: "))
                .map(str::to_owned))
        });
        let line = line.unwrap_or_else(|error| panic!("node-{number}: {error:#}: {}", serial_text(rack, number)));
        let address = line.trim().rsplit_once('@').expect("an address").1.parse().expect("an address");
        let key = wait::until("SSH", BOOT, || {
            rack.look_after()?;
            Ok(self.fetch_host_key(person, address).ok())
        });
        key.expect("a host key");
        let opened = self.unlock(person, address, passphrase).expect("ssh");
        assert!(opened.status.success(), "{opened:?}");
    }

    /// Runs a stock ssh to the machine at `address`, trusting only the host key that was fetched.
    ///
    /// # Errors
    /// When ssh cannot be run.
    pub fn ssh(&self, from: &Namespace, address: IpAddr, command: &[&str]) -> Result<Output> {
        self.ssh_command(from, address, &[]).args(command).output().context("cannot run ssh")
    }

    /// Sends a line over that ssh as `meadow unlock` does.
    ///
    /// # Errors
    /// When ssh cannot be run.
    pub fn unlock(&self, from: &Namespace, address: IpAddr, text: &str) -> Result<Output> {
        let mut ssh = self.ssh_command(from, address, &[]);
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // A server that refuses closes first.
        let _ = child.stdin.take().context("no input")?.write_all(format!("{text}\n").as_bytes());
        Ok(child.wait_with_output()?)
    }

    /// The command line of that ssh, with these options of ssh's and no command yet.
    #[must_use]
    pub fn ssh_command(&self, from: &Namespace, address: IpAddr, options: &[&str]) -> Command {
        let mut ssh = from.command("ssh");
        ssh.args(["-F", "none", "-p", SSH_PORT, "-l", "root", "-i"]).arg(&self.key);
        for option in ["BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "ConnectTimeout=30"] {
            ssh.args(["-o", option]);
        }
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        ssh.args(options).arg(address.to_string());
        ssh
    }
}

/// The first milestone of this boot that begins with `prefix`.
///
/// # Errors
/// When the serial log cannot be read.
pub fn milestone(machine: &Machine, prefix: &str) -> Result<Option<String>> {
    Ok(machine.milestones()?.into_iter().find(|milestone| milestone.starts_with(prefix)))
}

/// The IPv4 address in a milestone `network eth0 192.0.2.10/24`.
///
/// # Errors
/// When there is none.
pub fn address(milestone: &str) -> Result<IpAddr> {
    let with_prefix = milestone.split_whitespace().nth(2).context("no address")?;
    let address = with_prefix.split('/').next().unwrap_or(with_prefix);
    address.parse().with_context(|| format!("no address in `{milestone}`"))
}

/// What stands on a terminal at the machine's serial line, as one line with one space between words: what is read does not
/// depend on where lines are wrapped.
///
/// # Errors
/// When the serial log cannot be read.
pub fn screen(machine: &Machine) -> Result<String> {
    let mut terminal = vt100::Parser::default();
    terminal.process(&machine.serial().bytes_from(0)?);
    Ok(terminal.screen().contents().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Waits until that screen shows all of `texts`; the screen.
///
/// # Panics
/// When it does not in time.
pub fn wait_screen(rack: &mut Rack, number: usize, texts: &[&str]) -> String {
    let shown = wait::until(&texts.join(", "), BOOT, || {
        rack.look_after()?;
        let screen = screen(rack.machine(number)?)?;
        Ok(texts.iter().all(|text| screen.contains(text)).then_some(screen))
    });
    shown.unwrap_or_else(|error| panic!("{error:#}; its screen: {:?}", rack.machine(number).and_then(|m| screen(m))))
}

/// What a machine's serial line has shown since it was switched on.
///
/// # Panics
/// When its log cannot be read.
#[must_use]
pub fn serial_text(rack: &Rack, number: usize) -> String {
    rack.machines()[number - 1].serial().text_from(0).expect("a log")
}

/// Waits until it has shown all of `texts`.
///
/// # Panics
/// When it does not in time, with what is missing.
pub fn wait_serial(rack: &mut Rack, number: usize, texts: &[&str]) {
    let shown = wait::until(&texts.join(", "), BOOT, || {
        rack.look_after()?;
        let text = serial_text(rack, number);
        Ok(texts.iter().all(|wanted| text.contains(wanted)).then_some(()))
    });
    shown.unwrap_or_else(|error| {
        let text = serial_text(rack, number);
        let missing: Vec<_> = texts.iter().filter(|wanted| !text.contains(**wanted)).collect();
        panic!("node-{number}: {error:#}: {missing:?} of {text}")
    });
}

/// Pulls the network cable of a machine that was just switched on.
///
/// # Panics
/// When that is not possible.
pub fn pull_cable(rack: &mut Rack, number: usize) {
    // QEMU listens for that a moment after its start.
    let pulled = wait::until("QEMU", BOOT, || Ok(rack.machine(number)?.set_cable(false).ok()));
    pulled.expect("the cable is pulled");
}

/// Waits until each machine of the rack has reached a milestone that begins with `prefix`; these milestones.
///
/// # Panics
/// When one does not in time, with all stages.
pub fn wait_all(rack: &mut Rack, prefix: &str) -> Vec<String> {
    let all = wait::until(prefix, BOOT, || {
        rack.look_after()?;
        rack.machines().iter().map(|machine| milestone(machine, prefix)).collect::<Result<Option<Vec<String>>>>()
    });
    all.unwrap_or_else(|error| {
        panic!("{error:#}; stages: {:?}", rack.machines().iter().map(Machine::milestones).collect::<Vec<_>>())
    })
}
