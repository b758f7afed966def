//! SSH into the initramfs: it shows the boot state or unlocks the node's own, and does nothing else.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::authorized_keys::{self, Restrictions};
use crate::backoff::Backoff;
use crate::boot_log::BootLog;
use crate::children::{Children, Closed};
use crate::lock;
use crate::system::{write_private, write_public};

/// Not 22: that one belongs to the booted system.
pub const PORT: u16 = 2222;
/// The node's own host key, in memory: `unlock probe` puts it there.
const OWN_KEY: &str = "/run/meadow/dropbear-host-key";
/// A host key of this boot.
const BOOT_KEY: &str = "/run/meadow/dropbear-boot-key";
const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";
const PROGRAM: &str = "/usr/sbin/dropbear";
const LONGEST_LINE: u64 = 4096;

/// What a login gets. It is root's shell and the forced command: Dropbear runs the one by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The boot state.
    #[default]
    Look,
    /// The prompt for the passphrase. With the node's own host key where there is one, else with one of this boot.
    Unlock {
        /// Whether the node's own is there; whoever says so has told its fingerprint.
        own_host_key: bool,
    },
}

impl Purpose {
    fn shell(self) -> &'static str {
        match self {
            Self::Look => "/bin/boot-state",
            Self::Unlock { .. } => "/sbin/unlock",
        }
    }

    /// Seconds of silence after which a session ends: who types a passphrase may have to wait after a wrong one.
    fn patience(self) -> &'static str {
        match self {
            Self::Look => "60",
            Self::Unlock { .. } => "300",
        }
    }

    fn host_key(self) -> &'static str {
        match self {
            Self::Unlock { own_host_key: true } => OWN_KEY,
            _ => BOOT_KEY,
        }
    }

    fn restrictions(self) -> Restrictions {
        match self {
            Self::Look => Restrictions::NoTerminal,
            // Only a terminal hides what is typed.
            Self::Unlock { .. } => Restrictions::Terminal,
        }
    }
}

/// The server, started when there is a key that may log in.
#[derive(Debug, Default)]
pub struct Dropbear {
    keys: Vec<String>,
    shared: Arc<Mutex<Shared>>,
    running: bool,
}

#[derive(Debug, Default)]
struct Shared {
    purpose: Purpose,
    /// The server that runs.
    server: Option<Pid>,
}

impl Dropbear {
    /// Lets these keys log in for this, and starts the server with the first of them.
    ///
    /// # Errors
    /// If the server cannot be started; the boot goes on without it.
    pub fn allow(
        &mut self,
        keys: &[String],
        purpose: Purpose,
        children: &Arc<Children>,
        log: &Arc<BootLog>,
    ) -> anyhow::Result<()> {
        let same_purpose = lock(&self.shared).purpose == purpose;
        if self.keys == keys && same_purpose {
            return Ok(());
        }
        let (text, left_out) = authorized_keys::render(keys, purpose.restrictions());
        if left_out > 0 {
            log.say(&format!("{left_out} of the authorized keys are no public keys and were left out"));
        }
        // Before the shell, so that a key that may only look never meets the other one.
        write_private(AUTHORIZED_KEYS, text.as_bytes())?;
        self.keys = keys.to_vec();
        if !same_purpose {
            self.change(purpose)?;
        }
        if text.is_empty() || self.running {
            return Ok(());
        }
        let (shared, children, log) = (Arc::clone(&self.shared), Arc::clone(children), Arc::clone(log));
        // Aside: making a host key waits for randomness, and the boot need not.
        thread::Builder::new()
            .name("dropbear".to_owned())
            .spawn(move || keep_running(&shared, &children, &log))
            .context("cannot start a thread")?;
        self.running = true;
        Ok(())
    }

    /// The server of before ends; [`keep_running`] starts the next one with the other purpose.
    fn change(&self, purpose: Purpose) -> anyhow::Result<()> {
        let shell = purpose.shell();
        write_public("/etc/passwd", format!("root:*:0:0:root:/root:{shell}\n").as_bytes())?;
        write_public("/etc/shells", format!("{shell}\n").as_bytes())?;
        let mut shared = lock(&self.shared);
        shared.purpose = purpose;
        if let Some(server) = shared.server {
            // It is gone already where this fails.
            let _ = kill_process(server, Signal::TERM);
        }
        Ok(())
    }
}

