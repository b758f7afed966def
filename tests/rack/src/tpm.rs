//! A TPM 2.0 for a machine: swtpm(8), which keeps its state in a folder as a real one keeps it in itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::process::Program;
use crate::run_dir::RunDir;
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(20);

/// A TPM. What it keeps lies in its folder, also while it is off.
#[derive(Clone, Debug)]
pub struct Tpm {
    folder: PathBuf,
}

impl Tpm {
    /// A TPM whose state is in `folder`; a new one where there is none.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The socket by which QEMU controls it.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    /// The socket that takes commands, where it was started without a machine.
    #[must_use]
    pub fn commands(&self) -> PathBuf {
        self.folder.join("commands")
    }

    /// Switches it on for a machine; it ends with that.
    ///
    /// # Errors
    /// When swtpm(8) does not start.
    pub fn start_for_machine(&self, run: &mut RunDir, namespace: &Namespace) -> Result<Program> {
        self.start(run, namespace, &[], &self.control())
    }

    /// Switches it on as firmware would, for a program that talks to [`Tpm::commands`].
    ///
    /// # Errors
    /// When swtpm(8) does not start.
    pub fn start_alone(&self, run: &mut RunDir, namespace: &Namespace) -> Result<Program> {
        let server = format!("type=unixio,path={}", self.commands().display());
        self.start(run, namespace, &["--flags", "not-need-init,startup-clear", "--server", &server], &self.commands())
    }

    fn start(&self, run: &mut RunDir, namespace: &Namespace, more: &[&str], socket: &Path) -> Result<Program> {
        for old in [self.control(), self.commands()] {
            let _ = fs::remove_file(old);
        }
        let mut command: Command = namespace.command("swtpm");
        command.args(["socket", "--tpm2", "--terminate", "--tpmstate"]).arg(format!("dir={}", self.folder.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", self.control().display())).args(more);
        let log = self.folder.join("log");
        let mut program = namespace.start(run, command, &log).context("swtpm(8); see tests/packages/test.list")?;
        wait::until("the TPM's socket", PATIENCE, || {
            if let Some(status) = program.exited()? {
                bail!("swtpm ended ({status}): {}", fs::read_to_string(&log).unwrap_or_default());
            }
            Ok(socket.exists().then_some(()))
        })?;
        Ok(program)
    }
}
