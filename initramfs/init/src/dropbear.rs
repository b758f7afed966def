//! SSH into the initramfs: it shows the boot state and does nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::authorized_keys;
use crate::backoff::Backoff;
use crate::boot_log::BootLog;
use crate::children::Children;
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
        let fingerprint = make_host_key(children)?;
        let (children, log_there) = (Arc::clone(children), Arc::clone(log));
        thread::Builder::new()
            .name("dropbear".to_owned())
            .spawn(move || keep_running(&children, &log_there))
            .context("cannot start a thread")?;
        self.running = true;
        log.milestone("dropbear", &format!("port {PORT} {fingerprint}"));
        Ok(())
    }
}

/// A host key of this boot, in memory only; its fingerprint.
fn make_host_key(children: &Children) -> anyhow::Result<String> {
    let _ = fs::remove_file(HOST_KEY); // of an attempt before; dropbearkey overwrites nothing
    let mut command = Command::new("/usr/bin/dropbearkey");
    command.args(["-t", "ed25519", "-f", HOST_KEY]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (pid, mut child) = children.spawn(&mut command)?;
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(LONGEST_LINE).read_to_string(&mut text).context("cannot read from dropbearkey")?;
    }
    let status = children.wait(pid);
    ensure!(status.is_some_and(|status| status.exit_status() == Some(0)), "dropbearkey could not make a host key");
    fingerprint(&text).context("dropbearkey printed no SHA256 fingerprint")
}

fn fingerprint(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned)
}

/// Starts the server, and again whenever it ends, until PID 1 becomes another program.
fn keep_running(children: &Children, log: &BootLog) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        if let Err(error) = serve(children, log) {
            log.say(&format!("{error:#}"));
        }
        thread::sleep(backoff.pause());
    }
}

fn serve(children: &Children, log: &BootLog) -> anyhow::Result<()> {
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
    if let Some(errors) = child.stderr.take() {
        follow(errors, log);
    }
    children.wait(pid);
    Ok(())
}

/// Dropbear's words go among the messages: who asked is worth knowing.
fn follow(errors: impl Read, log: &BootLog) {
    let mut reader = BufReader::new(errors);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                log.note(text.trim_end());
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
}
