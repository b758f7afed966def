//! Named network namespaces.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};

use crate::ledger::Entry;
use crate::process::{ProcessId, Program};
use crate::run_dir::RunDir;

/// A network namespace that this rack made.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `mdw<id>-<role>` with its loopback up.
    ///
    /// # Errors
    /// When it cannot be made; root is needed.
    pub fn create(run: &mut RunDir, role: &str) -> Result<Self> {
        let name = format!("mdw{}-{role}", run.id());
        run.note(&Entry::Namespace(name.clone()))?;
        ip(&["netns", "add", &name])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(Self { name })
    }

    /// Its name for ip(8).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs ip(8) on it.
    ///
    /// # Errors
    /// With what ip(8) says.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all)
    }

    /// A program to be run in it, in a process group of its own: Ctrl-C goes to the rack alone, which ends its
    /// programs in order. `ip netns exec` becomes the program, so the process number is the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts a program that is ended with the rack.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, run: &mut RunDir, mut command: Command, log: &Path) -> Result<Program> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let errors = output.try_clone()?;
        let child = command.stdout(output).stderr(errors).spawn().with_context(|| format!("cannot run {command:?}"))?;
        let id = ProcessId::of(child.id());
        let program = Program::new(child);
        // A program that has ended already needs no line in the ledger.
        if let Ok(id) = id {
            run.note(&Entry::Process(id))?;
        }
        Ok(program)
    }

    /// Moves the calling thread into it; sockets that the thread makes from then on belong to it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn enter(&self) -> Result<()> {
        let path = Path::new("/run/netns").join(&self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter the namespace {}", self.name))
    }

    /// Makes programs started in it see `hosts` as their `/etc/hosts` (see ip-netns(8)). A link, so that a file that
    /// was replaced is seen by the next program.
    ///
    /// # Errors
    /// When `/etc/netns` is not writable.
    pub fn set_hosts_file(&self, run: &mut RunDir, hosts: &Path) -> Result<()> {
        let folder = PathBuf::from("/etc/netns").join(&self.name);
        if !Path::new("/etc/netns").exists() {
            run.note(&Entry::Folder("/etc/netns".into()))?;
        }
        run.note(&Entry::Folder(folder.clone()))?;
        let link = folder.join("hosts");
        run.note(&Entry::File(link.clone()))?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        std::os::unix::fs::symlink(hosts, &link).with_context(|| format!("cannot create {}", link.display()))
    }
}

/// Runs ip(8) and gives what it says on failure.
pub(crate) fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip(8); `make packages` installs it")?;
    ensure!(
        output.status.success(),
        "`ip {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
