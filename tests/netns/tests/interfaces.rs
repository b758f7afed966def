//! One boot server on two LANs at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::lan::Lan;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::{paths, wait};
use meadow_tests_netns::{Artifacts, Computer, PATIENCE, Site};
use serde_json::{Value, json};

/// What udhcpc tells its script.
const SCRIPT: &str = "#!/bin/sh\n\
    [ \"$1\" = bound ] && echo \"bound $ip by $serverid boot ${boot_file:-}${bootfile:-}\"\n\
    exit 0\n";
/// Firmware that boots over HTTP: it is told a URL.
const HTTP: &str = "HTTPClient:Arch:00016:UNDI:003001";

/// Two LANs with a machine on each, and a server with a card in both.
struct Sides {
    // Dropped from top to bottom: programs first, the folder's lock last.
    foreign: Option<Program>,
    server: BootServer,
    seed: Namespace,
    machines: [Namespace; 2],
    lans: [Lan; 2],
    run: RunDir,
}

impl Sides {
    fn build() -> Result<Self> {
        let mut run = RunDir::create()?;
        let lan = Lan::create(&mut run)?;
        let lans = [lan.second(&mut run)?, lan];
        let [other, one] = &lans;
        let seed = one.computer_at(&mut run, "seed", 2)?;
        other.plug_in(&seed, "eth1", 2)?;
        let machines = [one.computer(&mut run, "machine")?, other.computer(&mut run, "machine2")?];
        let artifacts = Artifacts::write(&run.file("image"))?;
        let mut settings = format!(
            "interfaces = [\"eth0\", \"eth1\"]\nopen_minutes = 60\nartifacts = \"{}\"\nlease_file = \"{}\"\n",
            artifacts.folder().display(),
            run.file("leases").display()
        );
        for lan in [one, other] {
            let subnet = lan.subnet();
            let (first, last) = (subnet.host(100), subnet.host(149));
            settings += &format!("[[dhcp]]\nsubnet = \"{subnet}\"\npool = \"{first}-{last}\"\n");
        }
        let script = run.file("udhcpc.sh");
        fs::write(&script, SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        let server = BootServer::start(&mut run, &seed, &settings)?;
        run.keep_logs(false);
        let [other, one] = lans;
        Ok(Self { foreign: None, server, seed, machines, lans: [one, other], run })
    }

    /// What the machine on this side gets as firmware that boots over HTTP.
    fn lease(&self, side: usize) -> Result<String> {
        self.lease_with(side, &["-V", HTTP, "-x", "0x5d:0010"])
    }

    /// What it gets as a system that runs. (udhcpc takes the first offer, were it one of a boot server without an address.)
    fn plain_lease(&self, side: usize) -> Result<String> {
        self.lease_with(side, &[])
    }

    fn lease_with(&self, side: usize, options: &[&str]) -> Result<String> {
        let output = self.machines[side]
            .command("udhcpc")
            .args(["-i", "eth0", "-f", "-n", "-q", "-T", "2", "-t", "10", "-B", "-s"])
            .arg(self.run.file("udhcpc.sh"))
            .args(options)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let bound = text.lines().find(|line| line.starts_with("bound")).map(str::to_owned);
        bound.with_context(|| format!("no lease: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// What somebody with an address on this side gets over HTTP.
    fn get(&self, side: usize, path: &str) -> Result<String> {
        let subnet = self.lans[side].subnet();
        self.machines[side].ip(&["addr", "replace", &format!("{}/24", subnet.host(3)), "dev", "eth0"])?;
        let url = format!("http://{}:7480/{path}", subnet.host(2));
        let output = self.machines[side].command("curl").args(["-sSf", &url]).output()?;
        ensure!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Everything that a machine is told on this side is of this side.
    fn serves_its_own(&self, side: usize) -> Result<()> {
        let own = self.lans[side].subnet().host(2).to_string();
        let bound = self.lease(side)?;
        ensure!(bound.contains(&format!("bound {}", self.lans[side].subnet().host(100))), "{bound}");
        ensure!(bound.contains(&format!("by {own} boot http://{own}:7480/")), "{bound}");
        let script = self.get(side, "ipxe/52-54-00-00-00-77/boot.ipxe")?;
        let urls = script.matches("http://").count();
        ensure!(urls > 0 && script.matches(&format!("http://{own}:7480/")).count() == urls, "{script}");
        Ok(())
    }

    /// Waits until the server has said so for the time with number `count`.
    fn said(&self, text: &str, count: usize) -> Result<()> {
        let said =
            wait::until(text, PATIENCE, || Ok((self.server.log()?.matches(text).count() >= count).then_some(())));
        said.with_context(|| self.server.log().unwrap_or_default())
    }

    /// Somebody else gives out addresses on the second side.
    fn start_foreign(&mut self) -> Result<()> {
        let lan = &self.lans[1];
        let router = lan.computer_at(&mut self.run, "router2", 1)?;
        let log = self.run.file("router2.log");
        let mut command = router.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--no-ping"])
            .args(["--port=0", "--interface=eth0", "--bind-interfaces"])
            .arg(format!("--dhcp-range={},{},1h", lan.subnet().host(50), lan.subnet().host(60)))
            .arg(format!("--dhcp-leasefile={}", self.run.file("router2.leases").display()));
        self.foreign = Some(router.start(&mut self.run, command, &log)?);
        wait::until("dnsmasq", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("DHCP, IP range").then_some(())))
    }
}

fn begins(interface: &str) -> String {
    format!("nobody else gives out addresses on {interface}: full DHCP begins")
}

#[test]
fn two_lans_are_served_at_once_each_by_itself() {
    let mut sides = Sides::build().expect("namespaces");
    for interface in ["eth0", "eth1"] {
        sides.said(&begins(interface), 1).expect("full DHCP");
    }
    for side in [0, 1] {
        sides.serves_its_own(side).expect("served");
    }

    // Whoever gives out addresses on one of them silences us there, and nowhere else.
    sides.start_foreign().expect("dnsmasq");
    // Makes it speak. A client that takes our offer gets no lease of it any more, and asks again.
    let _either = sides.lease(1);
    sides.said("another DHCP server was heard on eth1: full DHCP ends", 1).expect("silent");
    let router = sides.lans[1].subnet().host(1).to_string();
    let foreign = sides.plain_lease(1).expect("a lease");
    assert!(foreign.contains(&format!("by {router} ")), "{foreign}");
    sides.serves_its_own(0).expect("served");
    sides.said(&format!("{router} ("), 1).expect("named");
    let log = sides.server.log().expect("a log");
    assert!(!log.contains("heard on eth0") && log.contains("), gives out addresses on eth1"), "{log}");

    // A card that is pulled out takes its own side down only, and comes back by itself.
    sides.seed.ip(&["link", "del", "eth1"]).expect("pulled out");
    sides.said("interface eth1 changed: there is no interface eth1 yet", 1).expect("noticed");
    sides.serves_its_own(0).expect("served");
    sides.foreign = None;
    sides.lans[1].plug_in(&sides.seed, "eth1", 2).expect("plugged in");
    sides.said("serving eth1 from", 2).expect("served again");
    sides.said(&begins("eth1"), 2).expect("after a look at the wire");
    for side in [0, 1] {
        sides.serves_its_own(side).expect("served");
    }
    let log = sides.server.log().expect("a log");
    assert_eq!((log.matches("serving eth0 from").count(), log.matches(&begins("eth0")).count()), (1, 1), "{log}");
    assert!(log.contains("seen on eth0 (HTTPClient") && log.contains("seen on eth1 (HTTPClient"), "{log}");
}

/// A machine's card on both LANs, so that whichever side it is on counts.
const MAC: &str = "52:54:00:00:00:01";

#[test]
fn an_admin_sees_each_interface_and_reaches_machines_on_all() {
    let mut site = Site::build().expect("namespaces");
    let second = site.second_lan().expect("a second LAN");
    let one = site.computer("machine", 9).expect("a machine");
    let other = site.computer_on(&second, "machine2", 9).expect("a machine");
    for machine in [&one, &other] {
        machine.namespace().ip(&["link", "set", "eth0", "address", MAC]).expect("the card");
    }
    let mut seed = site.initialised().expect("a cluster");
    second.plug_in(seed.namespace(), "eth1", 2).expect("a second card");
    let settings = seed.root().join("etc/meadow/meadowd.toml");
    let text = fs::read_to_string(&settings).expect("settings");
    fs::write(&settings, text.replace("[\"eth0\"]", "[\"eth0\", \"eth1\"]")).expect("written");
    seed.start_agent(&mut site).expect("started");
    seed.wait_for_node("seed").expect("ready");

    let own = [seed.address(), second.subnet().host(2)].map(|address| json!(format!("http://{address}:7480/")));
    let urls = |seed: &Computer| {
        let status = seed.json(&["pxe", "status"]).expect("the status");
        [0, 1].map(|at| status["interfaces"][at]["base_url"].clone())
    };
    seed.until("both to be served", |seed| Ok((urls(seed) == own).then_some(()))).expect("served");
    let shown = seed.meadow(&["pxe", "status"]).expect("run").success().expect("shown").stdout;
    for (name, url) in ["eth0", "eth1"].iter().zip(&own) {
        assert!(shown.contains(&format!("{name} at {}", url.as_str().expect("text"))), "{shown}");
    }
    seed.meadow(&["machine", "boot", MAC, "image"]).expect("run").success().expect("known");
    it_is_woken_and_captured_on_both(&seed, [&one, &other]);

    seed.namespace().ip(&["link", "del", "eth1"]).expect("pulled out");
    seed.until("eth1 to be gone", |seed| Ok((urls(seed) == [own[0].clone(), Value::Null]).then_some(())))
        .expect("gone");
    let status = seed.json(&["pxe", "status"]).expect("the status");
    assert_eq!(status["serving"], true, "{status}");
    let problem = status["interfaces"][1]["problems"][0].as_str().expect("a problem");
    assert!(problem.contains("there is no interface eth1"), "{status}");
    let ran = seed.meadow(&["pxe", "doctor"]).expect("run");
    ran.assert_refused(1, &["eth1: interface", "eth1: cable", "eth1: address"]);
    assert!(!ran.stderr.contains("eth0:"), "{}", ran.stderr);
}

fn it_is_woken_and_captured_on_both(seed: &Computer, machines: [&Computer; 2]) {
    let file = seed.file("machine.pcap").display().to_string();
    let mut capture = seed.command(&paths::programs().join("meadow").to_string_lossy());
    capture.args(["pxe", "capture", MAC, "--to", &file, "--for", "1h"]);
    let capture = capture.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("meadow");
    let sniffers = machines.map(|machine| {
        let output = fs::File::create(machine.file("wake.log")).expect("a file");
        let mut tcpdump = machine.namespace().command("tcpdump");
        tcpdump.args(["-nn", "-x", "-l", "-U", "-i", "eth0", "udp port 9"]).stdout(output).stderr(Stdio::null());
        tcpdump.spawn().expect("tcpdump")
    });
    let woken = wait::until("the packet on both", PATIENCE, || {
        seed.meadow(&["machine", "wake", MAC])?.success()?;
        let heard =
            |machine: &Computer| Ok::<_, anyhow::Error>(!fs::read_to_string(machine.file("wake.log"))?.is_empty());
        Ok((heard(machines[0])? && heard(machines[1])?).then_some(()))
    });
    let caught = wait::until("both in the file", PATIENCE, || {
        for machine in machines {
            let gateway = machine.address().octets();
            let url = format!("http://{}.{}.{}.2:7480/ipxe/x", gateway[0], gateway[1], gateway[2]);
            machine.run("curl", &["-s", "-o", "/dev/null", &url])?;
        }
        let read = seed.namespace().command("tcpdump").args(["-nn", "-r", &file]).output()?;
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        let is_in = |machine: &Computer| text.contains(&format!("IP {}.", machine.address()));
        Ok((is_in(machines[0]) && is_in(machines[1])).then_some(()))
    });
    for mut program in sniffers.into_iter().chain([capture]) {
        program.kill().expect("ended");
        program.wait().expect("ended");
    }
    woken.expect("woken");
    caught.expect("captured");
}
