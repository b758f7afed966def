//! A rack whose nodes are installed, and what its admin does.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use meadow_rack::Site;
use meadow_rack::cluster::NodeRow;
use meadow_rack::progress::Progress;
use meadow_tests_vm::{Admin, BOOT, milestone};

pub(crate) const PASSPHRASE: &str = "correct horse battery";

pub(crate) struct Story {
    pub(crate) site: Site,
    pub(crate) admin: Admin,
    pub(crate) progress: Progress,
}

impl Story {
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.site.rack().run().file(name);
        fs::write(&file, text).expect("written");
        file
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

    pub(crate) fn nodes(&self) -> Vec<NodeRow> {
        self.site.cluster().nodes().expect("the cluster answers")
    }

    /// Waits until each of these machines has reached a stage of the boot that runs now.
    pub(crate) fn wait_stage(&mut self, numbers: &[usize], stage: &str) {
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

    pub(crate) fn unlock(&self, node: &str, secret: &str) -> Output {
        let file = self.file(&format!("{node}.secret"), secret);
        let (file, key) = (file.display().to_string(), self.admin.private_key().display().to_string());
        self.meadow(&["unlock", node, "--passphrase-file", &file, "--identity", &key])
    }

    pub(crate) fn add_tpm(&self, node: &str, secret: &str) -> Output {
        let file = self.file(&format!("{node}.secret"), secret).display().to_string();
        self.meadow(&["node", "keys", "add", node, "--tpm", "--passphrase-file", &file])
    }

    /// What `meadow node show` says, with one space between words.
    pub(crate) fn shown(&self, node: &str) -> String {
        self.ok(&["node", "show", node]).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until it says `text`: a node tells of itself every few seconds.
    pub(crate) fn wait_shown(&mut self, node: &str, text: &str) {
        let shown = self.site.until(text, BOOT, |site| {
            let output = site.seed().meadow()?.args(["node", "show", node]).output()?;
            let words = String::from_utf8(output.stdout)?;
            Ok(words.split_whitespace().collect::<Vec<_>>().join(" ").contains(text).then_some(()))
        });
        shown.unwrap_or_else(|error| panic!("{error:#}; {}", self.shown(node)));
    }

    pub(crate) fn install(&self, node: &str) -> String {
        let file = self.file("passphrase", PASSPHRASE).display().to_string();
        let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file, "--no-reboot"];
        let mut arguments = vec!["node", "install", node, "--disk", node];
        arguments.extend(consent);
        self.ok(&arguments).trim().to_owned()
    }
}
