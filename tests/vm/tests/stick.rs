//! Machines boot from USB sticks that `meadow image flash` wrote.
//!
//! Few tests: each boot costs time.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use meadow_rack::cluster::NodeRow;
use meadow_rack::progress::Progress;
use meadow_rack::qemu::stick_serial;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site, paths};
use meadow_tests_vm::{Admin, BOOT, disk, milestone};

/// The first one gets a fixed address and is installed; the second one asks DHCP.
const FIRMWARE: [Firmware; 2] = [Firmware::BiosPxe, Firmware::UefiPxe];
const PASSPHRASE: &str = "correct horse battery";
/// Last number of the fixed address, which the router gives to nobody.
const FIXED: u8 = 21;
/// An address in a VLAN in which nobody else is: the kernels of build machines know none.
const TAGGED: &str = "10.88.7.9/24";

struct Story {
    site: Site,
    admin: Admin,
    progress: Progress,
}

impl Story {
    /// Runs `meadow` on the seed, as its admin.
    fn meadow(&self, arguments: &[&str]) -> Output {
        self.site.seed().meadow().expect("a context").args(arguments).output().expect("meadow runs")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.meadow(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn stick(&self, node: &str) -> PathBuf {
        self.site.rack().run().file(format!("{node}.stick"))
    }

    /// Plugs in a stick with these options.
    fn write_stick(&mut self, number: usize, options: &[&str]) {
        let (stick, image) = (self.stick(&format!("node-{number}")), paths::image().join("stick.img"));
        let (to, image) = (stick.display().to_string(), image.display().to_string());
        self.ok(&[&["image", "flash", "--to", &to, "--image", &image], options].concat());
        self.site.rack_mut().machine(number).expect("there").plug_in(stick);
    }

    fn nodes(&self) -> Vec<NodeRow> {
        self.site.cluster().nodes().expect("the cluster answers")
    }

    fn node(&self, name: &str) -> NodeRow {
        self.nodes().into_iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    fn wait_ready(&mut self) {
        let ready = self.site.wait_ready(BOOT, &mut self.progress);
        ready.unwrap_or_else(|error| {
            let logs: Vec<_> = self.site.rack().machines().iter().map(|machine| machine.milestones()).collect();
            panic!("{error:#}; {logs:?}")
        });
    }

    /// A milestone of the boot that runs now.
    fn wait_stage(&mut self, number: usize, stage: &str) -> String {
        let reached = self.site.until(stage, BOOT, |site| milestone(site.rack_mut().machine(number)?, stage));
        reached.unwrap_or_else(|error| panic!("{error:#}; {:?}", self.site.rack().machines()[number - 1].milestones()))
    }

    fn secret(&self, name: &str) -> String {
        let file = self.site.rack().run().file(name);
        fs::write(&file, PASSPHRASE).expect("written");
        file.display().to_string()
    }
}

/// Nobody here serves PXE or an image.
#[test]
fn machines_join_from_sticks_and_one_installs_itself_from_its_stick() {
    let mut progress = Progress::default();
    let folder = tempfile::tempdir().expect("a folder");
    let admin = Admin::create(folder.path()).expect("a key");
    let authorized_keys = vec![admin.public_key().expect("a key")];
    let config = SeedConfig { authorized_keys, pxe: false, ..SeedConfig::default() };
    let site = Site::build(&RackConfig::cycled(2, &FIRMWARE), &config, &mut progress).expect("a site");
    let mut story = Story { site, admin, progress };

    story.progress.line("meadow image flash writes two sticks");
    let subnet = story.site.rack().lan().subnet();
    let mac = story.site.rack().machines()[0].hardware().mac.clone();
    let fixed = format!("{mac}={}/24,{}", subnet.host(FIXED), subnet.host(1));
    let joins = |name| ["--token", "new", "--name", name];
    let installs = ["--network", &fixed, "--action", "install", "--disk", "node-1"];
    story.write_stick(1, &[&joins("node-1")[..], &installs].concat());
    story.write_stick(2, &joins("node-2"));
    let shown = story.ok(&["image", "seed", &story.stick("node-1").display().to_string(), "--show", "-o", "json"]);
    assert!(shown.contains(&fixed) && shown.contains("ssh-ed25519") && !shown.contains("meadow-join"), "{shown}");
    let written = disk::digest(&story.stick("node-1")).expect("a digest");

    story.progress.line("both boot from them and join");
    story.site.rack_mut().power_on_all().expect("power");
    story.wait_ready();
    let own = format!("network eth0 {}/24 fixed", subnet.host(FIXED));
    story.wait_stage(1, &own);
    assert!(story.ok(&["node", "ls", "-o", "json"]).matches("\"ephemeral\": true").count() == 2);
    let before = story.node("node-1");

    story.progress.line("the stick itself is no place to install to; the disk is, with what is on the stick");
    let refused = story.meadow(&["--no-input", "node", "install", "node-1", "--disk", &stick_serial("node-1")]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is a Meadow stick"), "{refused:?}");
    let file = story.secret("passphrase");
    let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file];
    story.site.rack_mut().machine(1).expect("there").expect_restart();
    story.ok(&[&["node", "install", "node-1", "--disk", "node-1"][..], &consent].concat());
    assert_eq!(disk::digest(&story.stick("node-1")).expect("a digest"), written, "nobody writes to a stick");

    story.progress.line("the stick that is left in boots the disk that it names");
    story.wait_stage(1, "unlock waiting node-1");

    story.progress.line("node-1 boots from its disk without the stick; node-2 restarts with a token that is used up");
    let machine = story.site.rack_mut().machine(1).expect("there");
    machine.power_off().expect("off");
    machine.pull_stick();
    machine.boot_from_disk();
    story.site.rack_mut().power_on(1).expect("power");
    story.site.rack_mut().machine(2).expect("there").reset().expect("reset");
    story.wait_stage(1, "dropbear");
    let key = story.admin.private_key().display().to_string();
    story.ok(&["unlock", "node-1", "--passphrase-file", &file, "--identity", &key]);
    let pending = |site: &mut Site| Ok(site.cluster().machines()?.into_iter().find(|m| m.phase == "Pending"));
    let waits =
        story.site.until("a machine that waits for a person", BOOT, pending).expect("it asks without the token");
    assert!(waits.hints.iter().any(|hint| hint.contains("looks like node-2")), "{waits:?}");
    let code = waits.code.expect("a code");
    story.ok(&["--no-input", "machine", "approve", &waits.name, "--replaces", "node-2", "--code", &code, "--no-wait"]);
    story.wait_ready();
    let after = story.node("node-1");
    assert_eq!((after.fingerprint, after.address), (before.fingerprint, before.address), "the same node");
    story.wait_stage(1, &own);
}

/// One finds its cluster by the boot server on its LAN; the other one takes its root from there, and is in a VLAN too.
#[test]
fn a_stick_without_a_seed_asks_the_lan_and_another_one_takes_its_root_from_there() {
    let mut progress = Progress::default();
    let folder = tempfile::tempdir().expect("a folder");
    let admin = Admin::create(folder.path()).expect("a key");
    let site = Site::build(&RackConfig::cycled(2, &[Firmware::BiosPxe]), &SeedConfig::default(), &mut progress);
    let mut story = Story { site: site.expect("a site"), admin, progress };
    story.write_stick(1, &[]);
    let tagged = format!("eth0.7={TAGGED}");
    let networks = ["--network", "*=dhcp", "--network", &tagged];
    story.write_stick(2, &[&["--token", "new", "--name", "node-2", "--action", "network"][..], &networks].concat());
    let mac = story.site.rack().machines()[0].hardware().mac.clone();
    story.site.cluster().arm(&mac, "node-1").expect("armed");

    story.site.rack_mut().power_on_all().expect("power");
    story.wait_stage(2, &format!("network eth0.7 {TAGGED} fixed"));
    story.wait_ready();
    let root = |story: &Story, number: usize| {
        let milestones = story.site.rack().machines()[number - 1].milestones().expect("a log");
        milestones.iter().any(|milestone| milestone.starts_with("root-download"))
    };
    assert!(!root(&story, 1) && root(&story, 2), "only one root came over the network");
}
