//! Power cuts at seeded moments of an installation. Whatever does not work panics: these are steps of tests.

use std::fs;
use std::path::PathBuf;

use meadow_power::WriteLog;

use crate::approval::{approve, mac, pending};
use crate::story::{PASSPHRASE, Story};
use crate::{BOOT, milestone};

/// A machine whose disk is recorded while it is installed as the node of its own name.
#[derive(Debug)]
pub struct Installation {
    number: usize,
    /// What the disk held before.
    base: PathBuf,
    log: PathBuf,
}

impl Installation {
    /// Records what is written to the disk of a machine from now on; it is off.
    ///
    /// # Panics
    /// When the disk cannot be copied.
    #[must_use]
    pub fn record(story: &mut Story, number: usize) -> Self {
        let file = |kind: &str| story.site.rack().run().file(format!("node-{number}.{kind}.disk"));
        let recorded = Self { number, base: file("base"), log: file("log") };
        let machine = story.site.rack_mut().machine(number).expect("there");
        machine.record_writes(&recorded.base, &recorded.log).expect("recorded");
        recorded
    }

    /// Ends the record once it is installed, and cuts its power: from now on it tries its disk first.
    ///
    /// # Panics
    /// When it cannot be switched off.
    pub fn end(&self, story: &mut Story) {
        let machine = story.site.rack_mut().machine(self.number).expect("there");
        machine.power_off().expect("off");
        machine.stop_recording();
        machine.boot_from_disk();
    }

    /// Makes the disk what it was before the installation.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn wipe(&self, story: &Story) {
        fs::copy(&self.base, &story.site.rack().machines()[self.number - 1].hardware().disk).expect("wiped");
    }

    /// Cuts the power at a moment of the installation, and switches the machine on. It then either is the node that asks for its
    /// passphrase, or comes back as a machine that can be installed once more; and it boots from its disk.
    ///
    /// # Panics
    /// When it is lost.
    pub fn no_power_cut_loses_the_machine(&self, story: &mut Story, seed: u64) {
        let hardware = story.site.rack().machines()[self.number - 1].hardware();
        let (disk, has_stick) = (hardware.disk.clone(), hardware.stick.is_some());
        let log = WriteLog::open(&self.log).expect("a log");
        let said = log.cut_power(&self.base, &disk, seed).expect("cut");
        story.progress.line(&format!("node-{}: {said}", self.number));
        if !has_stick {
            // The server is as it was when the power failed: it has not heard that the installation is done.
            story.ok(&["machine", "boot", &mac(story, self.number), "image"]);
        }
        story.site.rack_mut().power_on(self.number).expect("power");
        let node = format!("node-{}", self.number);
        let opened = if self.is_whole(story) {
            // The cluster has not heard of this installation's host key: a person takes it from the console.
            let shown = milestone(&story.site.rack().machines()[self.number - 1], "unlock waiting").expect("a log");
            let shown = shown.expect("a prompt");
            let key = shown.split_whitespace().find(|word| word.starts_with("SHA256:")).expect("a host key");
            story.unlock_with(&node, PASSPHRASE, &["--host-key", key])
        } else {
            story.progress.line("it is a new machine, and is installed once more");
            let approved = approve(story, self.number, &["--replaces", &node, "--install", &node, "--no-reboot"]);
            assert!(approved.status.success(), "{approved:?}");
            story.site.rack_mut().machine(self.number).expect("there").power_off().expect("off");
            story.site.rack_mut().power_on(self.number).expect("power");
            story.wait_stage(&[self.number], "unlock waiting");
            story.unlock(&node, PASSPHRASE)
        };
        assert!(opened.status.success(), "{opened:?}");
        story.wait_stage(&[self.number], "switch-root");
        story.site.rack_mut().machine(self.number).expect("there").power_off().expect("off");
    }

    /// Whether the machine asks for the passphrase of its state, and not for its approval.
    fn is_whole(&self, story: &mut Story) -> bool {
        let mac = mac(story, self.number);
        let whole = story.site.until("a node or a machine", BOOT, |site| {
            if milestone(site.rack_mut().machine(self.number)?, "unlock waiting")?.is_some() {
                return Ok(Some(true));
            }
            Ok(pending(site, &mac)?.map(|_| false))
        });
        whole.unwrap_or_else(|error| {
            panic!("{error:#}; {:?}", story.site.rack().machines()[self.number - 1].serial().text_from(0))
        })
    }
}
