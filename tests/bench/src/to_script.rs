//! Seconds from firmware's first DISCOVER until its boot script runs, beside dnsmasq as proxyDHCP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::progress::Progress;
use meadow_rack::{Firmware, Rack, RackConfig, interrupt, paths, wait};

use crate::boot::LIMIT;
use crate::downloads;
use crate::measure::{LEAST_ROUNDS, Measure};

/// What the script says, without being there in one piece.
const SCRIPT: &str = "#!ipxe\necho the script ${undefined}runs\nsleep 3600\n";
const SAID: &str = "the script runs";
/// What names the script in a capture: a connection to our HTTP server, or a request of TFTP.
const SCRIPT_ASKED: [&str; 2] = [".7480: Flags [S]", "RRQ \"boot.ipxe\""];
const DISCOVER: &str = "BOOTP/DHCP, Request";
/// Firmware, its name, and the goal in seconds.
const KINDS: [(Firmware, &str, f64); 2] =
    [(Firmware::BiosPxe, "BIOS, iPXE of 2019 in the card's ROM", 1.0), (Firmware::UefiPxe, "UEFI, `snponly.efi`", 4.5)];

/// A machine in a rack with one of the servers.
struct Stand {
    rack: Rack,
    capture: PathBuf,
    _server: Box<dyn std::any::Any>,
    _sniffer: Program,
}

/// # Errors
/// When a server does not start or a machine does not boot.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let rounds = rounds.max(LEAST_ROUNDS);
    let mut measures = Vec::new();
    for (firmware, name, goal) in KINDS {
        let (mut own, mut peer) = (Stand::own(firmware)?, Stand::dnsmasq(firmware)?);
        // The router pings an address for 3 s before it offers it for the first time: that is nobody's merit.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            progress.line(&format!("{name}: to the script, round {round} of {rounds}"));
            for (stand, times) in [(&mut own, &mut ours), (&mut peer, &mut theirs)] {
                interrupt::check()?;
                let seconds = stand.boot(round == 0).with_context(|| format!("{name}, round {round}"))?;
                if round > 0 {
                    times.push(seconds);
                }
            }
        }
        let ratios = ours.iter().zip(&theirs).map(|(own, peer)| own / peer).collect();
        measures.push(Measure::rounds(format!("{name}: meadow-pxe"), "s", ours).at_most(goal));
        measures.push(Measure::rounds(format!("{name}: dnsmasq"), "s", theirs));
        measures.push(Measure::rounds(format!("{name}: meadow-pxe ÷ dnsmasq"), "x", ratios));
    }
    Ok(measures)
}

impl Stand {
    fn own(firmware: Firmware) -> Result<Self> {
        Self::build(firmware, |rack, seed| {
            let (mac, script) = (rack.machine(1)?.hardware().mac.clone(), rack.run().file("own.ipxe"));
            fs::write(&script, SCRIPT)?;
            let image = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
            let settings = format!(
                "interface = \"eth0\"\nartifacts = \"{}\"\n[[machine]]\nmac = \"{mac}\"\npolicy = \"script\"\nscript_file = \
                 \"{}\"\n",
                image.display(),
                script.display()
            );
            let server = BootServer::start(rack.parts().0, seed, &settings)?;
            downloads::wait_served(seed, rack.lan().subnet().host(2), "ipxe/snponly.efi")?;
            Ok(Box::new(server))
        })
    }

    fn dnsmasq(firmware: Firmware) -> Result<Self> {
        Self::build(firmware, |rack, seed| {
            let folder = rack.run().file("tftp");
            fs::create_dir(&folder)?;
            fs::write(folder.join("boot.ipxe"), SCRIPT)?;
            for name in ["undionly.kpxe", "snponly.efi"] {
                fs::copy(paths::image().join("ipxe").join(name), folder.join(name)).context("there is no image")?;
            }
            let log = rack.run().file("peer.log");
            let mut command = seed.command("dnsmasq");
            command.args(peer_arguments(&folder, &rack.lan().subnet().host(0).to_string()));
            let server = seed.start(rack.parts().0, command, &log)?;
            wait::until("dnsmasq", LIMIT, || Ok(fs::read_to_string(&log)?.contains("TFTP root").then_some(())))?;
            Ok(Box::new(server))
        })
    }

    fn build(
        firmware: Firmware,
        start: impl FnOnce(&mut Rack, &Namespace) -> Result<Box<dyn std::any::Any>>,
    ) -> Result<Self> {
        let mut rack = Rack::build(&RackConfig { firmware: vec![firmware], memory_mib: 512 })?;
        let seed = rack.computer_at("seed", 2)?;
        let server = start(&mut rack, &seed)?;
        let capture = rack.run().file("capture.txt");
        let mut sniffer: Command = seed.command("tcpdump");
        sniffer.args(["-i", "eth0", "-nn", "-tt", "-l", "--immediate-mode"]);
        let sniffer = seed.start(rack.parts().0, sniffer, &capture)?;
        wait::until("tcpdump", LIMIT, || Ok(fs::read_to_string(&capture)?.contains("listening on").then_some(())))?;
        Ok(Self { rack, capture, _server: server, _sniffer: sniffer })
    }

