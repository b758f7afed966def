//! SSH into the initramfs: it shows the boot state and does nothing else.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::authorized_keys;
use crate::backoff::Backoff;
use crate::boot_log::BootLog;
use crate::children::{Children, Closed};
use crate::system::write_private;

/// Not 22: that one belongs to the booted system.
pub const PORT: u16 = 2222;
const HOST_KEY: &str = "/run/meadow/dropbear-host-key";
const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";
const PROGRAM: &str = "/usr/sbin/dropbear";
/// The forced command; the same program is root's shell, by which Dropbear runs it.
const COMMAND: &str = "/bin/boot-state";
const LONGEST_LINE: u64 = 4096;

/// The server, started when there is a key that may look.
#[derive(Debug, Default)]
pub struct Dropbear {
    keys: Vec<String>,
    running: bool,
}

impl Dropbear {
    /// Lets these keys look, and starts the server with the first of them.
    ///
    /// # Errors
    /// If the server cannot be started; the boot goes on without it.
    pub fn allow(&mut self, keys: &[String], children: &Arc<Children>, log: &Arc<BootLog>) -> anyhow::Result<()> {
        if self.keys == keys {
            return Ok(());
        }
        let (text, left_out) = authorized_keys::render(keys);
        if left_out > 0 {
            log.say(&format!("{left_out} of the authorized keys are no public keys and were left out"));
        }
        write_private(AUTHORIZED_KEYS, text.as_bytes())?;
        self.keys = keys.to_vec();
        if text.is_empty() || self.running {
            return Ok(());
        }
        let (children, log) = (Arc::clone(children), Arc::clone(log));
        // Aside: making a host key waits for randomness, and the boot need not.
        thread::Builder::new()
            .name("dropbear".to_owned())
            .spawn(move || keep_running(&children, &log))
            .context("cannot start a thread")?;
        self.running = true;
        Ok(())
    }
}

/// Makes a host key and runs the server, and again whenever something fails, until PID 1 becomes
/// another program.
fn keep_running(children: &Children, log: &BootLog) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut known = false;
    loop {
        let Err(error) = announce(&mut known, children, log).and_then(|()| serve(children));
        if error.is::<Closed>() {
            return;
        }
        log.say(&format!("SSH is not there: {error:#}"));
        thread::sleep(backoff.pause());
    }
}

fn announce(known: &mut bool, children: &Children, log: &BootLog) -> anyhow::Result<()> {
    if !*known {
        let fingerprint = make_host_key(children)?;
        log.fact("dropbear", &format!("port {PORT} {fingerprint}"));
        *known = true;
    }
    Ok(())
}

/// Removes the host key: the booted system has no use for it, and `/run` goes on.
pub fn forget_host_key() {
    for path in [HOST_KEY, "/run/meadow/dropbear-host-key.pub"] {
        // There is none where no key was allowed.
        let _ = fs::remove_file(path);
    }
}

/// A host key of this boot, in memory only; its fingerprint.
fn make_host_key(children: &Children) -> anyhow::Result<String> {
    forget_host_key(); // of an attempt before; dropbearkey overwrites nothing
    let mut command = Command::new("/usr/bin/dropbearkey");
    command.args(["-t", "ed25519", "-f", HOST_KEY]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
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

fn serve(children: &Children) -> anyhow::Result<Infallible> {
    let mut command = Command::new(PROGRAM);
    command
        .args(["-F", "-E"]) // stay, and log to standard error
        .args(["-s", "-j", "-k", "-m"]) // no passwords, no forwarding either way, no message of the day
        .args(["-T", "3", "-I", "60"]) // attempts a connection, seconds of silence
        .args(["-p", &PORT.to_string(), "-r", HOST_KEY, "-P", "/run/meadow/dropbear.pid"])
        .args(["-c", COMMAND])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let (pid, mut child) = children.spawn(&mut command)?;
    let last = child.stderr.take().map(last_line).unwrap_or_default();
    children.wait(pid);
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
