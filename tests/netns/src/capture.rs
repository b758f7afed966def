//! DHCP that reaches a card, as a stock tcpdump reads it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::wait;

use crate::PATIENCE;

/// DHCP with and without a VLAN tag: behind `vlan`, tcpdump looks at what is in one.
const DHCP: &str = "udp port 67 or udp port 68 or (vlan and (udp port 67 or udp port 68))";

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    _tcpdump: Program,
    log: PathBuf,
}

impl Capture {
    /// Begins on this card of a namespace, and waits until it listens; what it prints goes to the file `log` of the run.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn begin(run: &mut RunDir, namespace: &Namespace, card: &str, log: &str) -> Result<Self> {
        let log = run.file(log);
        let mut command = namespace.command("tcpdump");
        // With the Ethernet header, for VLAN tags; each packet at once.
        command.args(["-i", card, "-n", "-e", "-vv", "--immediate-mode", "-l", "-s", "0", DHCP]);
        let tcpdump = namespace.start(run, command, &log)?;
        wait::until("tcpdump", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("listening on").then_some(())))?;
        Ok(Self { _tcpdump: tcpdump, log })
    }

    /// All packets so far, each as one text.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub fn packets(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log)?;
        let mut packets: Vec<String> = Vec::new();
        for line in text.lines() {
            if !line.starts_with(char::is_whitespace) {
                packets.push(String::new());
            }
            if let Some(packet) = packets.last_mut() {
                packet.push_str(line);
                packet.push('\n');
            }
        }
        Ok(packets)
    }

    /// The packets of a server or relay so far.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub fn from(&self, server: &str) -> Result<Vec<String>> {
        let sent = format!(" {server}.67 > ");
        Ok(self.packets()?.into_iter().filter(|packet| packet.contains(&sent)).collect())
    }

    /// Waits for the first packet of a server or relay that has `part` in it.
    ///
    /// # Errors
    /// When none comes, with what came instead.
    pub fn wait_for(&self, server: &str, part: &str) -> Result<String> {
        let mut before = 0;
        let found = wait::until(&format!("a packet of {server} with {part:?}"), PATIENCE, || {
            // It writes line by line: what did not grow between two looks is whole.
            let length = fs::metadata(&self.log)?.len();
            let is_whole = std::mem::replace(&mut before, length) == length;
            let packets = if is_whole { self.from(server)? } else { Vec::new() };
            Ok(packets.into_iter().find(|packet| packet.contains(part)))
        });
        found.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }
}
