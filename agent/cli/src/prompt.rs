//! Questions to the person at the terminal.

use std::io::{BufRead, IsTerminal, Write};

use meadow_host::terminal::HiddenInput;
use meadow_model::Secret;

use crate::exit::Failure;

/// Whether there is somebody to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prompt {
    allowed: bool,
}

impl Prompt {
    /// Asks on a terminal, unless the person said `--no-input`.
    pub(crate) fn new(no_input: bool) -> Self {
        Self { allowed: !no_input && std::io::stdin().is_terminal() }
    }

    /// Whether there is somebody to ask.
    pub(crate) fn is_allowed(self) -> bool {
        self.allowed
    }

    /// Asks `question` (on stderr, since stdout is for data) and returns the answer without white space around it.
    ///
    /// # Errors
    /// Where nobody can be asked; `instead` says which options answer the question.
    pub(crate) fn ask(self, question: &str, instead: &str) -> anyhow::Result<String> {
        if !self.allowed {
            return Err(Failure::usage(format!("{question} There is nobody to ask; {instead}")).into());
        }
        write!(std::io::stderr(), "{question} ")?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(Failure::usage(format!("no answer; {instead}")).into());
        }
        Ok(line.trim().to_owned())
    }

    /// Asks for a secret, which the terminal does not show.
    ///
    /// # Errors
    /// As [`Prompt::ask`].
    pub(crate) fn ask_secret(self, question: &str, instead: &str) -> anyhow::Result<Secret<String>> {
        let hidden = self.allowed.then(HiddenInput::begin).transpose()?;
        let answer = self.ask(question, instead);
        drop(hidden);
        // The line end that was typed was not shown either.
        if self.allowed {
            writeln!(std::io::stderr())?;
        }
        answer.map(Secret::new)
    }

    /// Asks, and gives `default` for an empty answer.
    pub(crate) fn ask_or(self, question: &str, default: &str) -> anyhow::Result<String> {
        let shown = if default.is_empty() { "none" } else { default };
        let answer = self.ask(&format!("{question} [{shown}]:"), "use --file")?;
        Ok(if answer.is_empty() { shown.to_owned() } else { answer })
    }

    /// Asks a question whose answer is yes or no; no is the default.
    pub(crate) fn confirm(self, question: &str, instead: &str) -> anyhow::Result<bool> {
        let answer = self.ask(&format!("{question} [y/N]"), instead)?;
        Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}
