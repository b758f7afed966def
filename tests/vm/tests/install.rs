//! Nodes that booted over the network install themselves onto their disks, and come back as the same nodes once their
//! state was opened over SSH.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use meadow_rack::cluster::NodeRow;
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site};
use meadow_tests_vm::{Admin, BOOT, disk, milestone};

/// BIOS by the iPXE in the card's ROM, UEFI by its own PXE.
const FIRMWARE: [Firmware; 2] = [Firmware::BiosPxe, Firmware::UefiPxe];
const PASSPHRASE: &str = "correct horse battery";

struct Story {
    site: Site,
    admin: Admin,
    progress: Progress,
}

impl Story {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.site.rack().run().file(name);
        fs::write(&file, text).expect("written");
        file
    }

    /// Runs `meadow` on the seed.
    fn meadow(&self, arguments: &[&str]) -> Output {
        self.site.seed().meadow().expect("a context").args(arguments).output().expect("meadow runs")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.meadow(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn nodes(&self) -> Vec<NodeRow> {
        self.site.cluster().nodes().expect("the cluster answers")
    }

    /// Waits until each of these machines has reached a stage of the boot that runs now.
    fn wait_stage(&mut self, numbers: &[usize], stage: &str) {
        let reached = self.site.until(stage, BOOT, |site| {
            for number in numbers {
                if milestone(site.rack_mut().machine(*number)?, stage)?.is_none() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        });
        reached.unwrap_or_else(|error| {
            let logs: Vec<_> = self.site.rack().machines().iter().map(|m| m.milestones()).collect();
            panic!("{error:#}; {logs:?}")
        });
    }

    fn unlock(&self, node: &str, secret: &str) -> Output {
        let file = self.file(&format!("{node}.secret"), secret);
        let (file, key) = (file.display().to_string(), self.admin.private_key().display().to_string());
        self.meadow(&["unlock", node, "--passphrase-file", &file, "--identity", &key])
    }

    fn install(&self, node: &str) -> String {
        let file = self.file("passphrase", PASSPHRASE).display().to_string();
        let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file, "--no-reboot"];
        let mut arguments = vec!["node", "install", node, "--disk", node];
        arguments.extend(consent);
        self.ok(&arguments).trim().to_owned()
    }
}

#[test]
fn a_node_installs_itself_is_unlocked_over_ssh_and_comes_back_as_itself() {
    let mut progress = Progress::default();
    let folder = tempfile::tempdir().expect("a folder");
    let admin = Admin::create(folder.path()).expect("a key");
    let config = SeedConfig { authorized_keys: vec![admin.public_key().expect("a key")], ..SeedConfig::default() };
    let site = Site::build(&RackConfig::cycled(2, &FIRMWARE), &config, &mut progress).expect("a site");
    let mut story = Story { site, admin, progress };
    disk::put_foreign_data(&story.site.rack().machines()[0].hardware().disk).expect("data");
    story.site.arm_all().expect("armed");
    story.site.rack_mut().power_on_all().expect("power");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready nodes in RAM");
    let before = story.nodes();

    story.progress.line("foreign data is shown, and left alone without consent");
    let digest = disk::digest(&story.site.rack().machines()[0].hardware().disk).expect("a digest");
    let refused = story.meadow(&["--no-input", "node", "install", "node-1", "--disk", "node-1"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let shown = String::from_utf8_lossy(&refused.stderr);
    assert!(shown.contains("LOST:") && shown.contains("wipe-disk"), "{shown}");
    let other = story.meadow(&["--no-input", "node", "install", "node-1", "--disk", "node-2"]);
    assert_eq!(other.status.code(), Some(4), "{other:?}");
    assert_eq!(disk::digest(&story.site.rack().machines()[0].hardware().disk).expect("a digest"), digest);

    story.progress.line("both are installed");
    story.install("node-1");
    let recovery = story.install("node-2");
    assert!(!recovery.is_empty(), "a recovery key is shown");

    story.progress.line("both restart from their disks and wait for their passphrase");
    // One asks the network first and is left to its disk; the other one's boot order is changed by a person, since OVMF
    // waits for minutes for four kinds of network boot that nobody answers.
    story.site.rack_mut().machine(1).expect("there").expect_restart();
    story.ok(&["node", "reboot", "node-1", "--yes", "--accept-risk=reboot"]);
    let second = story.site.rack_mut().machine(2).expect("there");
    second.power_off().expect("off");
    second.boot_from_disk();
    story.site.rack_mut().power_on(2).expect("power");
    story.wait_stage(&[1, 2], "dropbear");
    let wrong = story.unlock("node-1", "a wrong passphrase");
    assert!(!wrong.status.success(), "{wrong:?}");
    for (node, secret) in [("node-1", PASSPHRASE), ("node-2", recovery.as_str())] {
        let opened = story.unlock(node, secret);
        assert!(opened.status.success(), "{opened:?}");
    }
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready again");
    let after = story.nodes();
    let who = |nodes: &[NodeRow]| -> Vec<(String, String, String)> {
        nodes.iter().map(|n| (n.name.clone(), n.fingerprint.clone(), n.address.clone())).collect()
    };
    assert_eq!(who(&after), who(&before), "the same nodes");

    story.progress.line("a power cut: it comes back once more, without a new enrolment");
    story.site.rack_mut().machine(1).expect("there").power_off().expect("off");
    story.site.rack_mut().power_on(1).expect("power");
    story.wait_stage(&[1], "dropbear");
    let opened = story.unlock("node-1", PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready once more");
    assert_eq!(who(&story.nodes()), who(&before));
}
