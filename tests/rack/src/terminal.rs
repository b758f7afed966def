//! A person at a terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::wait;

/// A new terminal: where a person types, and what a program has as its standard input.
///
/// # Errors
/// When the system has no terminal left.
pub fn open() -> Result<(File, File)> {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&person)?;
    unlockpt(&person)?;
    let name = ptsname(&person, Vec::new())?;
    // Whoever opens it must not get it as its session's own: then keys would end that one.
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let program =
        File::options().read(true).write(true).custom_flags(flags).open(OsStr::from_bytes(name.as_bytes()))?;
    Ok((File::from(person), program))
}

/// A terminal on which `lines` have been typed already, as [`open`] gives it.
///
/// # Errors
/// When the system has no terminal left.
pub fn typed(lines: &str) -> Result<(File, File)> {
    let (mut person, program) = open()?;
    // The kernel keeps what is typed ahead until somebody reads it, line by line. Who asks more gets an end (Ctrl-D).
    person.write_all(lines.as_bytes())?;
    person.write_all(b"\x04")?;
    Ok((person, program))
}

/// A program that asks, and a person who reads before typing. Its standard output and error are pipes.
#[derive(Debug)]
pub struct Conversation {
    program: Child,
    keyboard: File,
    output: Heard,
    errors: Heard,
    /// Bytes of the errors up to the last question.
    answered: usize,
}

impl Conversation {
    /// Starts the program.
    ///
    /// # Errors
    /// When there is no terminal, or the program does not start.
    pub fn begin(mut command: Command) -> Result<Self> {
        let (keyboard, terminal) = open()?;
        command.stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let output = Heard::listen(program.stdout.take().context("no output")?);
        let errors = Heard::listen(program.stderr.take().context("no errors")?);
        Ok(Self { program, keyboard, output, errors, answered: 0 })
    }

    /// Waits for the next `question`, as long as the program runs and `limit` allows, and types a line.
    ///
    /// # Errors
    /// When it is not asked, with what the program said instead.
    pub fn answer(&mut self, question: &str, line: &str, limit: Duration) -> Result<()> {
        let asked = wait::until(question, limit, || {
            // First, so that its last words are looked at too.
            let ended = self.program.try_wait()?;
            let said = self.errors.text();
            let found = said.get(self.answered..).and_then(|new| new.find(question));
            match (found, ended) {
                (Some(at), _) => Ok(Some(self.answered + at + question.len())),
                (None, Some(status)) => bail!("it ended ({status}) without asking {question:?}"),
                (None, None) => Ok(None),
            }
        });
        self.answered = asked.with_context(|| self.errors.text())?;
        Ok(writeln!(self.keyboard, "{line}")?)
    }

    /// The first line that it gives out.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub fn first_line(&self, limit: Duration) -> Result<String> {
        wait::until("a line", limit, || Ok(self.output.text().split_once('\n').map(|(line, _)| line.to_owned())))
    }

    /// Waits until it ends, with nobody there to answer any more.
    ///
    /// # Errors
    /// When its end cannot be told.
    pub fn finish(mut self) -> Result<Output> {
        let status = self.program.wait()?;
        Ok(Output { status, stdout: self.output.rest()?, stderr: self.errors.rest()? })
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What comes out of a pipe.
#[derive(Debug)]
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    listener: Option<JoinHandle<()>>,
}

impl Heard {
    fn listen(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let heard = Arc::clone(&bytes);
        let listener = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = pipe.read(&mut buffer) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..got]);
            }
        });
        Self { bytes, listener: Some(listener) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All of it, once nobody writes any more.
    fn rest(&mut self) -> Result<Vec<u8>> {
        if let Some(listener) = self.listener.take() {
            listener.join().map_err(|_| anyhow!("whoever listened panicked"))?;
        }
        Ok(std::mem::take(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn each_question_is_answered_once_it_is_asked() {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "test -t 0 && for n in 1 2; do printf 'Name? ' >&2; read name; echo \"$name\"; done; exit 3"]);
        let mut talk = Conversation::begin(shell).expect("it starts");
        talk.answer("Name?", "Ann", SOON).expect("asked");
        talk.answer("Name?", "Bob", SOON).expect("asked once more");
        let late = talk.answer("Name?", "Eve", SOON).expect_err("it ends");
        assert!(format!("{late:#}").contains("without asking"), "{late:#}");
        assert_eq!(talk.first_line(SOON).expect("a line"), "Ann");
        let ended = talk.finish().expect("its end");
        assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(3), &b"Ann\nBob\n"[..]));
    }
}