    /// Boots once, and gives the seconds without the start of the boot loader.
    fn boot(&mut self, first: bool) -> Result<f64> {
        let before = fs::metadata(&self.capture)?.len();
        if first {
            self.rack.power_on(1)?;
        } else {
            self.rack.machine(1)?.reset()?;
        }
        let begun = self.rack.machine(1)?.serial().text_from(0)?.matches(SAID).count();
        wait::until(SAID, LIMIT, || {
            self.rack.look_after()?;
            let text = self.rack.machine(1)?.serial().text_from(0)?;
            Ok((text.matches(SAID).count() > begun).then_some(()))
        })?;
        // What tcpdump has seen may not be written yet.
        let new = || -> Result<String> {
            let text = fs::read(&self.capture)?;
            Ok(String::from_utf8_lossy(text.get(usize::try_from(before)?..).unwrap_or_default()).into_owned())
        };
        wait::until("the request in the capture", LIMIT, || Ok(seconds(&new()?).ok()))
    }
}

fn peer_arguments(folder: &Path, subnet: &str) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-"]
            .iter()
            .chain(&["--port=0", "--interface=eth0", "--bind-interfaces", "--user=root", "--enable-tftp"])
            .chain(&["--dhcp-match=set:ipxe,175"])
            .map(|&argument| argument.to_owned())
            .collect();
    arguments.push(format!("--tftp-root={}", folder.display()));
    arguments.push(format!("--dhcp-range={subnet},proxy"));
    for (system, loader) in [("x86PC", "undionly.kpxe"), ("X86-64_EFI", "snponly.efi"), ("BC_EFI", "snponly.efi")] {
        arguments.push(format!("--pxe-service=tag:!ipxe,{system},boot,{loader}"));
        arguments.push(format!("--pxe-service=tag:ipxe,{system},boot,boot.ipxe"));
    }
    arguments
}

/// From the first DISCOVER to the script's request, without the time from the loader's last packet to its own first DISCOVER.
fn seconds(capture: &str) -> Result<f64> {
    let at = |line: &str| line.split(' ').next().and_then(|time| time.parse::<f64>().ok());
    let lines: Vec<(f64, &str)> = capture.lines().filter_map(|line| Some((at(line)?, line))).collect();
    let first = lines.iter().find(|(_, line)| line.contains(DISCOVER)).context("no DISCOVER")?.0;
    let asked = |line: &str| SCRIPT_ASKED.iter().any(|text| line.contains(text));
    let script = lines.iter().position(|(_, line)| asked(line)).context("nobody asked for the script")?;
    let before = lines.get(..script).unwrap_or_default();
    let total = lines.get(script).map_or(f64::NAN, |(time, _)| time - first);
    // A loader's transfer is over when its program asks DHCP for itself.
    let Some(loader) = before.iter().rposition(|(_, line)| line.contains("RRQ \"")) else { return Ok(total) };
    let rest = before.get(loader..).unwrap_or_default();
    let own = rest.iter().position(|(_, line)| line.contains(DISCOVER)).context("the loader asked for nothing")?;
    ensure!(own > 0, "a transfer without a packet");
    let pause = rest.get(own).map_or(0.0, |(time, _)| *time) - rest.get(own - 1).map_or(0.0, |(time, _)| *time);
    Ok(total - pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_the_loader_does_not_count() {
        let rom = "tcpdump: listening on eth0\n\
            10.0 IP 0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request from 52:54:00:00:00:01, length 400\n\
            10.5 IP 10.77.0.60.100 > 10.77.0.2.7480: Flags [S], seq 1\n";
        assert!((seconds(rom).expect("a time") - 0.5).abs() < 1e-9);
        let chained = "10.0 IP 0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request from 52:54:00:00:00:01, length 347\n\
            13.5 IP 10.77.0.60.1 > 10.77.0.2.69: TFTP, length 40, RRQ \"snponly.efi\" octet\n\
            13.7 IP 10.77.0.60.1 > 10.77.0.2.4000: UDP, length 4\n\
            15.7 IP 0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request from 52:54:00:00:00:01, length 400\n\
            16.0 IP 10.77.0.60.2 > 10.77.0.2.69: TFTP, length 40, RRQ \"boot.ipxe\" octet\n";
        assert!((seconds(chained).expect("a time") - 4.0).abs() < 1e-9);
        assert!(seconds("").is_err());
    }
}
