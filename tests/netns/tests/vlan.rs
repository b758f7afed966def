//! VLAN tags on one cable: the boot server's card with a VLAN on it, and machines in VLANs that are and are not its own. Tags
//! are written by the kernel where it knows VLANs, and else by the test; `tests/vm/tests/vlan.rs` has a kernel that does.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::lan::Lan;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::wait;
use meadow_tests_netns::{Artifacts, Capture, CarriedCard, PATIENCE, Ran, Way, write_whole_frames};

/// The network of VLAN 7, and that of VLAN 9, which is none of ours: of those that are for documentation (RFC 5737).
const OURS: &str = "198.51.100";
const FOREIGN: &str = "203.0.113";
/// What udhcpc tells its script.
const SCRIPT: &str = "#!/bin/sh\n\
    [ \"$1\" = bound ] && echo \"bound $ip by $serverid boot ${boot_file:-}${bootfile:-}\"\n\
    exit 0\n";
/// Firmware that boots over HTTP: it is told a URL.
const FIRMWARE: [&str; 4] = ["-V", "HTTPClient:Arch:00016:UNDI:003001", "-x", "0x5d:0010"];

/// A boot server that gives out addresses on its card and in VLAN 7 of it.
struct Trunk {
    // Dropped from top to bottom: programs first, the folder's lock last.
    server: BootServer,
    _card: CarriedCard,
    artifacts: Artifacts,
    lan: Lan,
    run: RunDir,
}

/// A machine on the trunk.
struct Machine {
    // Dropped from top to bottom.
    foreign: Option<Program>,
    capture: Capture,
    _card: Option<CarriedCard>,
    card: &'static str,
    namespace: Namespace,
}

impl Trunk {
    fn build() -> Result<Self> {
        let mut run = RunDir::create()?;
        let lan = Lan::create(&mut run)?;
        let seed = lan.computer_at(&mut run, "seed", 2)?;
        write_whole_frames(&seed, "eth0")?;
        let card = CarriedCard::create(&seed, "eth0", "eth0.7", Way::Vlan(7))?;
        seed.ip(&["addr", "add", &format!("{OURS}.2/24"), "dev", "eth0.7"])?;
        let artifacts = Artifacts::write(&run.file("image"))?;
        let (subnet, folder) = (lan.subnet(), artifacts.folder().display());
        let settings = format!(
            "interfaces = [\"eth0\", \"eth0.7\"]\nopen_minutes = 60\nartifacts = \"{folder}\"\nlease_file = \"{}\"\n\
             [[dhcp]]\nsubnet = \"{subnet}\"\npool = \"{}-{}\"\n\
             [[dhcp]]\nsubnet = \"{OURS}.0/24\"\npool = \"{OURS}.100-{OURS}.149\"\n",
            run.file("leases").display(),
            subnet.host(100),
            subnet.host(149),
        );
        let script = run.file("udhcpc.sh");
        fs::write(&script, SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        let mut server = BootServer::start(&mut run, &seed, &settings)?;
        for interface in ["eth0:", "eth0.7:"] {
            server.wait_for(&format!("nobody else gives out addresses on {interface} full DHCP begins"), PATIENCE)?;
        }
        run.keep_logs(false);
        Ok(Self { server, _card: card, artifacts, lan, run })
    }

    /// A machine that speaks by this way, or without any tag.
    fn machine(&mut self, role: &str, way: Option<Way>) -> Result<Machine> {
        let namespace = self.lan.computer(&mut self.run, role)?;
        let card = way.map(|way| CarriedCard::create(&namespace, "eth0", "boot", way)).transpose()?;
        let name = if card.is_some() { "boot" } else { "eth0" };
        // On the cable, where tags are seen.
        let capture = Capture::begin(&mut self.run, &namespace, "eth0", &format!("{role}-capture.log"))?;
        Ok(Machine { foreign: None, capture, _card: card, card: name, namespace })
    }

    /// What the machine gets by DHCP.
    fn udhcpc(&self, machine: &Machine, options: &[&str]) -> Result<Ran> {
        let mut command = machine.namespace.command("udhcpc");
        command
            .args(["-i", machine.card, "-f", "-n", "-q", "-T", "1", "-A", "1", "-s"])
            .arg(self.run.file("udhcpc.sh"));
        Ran::of(command.args(options))
    }

    fn lease(&self, machine: &Machine, options: &[&str]) -> Result<String> {
        let ran = self.udhcpc(machine, &[&["-t", "10"], options].concat())?;
        let bound = ran.stdout.lines().find(|line| line.starts_with("bound")).map(str::to_owned);
        bound.with_context(|| format!("no lease: {ran:?}; {}", self.server.log().unwrap_or_default()))
    }

    /// The machine boots by this address of the server's and is told of no other one.
    fn boots(&self, machine: &Machine, network: &str) -> Result<()> {
        let (own, file) = (format!("{network}.2"), self.run.file("fetched"));
        let bound = self.lease(machine, &FIRMWARE)?;
        ensure!(bound.contains(&format!("bound {network}.1")), "{bound}");
        ensure!(bound.contains(&format!("by {own} boot http://{own}:7480/")), "{bound}");
        machine.namespace.ip(&["addr", "add", &format!("{network}.3/24"), "dev", machine.card])?;
        let fetch = |program: &str, arguments: &[&str]| -> Result<Vec<u8>> {
            Ran::of(machine.namespace.command(program).args(arguments))?.success()?;
            Ok(fs::read(&file)?)
        };
        let to = file.to_string_lossy();
        let url = format!("http://{own}:7480/ipxe/52-54-00-00-00-77/boot.ipxe");
        let script = String::from_utf8(fetch("curl", &["-sSf", "-o", &to, &url])?)?;
        let urls = script.matches("http://").count();
        ensure!(urls > 0 && script.matches(&format!("http://{own}:7480/")).count() == urls, "{script}");
        // Blocks that need the whole cable: 1500 bytes and the tag.
        let url = format!("tftp://{own}/ipxe/snponly.efi");
        let program = fetch("curl", &["-sSf", "--tftp-blksize", "1468", "-o", &to, &url])?;
        ensure!(program == self.artifacts.read("ipxe/snponly.efi")?, "{} bytes by TFTP", program.len());
        Ok(())
    }
}

impl Machine {
    /// What a server has said to it, or to others, up to its first acknowledgement.
    fn answers(&self, server: &str) -> Result<Vec<String>> {
        self.capture.wait_for(server, "ACK")?;
        self.capture.from(server)
    }

