//! A rack with two nodes that something happens to, and what their admin does.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use meadow_rack::Site;
use meadow_rack::cluster::{MachineRow, NodeRow};
use meadow_rack::progress::Progress;
use meadow_tests_vm::{Admin, BOOT, milestone, node_disk};
use serde_json::Value;

pub(crate) const PASSPHRASE: &str = "correct horse battery";

pub(crate) struct Story {
    pub(crate) site: Site,
    pub(crate) admin: Admin,
    pub(crate) progress: Progress,
}

impl Story {
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.site.rack().run().file(name)
    }

    /// Runs `meadow` on the seed.
    pub(crate) fn meadow(&self, arguments: &[&str]) -> Output {
        self.site.seed().meadow().expect("a context").args(arguments).output().expect("meadow runs")
    }

    /// Begins to run `meadow` on the seed, for what takes as long as somebody has to do something else meanwhile.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.site.seed().meadow().expect("a context");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("meadow runs")
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.meadow(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn node(&self, name: &str) -> Option<NodeRow> {
        self.site.cluster().nodes().expect("the cluster answers").into_iter().find(|node| node.name == name)
    }

    /// Waits until this machine has reached a stage of the boot that runs now.
    pub(crate) fn wait_stage(&mut self, number: usize, stage: &str) {
        let reached = self.site.until(stage, BOOT, |site| milestone(site.rack_mut().machine(number)?, stage));
        reached.unwrap_or_else(|error| panic!("{error:#}; {:?}", self.site.rack().machines()[number - 1].milestones()));
    }

    pub(crate) fn wait_ready(&mut self, name: &str) -> NodeRow {
        let ready = self.site.until(&format!("{name} to be ready"), BOOT, |site| {
            Ok(site.cluster().nodes()?.into_iter().find(|node| node.name == name && node.is_ready()))
        });
        ready.unwrap_or_else(|error| {
            let logs: Vec<_> = self.site.rack().machines().iter().map(|m| m.milestones()).collect();
            panic!("{error:#}; {:?} {:?} {logs:?}", self.node(name), self.site.cluster().machines())
        })
    }

    /// Waits until a node says that it runs from the first of these slots and has blessed the second.
    pub(crate) fn wait_slots(&mut self, name: &str, wanted: (&str, &str)) {
        let reached = self.site.until("the slots", BOOT, |site| {
            let shown: Value = serde_json::from_slice(
                &site.seed().meadow()?.args(["node", "show", name, "-o", "json"]).output()?.stdout,
            )?;
            let disk = &shown["status"]["installed"];
            Ok((disk["running"] == wanted.0 && disk["blessed"] == wanted.1).then_some(()))
        });
        reached.unwrap_or_else(|error| panic!("{error:#}; {}", self.ok(&["node", "show", name, "-o", "json"])));
    }

    /// Waits until the computer with the MAC address of this machine asks to be let in.
    pub(crate) fn wait_pending(&mut self, number: usize) -> MachineRow {
        let mac = self.site.rack().machines()[number - 1].hardware().mac.clone();
        let asks = |machine: &MachineRow| machine.phase == "Pending" && machine.mac == mac;
        let pending = self.site.until("a machine that waits for a person", BOOT, |site| {
            Ok(site.cluster().machines()?.into_iter().find(asks))
        });
        pending.unwrap_or_else(|error| {
            let logs = self.site.rack().machines()[number - 1].milestones();
            panic!("{error:#}; {:?} {logs:?}", self.site.cluster().machines())
        })
    }

    pub(crate) fn passphrase(&self) -> String {
        let file = self.file("passphrase");
        fs::write(&file, PASSPHRASE).expect("written");
        file.display().to_string()
    }

    pub(crate) fn install(&self, node: &str) {
        let file = self.passphrase();
        let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file, "--no-reboot"];
        self.ok(&[&["node", "install", node, "--disk", node][..], &consent].concat());
    }

    /// Opens the state of a node that waits for its passphrase.
    pub(crate) fn unlock(&mut self, number: usize) {
        self.wait_stage(number, "dropbear");
        let (file, key) = (self.passphrase(), self.admin.private_key().display().to_string());
        self.ok(&["unlock", &format!("node-{number}"), "--passphrase-file", &file, "--identity", &key]);
    }

    pub(crate) fn expect_restart(&mut self, number: usize) {
        self.site.rack_mut().machine(number).expect("there").expect_restart();
    }

    pub(crate) fn power_off(&mut self, number: usize) {
        self.site.rack_mut().machine(number).expect("there").power_off().expect("off");
    }

    pub(crate) fn power_on(&mut self, number: usize) {
        self.site.rack_mut().power_on(number).expect("power");
    }

    /// Overwrites the beginning of a partition of a machine that is off.
    pub(crate) fn damage(&self, number: usize, partition: &str, bytes: usize) {
        let disk = &self.site.rack().machines()[number - 1].hardware().disk;
        let parts = node_disk::partitions(disk).expect("a table");
        let (_, start, _) = parts.into_iter().find(|(name, ..)| name == partition).expect("the partition");
        let file = File::options().write(true).open(disk).expect("a disk");
        file.write_all_at(&vec![0xa5; bytes], start).expect("damaged");
    }
}
