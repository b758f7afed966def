//! `meadow-pxe` alone, with its policies from a file: a seed without a cluster.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::paths;
use crate::process::{ProcessId, Program};
use crate::run_dir::RunDir;
use crate::wait;

/// A running boot server.
#[derive(Debug)]
pub struct BootServer {
    program: Program,
    log: PathBuf,
}

impl BootServer {
    /// Starts it in `namespace`; `settings` is its TOML file. Its log begins anew.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn start(run: &mut RunDir, namespace: &Namespace, settings: &str) -> Result<Self> {
        let (file, log) = (run.file("meadow-pxe.toml"), run.file("meadow-pxe.log"));
        fs::write(&file, settings).context("cannot write the boot server's settings")?;
        fs::write(&log, "").context("cannot begin the boot server's log")?;
        let mut command = namespace.command(paths::programs().join("meadow-pxe"));
        command.arg("--config").arg(&file);
        let program = namespace.start(run, command, &log)?;
        Ok(Self { program, log })
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.program.kill().context("cannot kill meadow-pxe")
    }

    /// Which process it is; `None` once it has ended.
    #[must_use]
    pub fn process(&self) -> Option<ProcessId> {
        self.program.id()
    }

    /// What it has printed, a line for each event.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Waits until it has printed `text`, and gives that line.
    ///
    /// # Errors
    /// When it has ended or does not print it within `limit`, with what it printed instead.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String> {
        let found = wait::until(text, limit, || {
            let line = self.log()?.lines().find(|line| line.contains(text)).map(str::to_owned);
            if line.is_none()
                && let Some(status) = self.program.exited()?
            {
                bail!("meadow-pxe ended ({status})");
            }
            Ok(line)
        });
        found.with_context(|| format!("meadow-pxe printed:\n{}", self.log().unwrap_or_default()))
    }
}