    /// Gives out addresses in the foreign network with a stock dnsmasq.
    fn serve(&mut self, run: &mut RunDir) -> Result<()> {
        self.namespace.ip(&["addr", "add", &format!("{FOREIGN}.1/24"), "dev", self.card])?;
        let log = run.file("foreign.log");
        let mut command = self.namespace.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--no-ping"])
            .args(["--port=0", &format!("--interface={}", self.card), "--bind-interfaces"])
            .arg(format!("--dhcp-range={FOREIGN}.50,{FOREIGN}.60,1h"))
            .arg(format!("--dhcp-leasefile={}", run.file("foreign.leases").display()));
        self.foreign = Some(self.namespace.start(run, command, &log)?);
        wait::until("dnsmasq", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("DHCP, IP range").then_some(())))
    }
}

fn is_tagged(packet: &str) -> bool {
    packet.contains("802.1Q")
}

#[test]
fn a_card_and_a_vlan_on_it_are_served_each_by_itself_and_with_its_own_tag() {
    let mut trunk = Trunk::build().expect("namespaces");
    let in_vlan = trunk.machine("tagged", Some(Way::Vlan(7))).expect("a machine");
    let plain = trunk.machine("plain", None).expect("a machine");
    let network = trunk.lan.subnet().host(2).to_string();
    let network = network.strip_suffix(".2").expect("an address").to_owned();
    trunk.boots(&in_vlan, OURS).expect("in the VLAN");
    trunk.boots(&plain, &network).expect("without a tag");
    let answers = in_vlan.answers(&format!("{OURS}.2")).expect("a capture");
    assert!(answers.len() >= 2 && answers.iter().all(|packet| packet.contains("vlan 7, p 0")), "{answers:#?}");
    let answers = plain.answers(&format!("{network}.2")).expect("a capture");
    assert!(answers.len() >= 2 && !answers.iter().any(|packet| is_tagged(packet)), "{answers:#?}");
    let log = trunk.server.log().expect("a log");
    assert!(log.contains("seen on eth0 (HTTPClient") && log.contains("seen on eth0.7 (HTTPClient"), "{log}");
}

#[test]
fn what_goes_on_in_a_foreign_vlan_is_none_of_ours() {
    let mut trunk = Trunk::build().expect("namespaces");
    let nobody = trunk.machine("nobody", Some(Way::Vlan(8))).expect("a machine");
    let mut foreign = trunk.machine("foreign", Some(Way::Vlan(9))).expect("a computer");
    let theirs = trunk.machine("theirs", Some(Way::Vlan(9))).expect("a machine");
    let plain = trunk.machine("plain", None).expect("a machine");
    foreign.serve(&mut trunk.run).expect("dnsmasq");

    // Their server's answers go to all, as ours do, and its clients take no notice of us.
    let bound = trunk.lease(&theirs, &["-B"]).expect("a lease");
    assert!(bound.contains(&format!("by {FOREIGN}.1 ")), "{bound}");
    let answers = theirs.answers(&format!("{FOREIGN}.1")).expect("a capture");
    assert!(answers.iter().all(|packet| packet.contains("vlan 9, p 0")), "{answers:#?}");
    let ran = trunk.udhcpc(&nobody, &[&["-t", "2"], &FIRMWARE[..]].concat()).expect("udhcpc");
    assert_ne!(ran.code, Some(0), "{ran:?}");
    // Whatever the server does of all that, it has done when it answers this one.
    let bound = trunk.lease(&plain, &[]).expect("a lease");
    assert!(bound.contains(&format!("by {} ", trunk.lan.subnet().host(2))), "{bound}");
    for machine in [&nobody, &theirs] {
        // All hear what it was told, and nothing else of us; without a tag, as it asked.
        let answers = machine.answers(&trunk.lan.subnet().host(2).to_string()).expect("a capture");
        assert!(!answers.iter().any(|packet| is_tagged(packet)), "{answers:#?}");
        assert!(machine.capture.from(&format!("{OURS}.2")).expect("read").is_empty());
    }
    let log = trunk.server.log().expect("a log");
    assert!(!log.contains("another DHCP server") && !log.contains("seen on"), "{log}");
}

/// Some firmware gives all of its frames a priority, with a tag that names no VLAN.
#[test]
fn a_tag_for_the_priority_alone_is_no_vlan() {
    let mut trunk = Trunk::build().expect("namespaces");
    let machine = trunk.machine("prior", Some(Way::Priority(5))).expect("a machine");
    let network = trunk.lan.subnet().host(2).to_string();
    let network = network.strip_suffix(".2").expect("an address").to_owned();
    trunk.boots(&machine, &network).expect("with a priority");
    let answers = machine.answers(&format!("{network}.2")).expect("a capture");
    assert!(answers.len() >= 2 && !answers.iter().any(|packet| is_tagged(packet)), "{answers:#?}");
    let asked = machine.capture.packets().expect("read");
    assert!(asked.iter().any(|packet| packet.contains("vlan 0, p 5")), "{asked:#?}");
}