/// Makes a host key and runs the server, and again whenever something fails, until PID 1 becomes
/// another program.
fn keep_running(shared: &Mutex<Shared>, children: &Children, log: &BootLog) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut announced = None;
    loop {
        let purpose = lock(shared).purpose;
        let Err(error) =
            announce(&mut announced, purpose, children, log).and_then(|()| serve(shared, purpose, children));
        if error.is::<Closed>() {
            return;
        }
        // It ended because it is to do something else.
        if lock(shared).purpose != purpose {
            continue;
        }
        log.say(&format!("SSH is not there: {error:#}"));
        thread::sleep(backoff.pause());
    }
}

fn announce(
    announced: &mut Option<Purpose>,
    purpose: Purpose,
    children: &Children,
    log: &BootLog,
) -> anyhow::Result<()> {
    if *announced == Some(purpose) {
        return Ok(());
    }
    match purpose {
        Purpose::Unlock { own_host_key: true } => log.fact("dropbear", &format!("port {PORT}")),
        _ => {
            let fingerprint = make_host_key(children)?;
            log.fact("dropbear", &format!("port {PORT} {fingerprint}"));
        }
    }
    *announced = Some(purpose);
    Ok(())
}

/// Removes the host keys: the booted system has no use for them, and `/run` goes on.
pub fn forget_host_keys() {
    for path in [OWN_KEY, BOOT_KEY] {
        // There is none where no key was allowed.
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(format!("{path}.pub"));
    }
}

/// A host key of this boot, in memory only; its fingerprint.
fn make_host_key(children: &Children) -> anyhow::Result<String> {
    let _ = fs::remove_file(BOOT_KEY); // of an attempt before; dropbearkey overwrites nothing
    let mut command = Command::new("/usr/bin/dropbearkey");
    command.args(["-t", "ed25519", "-f", BOOT_KEY]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (pid, mut child) = children.spawn(&mut command)?;
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(LONGEST_LINE).read_to_string(&mut text).context("cannot read from dropbearkey")?;
    }
    let status = children.wait(pid);
    // Ended with all others, not by itself.
    ensure!(!children.is_closed(), Closed);
    ensure!(status.is_some_and(|status| status.exit_status() == Some(0)), "dropbearkey could not make a host key");
    fingerprint(&text).context("dropbearkey printed no SHA256 fingerprint")
}

fn fingerprint(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned)
}

fn serve(shared: &Mutex<Shared>, purpose: Purpose, children: &Children) -> anyhow::Result<Infallible> {
    let mut command = Command::new(PROGRAM);
    command
        .args(["-F", "-E"]) // stay, and log to standard error
        .args(["-s", "-j", "-k", "-m"]) // no passwords, no forwarding either way, no message of the day
        .args(["-T", "3", "-I", purpose.patience()]) // attempts a connection, seconds of silence
        .args(["-p", &PORT.to_string(), "-r", purpose.host_key(), "-P", "/run/meadow/dropbear.pid"])
        .args(["-c", purpose.shell()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let (pid, mut child) = {
        // Under the lock, so that a change meets the server or its successor.
        let mut shared = lock(shared);
        ensure!(shared.purpose == purpose, "it is to do something else");
        let started = children.spawn(&mut command)?;
        shared.server = Some(started.0);
        started
    };
    let last = child.stderr.take().map(last_line).unwrap_or_default();
    children.wait(pid);
    lock(shared).server = None;
    ensure!(!children.is_closed(), Closed);
    bail!("the server ended: {last}");
}

/// Reads to the end; the last words say why the server ended, without control characters, which
/// a stranger on the network might have put there.
fn last_line(output: impl Read) -> String {
    let mut reader = BufReader::new(output);
    let mut last = String::new();
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                last = text.chars().filter(|character| !character.is_control()).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_fingerprint() {
        let text = "Generating 256 bit ed25519 key, this may take a while...\n\
                    Public key portion is:\nssh-ed25519 AAAA root@(none)\nFingerprint: SHA256:abc+/\n";
        assert_eq!(fingerprint(text).as_deref(), Some("SHA256:abc+/"));
        assert_eq!(fingerprint("Fingerprint: md5 00:11"), None);
    }

    #[test]
    fn keeps_the_last_words_without_control_characters() {
        assert_eq!(last_line(b"one\nt\x1b[2Jwo\n".as_slice()), "t[2Jwo");
        assert_eq!(last_line(b"".as_slice()), "");
    }
}
