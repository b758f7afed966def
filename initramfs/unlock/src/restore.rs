//! Takes a backup of a damaged LUKS2 header from whoever may unlock.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use meadow_luks::{LuksError, restore_header};
use rustix::fs::{FlockOperation, flock};

use crate::attempt;
use crate::news::opened;
use crate::patience::Patient;
use crate::run_files::{Known, RunFiles, load, store};
use crate::session::{IMPOSSIBLE, USAGE, WRONG};
use crate::throttle::Attempts;
use crate::unstopped::Unstopped;

/// A header with all its key slots has 16 MiB.
const LARGEST: u64 = 32 << 20;

/// Why nothing was put back, with the next step.
#[derive(Debug)]
struct Refused {
    code: u8,
    why: String,
}

/// Reads the backup from standard input and puts it in place of a header that opens with no key, or of one with the very
/// same keys, of which only the slots themselves can be damaged. Another one that is whole is never replaced: an old backup
/// would bring back passphrases that were removed.
#[must_use]
pub fn run() -> ExitCode {
    let input = io::stdin().as_fd().try_clone_to_owned().map(|input| Patient::new(input.into()));
    let restored = input
        .map_err(did_not_arrive)
        .and_then(|input| restore(&RunFiles::here(), input, &mut |text| eprintln!("{text}")));
    match restored {
        Ok(()) => {
            println!("the header is restored; log in again and unlock with a passphrase of the time of the backup");
            ExitCode::SUCCESS
        }
        Err(Refused { code, why }) => {
            eprintln!("{why}");
            ExitCode::from(code)
        }
    }
}

fn restore(files: &RunFiles, from: impl Read, tell: &mut dyn FnMut(&str)) -> Result<(), Refused> {
    let _turn = take_turn(files)?;
    // Under the lock: PID 1 takes it too before it goes on without a state that is lost, and forgets it.
    let known = load::<Known>(&files.known()).filter(|_| opened(files).is_none());
    let known = known.ok_or_else(|| Refused {
        code: USAGE,
        why: "there is no locked state here: `status` shows the boot".to_owned(),
    })?;
    let backup = files.header_backup();
    let ended = receive(from, &backup).map_err(did_not_arrive).and_then(|()| put_back(files, &known, &backup, tell));
    // It may be missing where it did not arrive; the memory is needed otherwise.
    let _ = fs::remove_file(backup);
    ended
}

/// One backup at a time: each needs its room in memory.
fn take_turn(files: &RunFiles) -> Result<File, Refused> {
    let open = File::options().write(true).create(true).truncate(false).mode(0o600).open(files.restore_lock());
    let file = open.map_err(broke_off)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Refused {
        code: USAGE,
        why: "somebody else sends a backup at this moment; wait for its end, and look at `status`".to_owned(),
    })?;
    Ok(file)
}

/// Whoever tries a key meanwhile waits: it is not to meet half of a header.
fn put_back(files: &RunFiles, known: &Known, backup: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), Refused> {
    let _lock = attempt::lock(files, tell).map_err(broke_off)?;
    if opened(files).is_some() {
        return Err(Refused { code: USAGE, why: "the state was opened meanwhile; nothing was restored".to_owned() });
    }
    let _unstopped = Unstopped::begin().map_err(broke_off)?;
    restore_header(&known.device, backup, &known.luks_uuid).map_err(|error| {
        let code = if matches!(error, LuksError::KeysChanged(_)) { USAGE } else { IMPOSSIBLE };
        Refused { code, why: error.to_string() }
    })?;
    // The right one was wrong on a damaged slot. Whoever has the backup guesses on it at leisure, so nothing is given away.
    store(&files.attempts(), &Attempts::default()).map_err(broke_off)
}

fn receive(from: impl Read, path: &Path) -> io::Result<()> {
    // Of a session that was killed; only one has the turn.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let count = io::copy(&mut from.take(LARGEST + 1), &mut file)?;
    match count {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "nothing came")),
        count if count > LARGEST => Err(io::Error::new(ErrorKind::InvalidData, "it is larger than any header")),
        _ => Ok(()),
    }
}

fn did_not_arrive(error: io::Error) -> Refused {
    let why = format!("the backup did not arrive ({error}): send it on standard input, `ssh … restore-header < FILE`");
    Refused { code: WRONG, why }
}

fn broke_off(error: io::Error) -> Refused {
    Refused { code: IMPOSSIBLE, why: format!("this broke off ({error}): log in again and look at `status`") }
}

#[cfg(test)]
mod tests;
