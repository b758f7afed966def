//! A program that has run to its end.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a program said, and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Result<Self> {
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The program, if it ended with 0.
    ///
    /// # Errors
    /// With what it said.
    pub fn success(self) -> Result<Self> {
        if self.code == Some(0) {
            return Ok(self);
        }
        bail!("exit code {:?}: {}{}", self.code, self.stderr, self.stdout)
    }

    /// Its standard output as JSON.
    ///
    /// # Errors
    /// When it failed or printed something else.
    pub fn json(self) -> Result<Value> {
        let ran = self.success()?;
        serde_json::from_str(&ran.stdout).with_context(|| format!("no JSON: {}", ran.stdout))
    }

    /// Checks that it ended with `code` and said all of `texts` on standard error.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "\"{text}\" is missing: {self:?}");
        }
    }
}
