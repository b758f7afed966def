//! One attempt to open the state, alone: whoever else tries waits for its turn.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use meadow_luks::{Key, LuksError, MAPPING, Volume};
use meadow_tpm::Pin;
use rustix::fs::{FlockOperation, flock};

use crate::news::{Event, News, is_mapped, opened};
use crate::run_files::{Known, Opened, RunFiles, load, store, uptime};
use crate::throttle::{Attempts, MANY};
use crate::tpm::{self, NotOpened};
use crate::unstopped::Unstopped;

/// Longer pauses are not waited for: come again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After that many wrong ones a person may be right, and the disk wrong.
const UNLIKELY: u32 = 3;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This attempt opened it.
    Opened(Opened),
    /// Somebody else did meanwhile.
    OpenedElsewhere(Opened),
    /// Not what opens it; the text says more.
    Wrong(String),
    /// Too many wrong ones: not tried.
    Later(Duration),
    /// Whatever is typed, it does not open as it is: why, with the next step.
    Impossible(String),
}

/// A person who tries.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The files of this boot.
    pub files: &'a RunFiles,
    /// What is to be opened.
    pub known: &'a Known,
    /// Hears when somebody else is faster.
    pub news: &'a News,
    /// `ssh`, or the terminal.
    pub place: &'a str,
}

impl Attempt<'_> {
    /// Tries what was typed. `tell` gets what a person should know while it takes its time.
    pub fn run(&self, typed: &str, tell: &mut dyn FnMut(&str)) -> Outcome {
        // A typing error in a recovery key, or nothing at all, is no guess and costs no pause.
        let key = match self.understand(typed) {
            Ok(key) => key,
            Err(error) => return Outcome::Wrong(error.to_string()),
        };
        match self.alone(&key, tell) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Impossible(format!(
                "the attempt broke off ({error}): try again, or restart this machine and look at its console"
            )),
        }
    }

    /// A PIN is shorter than any passphrase; without a TPM slot for it there is none.
    fn understand(&self, typed: &str) -> Result<Typed, LuksError> {
        match Pin::new(typed) {
            Ok(pin) if self.known.pin => Ok(Typed::Pin(pin)),
            _ => Key::typed(typed).map(Typed::Key),
        }
    }

    fn alone(&self, key: &Typed, tell: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
        loop {
            let lock = lock(self.files, tell)?;
            if let Some(opened) = opened(self.files) {
                return Ok(Outcome::OpenedElsewhere(opened));
            }
            let attempts: Attempts = load(&self.files.attempts()).unwrap_or_default();
            let pause = attempts.pause(uptime());
            if pause.is_zero() {
                return self.spend(key, attempts, tell);
            }
            drop(lock);
            if pause > LONGEST_WAIT {
                return Ok(Outcome::Later(pause));
            }
            tell(&format!("after {} wrong ones: a pause of {} s", attempts.wrong, pause.as_secs_f64().ceil()));
            if let Event::Opened(opened) = self.news.wait(None, Some(uptime() + pause))? {
                return Ok(Outcome::OpenedElsewhere(opened));
            }
        }
    }

    /// Counts it as wrong before it is tried, so that whoever hangs up in the middle gains nothing.
    fn spend(&self, key: &Typed, before: Attempts, tell: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
        // From here to the end nobody who hangs up or presses Ctrl-C stops it half way.
        let unstopped = Unstopped::begin()?;
        let wrong = before.failed(uptime());
        store(&self.files.attempts(), &wrong)?;
        tell("trying; this takes some seconds");
        let outcome = match self.open(key, tell) {
            Ok(opened) => {
                store(&self.files.opened(), &opened)?;
                store(&self.files.attempts(), &Attempts::default())?;
                Outcome::Opened(opened)
            }
            Err(error) if error.is_wrong_key() => {
                store(&self.files.attempts(), &before.failed(uptime()))?;
                Outcome::Wrong(wrong_text(wrong, &error))
            }
            // No guess: it was not even tried.
            Err(error) => {
                store(&self.files.attempts(), &before)?;
                Outcome::Impossible(error.to_string())
            }
        };
        drop(unstopped);
        Ok(outcome)
    }

    fn open(&self, key: &Typed, tell: &mut dyn FnMut(&str)) -> Result<Opened, NotOpened> {
        match key {
            Typed::Key(key) => Ok(open_volume(self.known, key, self.place, tell)?),
            Typed::Pin(pin) => {
                let opened = tpm::open(self.known, Some(pin), tell)?;
                Ok(Opened { place: self.place.to_owned(), ..opened })
            }
        }
    }
}

/// What a person typed.
enum Typed {
    /// A passphrase or a recovery key.
    Key(Key),
    /// The PIN of a TPM's slot.
    Pin(Pin),
}

/// Waits for the turn; it lasts as long as the file is open.
pub(crate) fn lock(files: &RunFiles, tell: &mut dyn FnMut(&str)) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(files.lock())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        tell("somebody else is trying at this moment; waiting for the turn");
        flock(&file, FlockOperation::LockExclusive)?;
    }
    Ok(file)
}

/// Opens the very volume that the record names.
pub(crate) fn open_volume(
    known: &Known,
    key: &Key,
    place: &str,
    tell: &mut dyn FnMut(&str),
) -> Result<Opened, LuksError> {
    let mut volume = Volume::open(&known.device)?;
    volume.expect_uuid(&known.luks_uuid)?;
    if let Some(copy) = volume.repaired() {
        tell(&format!("the {copy} copy of the LUKS2 header was damaged and is repaired; watch this disk"));
    }
    let (slot, volume_key) = volume.unlock(key)?;
    match volume.activate(MAPPING, &volume_key) {
        // One who was killed between the opening and the news.
        Err(LuksError::AlreadyOpen(_)) if is_mapped() => {}
        other => other?,
    }
    Ok(Opened { kind: key.kind(), slot, place: place.to_owned() })
}

fn wrong_text(wrong: Attempts, error: &NotOpened) -> String {
    let count = wrong.wrong;
    if count >= MANY {
        return format!("{error}; that was wrong {count} times, so there is one attempt every 15 minutes from now on");
    }
    let damage = if count < UNLIKELY {
        ""
    } else {
        "; if it is surely right, the disk may have lost what it opens: type another key, or `ssh … restore-header` takes a \
         backup of the header"
    };
    format!("{error} ({count} wrong so far){damage}")
}

#[cfg(test)]
mod tests;
