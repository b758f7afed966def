//! A computer: a network namespace with a root folder and a hosts file of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use meadow_rack::namespace::Namespace;
use meadow_rack::paths;
use meadow_rack::process::Program;
use meadow_rack::wait;
use serde_json::Value;

use crate::{PATIENCE, Ran, Site};

/// Runs a program under a host name of its own; its process number stays the same.
const NAMED: &str = "echo \"$1\" > /proc/sys/kernel/hostname && shift && exec \"$@\"";
/// Mounts a small file system and keeps it until it is ended. The mount is seen by this process alone and goes with
/// it, however it ends.
const MOUNTED: &str = "mount -t tmpfs -o \"size=$1\" tmpfs \"$2\" && echo mounted && exec sleep infinity";

/// A computer on the LAN.
#[derive(Debug)]
pub struct Computer {
    name: String,
    // Dropped from top to bottom: the agent before its disk.
    agent: Option<Program>,
    disk: Option<Program>,
    namespace: Namespace,
    folder: PathBuf,
    address: Ipv4Addr,
}

impl Computer {
    pub(crate) fn new(name: &str, namespace: Namespace, folder: PathBuf, address: Ipv4Addr) -> Self {
        Self { name: name.to_owned(), agent: None, disk: None, namespace, folder, address }
    }

    /// Its address on the LAN.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its network.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The prefix of all files of its agent.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A file of the agent, as the host sees it.
    #[must_use]
    pub fn state_file(&self, name: &str) -> PathBuf {
        let path = self.root().join("var/lib/meadow").join(name);
        match self.disk.as_ref().and_then(Program::id) {
            // The mount is seen only through its owner.
            Some(owner) => Path::new("/proc")
                .join(owner.pid.to_string())
                .join("root")
                .join(path.strip_prefix("/").unwrap_or(&path)),
            None => path,
        }
    }

    /// A file in the computer's folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts the agent's state on a disk of its own with this size, such as `16m`. Before anything is written.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn use_small_disk(&mut self, site: &mut Site, size: &str) -> Result<()> {
        let log = self.file("disk.log");
        let mut command = self.namespace.command("sh");
        command.args(["-c", MOUNTED, "sh", size]).arg(self.root().join("var/lib"));
        self.disk = Some(self.namespace.start(site.run(), command, &log)?);
        wait::until("the mount", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("mounted").then_some(())))
    }

    /// A program to be run on it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = match self.disk.as_ref().and_then(Program::id) {
            Some(owner) => {
                let mut command = self.namespace.command("nsenter");
                command.arg(format!("--mount=/proc/{}/ns/mnt", owner.pid)).arg(program);
                command
            }
            None => self.namespace.command(program),
        };
        command.env("HOME", &self.folder).env("XDG_CONFIG_HOME", self.file("config")).env_remove("MEADOW_CONTEXT");
        command
    }

    /// Runs a program on it to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Ran> {
        Ran::of(self.command(program).args(arguments))
    }

    /// Runs `meadow` on it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn meadow(&self, arguments: &[&str]) -> Result<Ran> {
        self.run(&paths::programs().join("meadow").to_string_lossy(), arguments)
    }

    /// What `meadow` prints as JSON.
    ///
    /// # Errors
    /// With what it says when it fails.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.meadow(&[arguments, &["-o", "json"]].concat())?.json()
    }

    /// The items of a list that `meadow` prints.
    ///
    /// # Errors
    /// With what it says when it fails.
    pub fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let list = self.json(arguments)?;
        list["items"].as_array().cloned().with_context(|| format!("no items: {list}"))
    }

    /// Runs `meadow join` with the token in `file` and waits for its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn join(&self, host: &str, file: &Path, more: &[&str]) -> Result<Ran> {
        let (file, root) = (file.to_string_lossy(), self.root());
        let root = root.to_string_lossy();
        self.meadow(&[&["join", host, "--token-file", &file, "--root", &root], more].concat())
    }

    /// Starts `meadowd`; its log goes on where the last one ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&mut self, site: &mut Site) -> Result<()> {
        self.start_agent_at(site, &paths::programs().join("meadowd"), &self.root())
    }

    /// As [`Computer::start_agent`], with another program and prefix.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent_at(&mut self, site: &mut Site, program: &Path, root: &Path) -> Result<()> {
        let mut command = self.command("unshare");
        command.args(["--uts", "sh", "-c", NAMED, "sh", &self.name]).arg(program).arg("--root").arg(root);
        self.agent = Some(self.namespace.start(site.run(), command, &self.file("meadowd.log"))?);
        Ok(())
    }

    /// Starts a program that is neither waited for nor looked after; it and its log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, site: &mut Site, program: &str, arguments: &[&str]) -> Result<(Program, PathBuf)> {
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = self.file(&format!("{name}-beside.log"));
        let mut command = self.command(program);
        command.args(arguments);
        Ok((self.namespace.start(site.run(), command, &log)?, log))
    }

    /// Kills `meadowd` with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.agent.take().context("meadowd does not run")?.kill().context("cannot kill meadowd")
    }

    /// Ends `meadowd` with SIGTERM.
    pub fn stop_agent(&mut self) {
        self.agent = None;
    }

    /// Waits until `meadowd` has ended by itself, and gives its log.
    ///
    /// # Errors
    /// When it goes on.
    pub fn wait_for_end(&mut self) -> Result<String> {
        let agent = self.agent.as_mut().context("meadowd does not run")?;
        wait::until("the end of meadowd", PATIENCE, || Ok(agent.exited()?.map(drop)))?;
        self.log()
    }

    /// What `meadowd` has logged.
    ///
    /// # Errors
    /// When there is no log.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file("meadowd.log"))?)
    }

    /// Waits for a condition, and fails at once when `meadowd` has ended.
    ///
    /// # Errors
    /// When it does not come, with the end of the log.
    pub fn until<T>(&mut self, what: &str, mut condition: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        let waited = wait::until(what, PATIENCE, || {
            if let Some(status) = self.agent.as_mut().map(Program::exited).transpose()?.flatten() {
                bail!("meadowd ended ({status})");
            }
            condition(self)
        });
        waited.with_context(|| {
            let log = self.log().unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            format!("{} logged:\n{}", self.name, lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        })
    }

    /// Waits until the cluster, asked on this computer, calls a node ready.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_node(&mut self, node: &str) -> Result<()> {
        self.until(&format!("{node} to be ready"), |computer| {
            // Before the agent serves there is no answer.
            let Ok(nodes) = computer.items(&["node", "ls"]) else { return Ok(None) };
            let ready = |item: &Value| item["metadata"]["name"] == node && item["status"]["state"] == "Ready";
            Ok(nodes.iter().any(ready).then_some(()))
        })
    }

    /// What its own agent tells on the local socket, as the console shows it.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn self_view(&self) -> Result<Value> {
        let socket = self.root().join("run/meadow/api.sock");
        self.run("curl", &["-sS", "--unix-socket", &socket.to_string_lossy(), "http://meadow/v1/self"])?.json()
    }

    /// Whether `name` answers a ping, by that name.
    ///
    /// # Errors
    /// When ping(8) is not there.
    pub fn pings(&self, name: &str) -> Result<bool> {
        Ok(self.run("ping", &["-6", "-n", "-c", "1", "-W", "2", name])?.code == Some(0))
    }
}
