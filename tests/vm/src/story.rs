//! A rack with a cluster, and what its admin does. Whatever does not work panics: these are steps of tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use crate::{Admin, BOOT, milestone};
use meadow_rack::cluster::NodeRow;
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::terminal::Conversation;
use meadow_rack::{RackConfig, Site, paths};

/// The passphrase of every node.
pub const PASSPHRASE: &str = "correct horse battery";

/// A running cluster, its admin, and who reads what happens.
#[derive(Debug)]
pub struct Story {
    /// Machines and seed.
    pub site: Site,
    /// Who unlocks.
    pub admin: Admin,
    /// Shows where the test is.
    pub progress: Progress,
}

impl Story {
    /// Builds machines that are off and a seed; its admin's key is made in `folder`.
    ///
    /// # Panics
    /// As all steps: when it does not work.
    #[must_use]
    pub fn begin_with(machines: &RackConfig, seed: SeedConfig, folder: &Path) -> Self {
        let mut progress = Progress::default();
        let admin = Admin::create(folder).expect("a key");
        let authorized_keys = vec![admin.public_key().expect("a key")];
        let seed = SeedConfig { authorized_keys, ..seed };
        let site = Site::build(machines, &seed, &mut progress).expect("a site");
        Self { site, admin, progress }
    }

    /// Waits until all machines are ready nodes.
    pub fn wait_ready(&mut self) {
        let ready = self.site.wait_ready(BOOT, &mut self.progress);
        ready.unwrap_or_else(|error| {
            let logs: Vec<_> = self.site.rack().machines().iter().map(|machine| machine.milestones()).collect();
            panic!("{error:#}; {logs:?}")
        });
    }

    /// Where the stick of a machine is.
    pub fn stick(&self, number: usize) -> PathBuf {
        self.site.rack().run().file(format!("node-{number}.stick"))
    }

    /// Writes a stick with these options of `meadow image flash`, and plugs it into a machine that is off.
    pub fn plug_in_stick(&mut self, number: usize, options: &[&str]) {
        let (stick, image) = (self.stick(number), paths::image().join("stick.img"));
        let (to, image) = (stick.display().to_string(), image.display().to_string());
        self.ok(&[&["image", "flash", "--to", &to, "--image", &image], options].concat());
        self.site.rack_mut().machine(number).expect("there").plug_in(stick);
    }

    /// A file with this text in the folder of the run.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.site.rack().run().file(name);
        fs::write(&file, text).expect("written");
        file
    }

    /// Runs `meadow` on the seed.
    pub fn meadow(&self, arguments: &[&str]) -> Output {
        self.site.seed().meadow().expect("a context").args(arguments).output().expect("meadow runs")
    }

    /// Begins to run `meadow` on the seed, for what takes as long as somebody has to do something else meanwhile.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.site.seed().meadow().expect("a context");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("meadow runs")
    }

    /// Begins to run `meadow` on the seed, at a terminal where a person answers.
    pub fn begin_at_a_terminal(&self, arguments: &[&str]) -> Conversation {
        let mut command = self.site.seed().meadow().expect("a context");
        command.args(arguments);
        Conversation::begin(command).expect("meadow runs")
    }

    /// Runs `meadow` on the seed; what it prints.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.meadow(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `meadow` on the seed with a standard output that nobody reads any more.
    pub fn meadow_to_nobody(&self, arguments: &[&str]) -> Output {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        self.site.seed().meadow().expect("a context").args(arguments).stdout(writer).output().expect("meadow runs")
    }

    /// The nodes as the cluster lists them.
    pub fn nodes(&self) -> Vec<NodeRow> {
        self.site.cluster().nodes().expect("the cluster answers")
    }

    /// Waits until each of these machines has reached a stage of the boot that runs now.
    pub fn wait_stage(&mut self, numbers: &[usize], stage: &str) {
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

    /// `meadow unlock`.
    pub fn unlock(&self, node: &str, secret: &str) -> Output {
        self.unlock_with(node, secret, &[])
    }

    /// `meadow unlock`, with more options.
    pub fn unlock_with(&self, node: &str, secret: &str, options: &[&str]) -> Output {
        self.unlock_all(&[node], secret, options)
    }

    /// `meadow unlock` of several nodes.
    pub fn unlock_all(&self, nodes: &[&str], secret: &str, options: &[&str]) -> Output {
        let file = self.file(&format!("{}.secret", nodes.join("+")), secret);
        let (file, key) = (file.display().to_string(), self.admin.private_key().display().to_string());
        self.meadow(&[&["unlock"], nodes, &["--passphrase-file", &file, "--identity", &key], options].concat())
    }

    /// `meadow node keys add --tpm`.
    pub fn add_tpm(&self, node: &str, secret: &str) -> Output {
        let file = self.file(&format!("{node}.secret"), secret).display().to_string();
        self.meadow(&["node", "keys", "add", node, "--tpm", "--passphrase-file", &file])
    }

    /// What `meadow node show` says, with one space between words.
    pub fn shown(&self, node: &str) -> String {
        self.ok(&["node", "show", node]).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until it says `text`: a node tells of itself every few seconds.
    pub fn wait_shown(&mut self, node: &str, text: &str) {
        let shown = self.site.until(text, BOOT, |site| {
            let output = site.seed().meadow()?.args(["node", "show", node]).output()?;
            let words = String::from_utf8(output.stdout)?;
            Ok(words.split_whitespace().collect::<Vec<_>>().join(" ").contains(text).then_some(()))
        });
        shown.unwrap_or_else(|error| panic!("{error:#}; {}", self.shown(node)));
    }

    /// `meadow node install` onto the disk whose serial number is the node's name; the recovery key.
    pub fn install(&self, node: &str) -> String {
        let file = self.file("passphrase", PASSPHRASE).display().to_string();
        let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file, "--no-reboot"];
        let mut arguments = vec!["node", "install", node, "--disk", node];
        arguments.extend(consent);
        self.ok(&arguments).trim().to_owned()
    }

    /// The same by a person at a terminal, who is asked for the disk's serial number and a passphrase.
    pub fn install_at_a_terminal(&self, node: &str) -> String {
        let mut talk = self.begin_at_a_terminal(&["node", "install", node, "--disk", node, "--no-reboot"]);
        for (question, line) in [
            (&*format!("Type {node} to go on:"), node),
            ("New passphrase:", PASSPHRASE),
            ("The same again:", PASSPHRASE),
        ] {
            talk.answer(question, line, BOOT).expect("it asks");
        }
        let ended = talk.finish().expect("its end");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && told.contains("keep it on paper"), "{ended:?}");
        String::from_utf8(ended.stdout).expect("text").trim().to_owned()
    }
}
