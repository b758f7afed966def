//! A program that has ended.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// How a program ended and what it said.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it gave out.
    pub stdout: String,
    /// What it told.
    pub stderr: String,
}

impl Ran {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn finish(command: &mut Command) -> Result<Self> {
        let output = command.output().context("the program cannot be run")?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("the output is not UTF-8");
        Ok(Self { code: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
    }

    /// The output as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("this is not JSON: {} {}", self.stdout, self.stderr))
    }

    /// The same, if it ended well.
    ///
    /// # Errors
    /// With what it told, if it did not.
    pub fn ok(self) -> Result<Self> {
        anyhow::ensure!(self.code == Some(0), "exit code {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }
}
