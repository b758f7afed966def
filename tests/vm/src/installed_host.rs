//! An ordinary Debian host on which a person has run `make install`: the tools tree under a real systemd, which is the
//! first process of namespaces of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use meadow_rack::cgroup::Cgroup;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::{paths, terminal, wait};

/// Boots it.
const BOOT: &str = include_str!("boot-systemd.sh");
/// It takes a second where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running host; ended when the value is dropped.
#[derive(Debug)]
pub struct InstalledHost {
    program: Program,
    /// Its systemd, by its number outside.
    init: String,
}

/// Runs a target of the Makefile with this `DESTDIR`. The image is taken as it was built, since whoever runs the
/// machine tests has built it before.
///
/// # Errors
/// With what make(1) says.
pub fn make(target: &str, destination: &Path) -> Result<String> {
    let mut command = Command::new("make");
    command.args(["-o", "image", target]).arg(format!("DESTDIR={}", destination.display()));
    command.current_dir(paths::checkout());
    // Those of the make that runs the tests.
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
        command.env_remove(variable);
    }
    said(&mut command)
}

/// Its standard output, if it ends well.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}{text}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

impl InstalledHost {
    /// Boots a computer whose files are the tools tree's and, over them, those in `layer/upper`.
    ///
    /// # Errors
    /// When its systemd does not come up with all units.
    pub fn boot(run: &mut RunDir, namespace: &Namespace, layer: &Path) -> Result<Self> {
        let tree = paths::tools().canonicalize().context("there is no tools tree; `make image` makes it")?;
        let group = Cgroup::create(run, "installed")?;
        let mut command = namespace.command("unshare");
        command.args(["--mount", "--propagation", "private", "bash", "-c", BOOT, "boot-systemd"]);
        command.arg(layer).arg(tree).arg(group.inside());
        let log = run.file("installed-host.log");
        let mut program = namespace.start(run, command, &log)?;
        let init = wait::until("the host's systemd", PATIENCE, || {
            if let Some(status) = program.exited()? {
                bail!("it ended ({status}): {}", fs::read_to_string(&log)?);
            }
            // systemd moves itself there first of all.
            let processes = fs::read_to_string(group.path().join("init.scope/cgroup.procs")).unwrap_or_default();
            Ok(processes.lines().next().map(str::to_owned))
        })?;
        let host = Self { program, init };
        let mut state = String::new();
        let up = wait::until("the host to be up", PATIENCE, || {
            let output = host.command("systemctl").arg("is-system-running").output()?;
            String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut state);
            Ok((state == "running").then_some(()))
        });
        up.with_context(|| format!("it is {state}: {:?}", host.run(&["systemctl", "--failed", "--no-legend"])))?;
        Ok(host)
    }

    /// A program that root runs there.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.init, "env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin", program]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs it and gives its standard output.
    ///
    /// # Errors
    /// With what it says when it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().context("no program")?;
        said(self.command(program).args(arguments))
    }

    /// Runs a program at a terminal on which `lines` have been typed.
    ///
    /// # Errors
    /// When there is no terminal, or it cannot be run.
    pub fn typed(&self, words: &[&str], lines: &str) -> Result<Output> {
        let (program, arguments) = words.split_first().context("no program")?;
        // Whoever types stays until it has ended.
        let (_person, input) = terminal::typed(lines)?;
        Ok(self.command(program).args(arguments).stdin(input).output()?)
    }

    /// Runs a script of the checkout there, which has no checkout.
    ///
    /// # Errors
    /// With what it says when it fails.
    pub fn run_script(&self, script: &Path, arguments: &[&str]) -> Result<String> {
        let script = File::open(script).with_context(|| format!("cannot open {}", script.display()))?;
        said(self.command("bash").args(["-s", "-"]).args(arguments).stdin(script))
    }

    /// A file of it, as seen from outside.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With how it ended.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.program.exited()?;
        ensure!(ended.is_none(), "the installed host has ended: {ended:?}");
        Ok(())
    }
}

impl Drop for InstalledHost {
    fn drop(&mut self) {
        // All in it ends with its first process; there is nothing in it worth a shutdown in order.
        let _ = self.program.kill();
    }
}
