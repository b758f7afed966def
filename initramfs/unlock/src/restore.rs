//! Takes a backup of a damaged LUKS2 header from whoever may unlock.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use meadow_luks::{LuksError, Volume, restore_header};

use crate::news::opened;
use crate::run_files::{Known, RunFiles, load};
use crate::session::{IMPOSSIBLE, USAGE, WRONG};

/// A header with all its key slots has 16 MiB.
const LARGEST: u64 = 32 << 20;

/// Reads the backup from standard input and puts it in place of a header that opens with no key. One that is whole is
/// never replaced: an old backup would bring back passphrases that were removed.
#[must_use]
pub fn run() -> ExitCode {
    let files = RunFiles::here();
    let Some(known) = load::<Known>(&files.known()).filter(|_| opened(&files).is_none()) else {
        eprintln!("there is no locked state here: `status` shows the boot");
        return ExitCode::from(USAGE);
    };
    if let Err(why) = is_damaged(&known) {
        eprintln!("{why}");
        return ExitCode::from(USAGE);
    }
    let backup = files.header_backup();
    let ended = match receive(io::stdin().lock(), &backup) {
        Ok(()) => match restore_header(&known.device, &backup, &known.luks_uuid) {
            Ok(_) => {
                println!("the header is restored; log in again and unlock with a passphrase of the time of the backup");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(IMPOSSIBLE)
            }
        },
        Err(error) => {
            eprintln!("the backup did not arrive ({error}): send it on standard input, `ssh … restore-header < FILE`");
            ExitCode::from(WRONG)
        }
    };
    // It may be missing where it did not arrive; the memory is needed otherwise.
    let _ = fs::remove_file(backup);
    ended
}

fn is_damaged(known: &Known) -> Result<(), String> {
    match Volume::open(&known.device) {
        Err(LuksError::HeaderDamaged(_) | LuksError::NotLuks(_)) => Ok(()),
        Ok(_) => Err("the header is whole; nothing needs to be restored, and nothing was".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn receive(from: impl Read, path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let count = io::copy(&mut from.take(LARGEST + 1), &mut file)?;
    match count {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing came")),
        count if count > LARGEST => Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than any header")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        assert!(receive(io::empty(), &path).is_err());
        assert!(receive(io::repeat(0), &path).is_err());
        assert!(fs::metadata(&path).unwrap().len() <= LARGEST + 1);
        assert!(receive(&b"header"[..], &path).is_ok());
    }

    #[test]
    fn only_a_damaged_header_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("state");
        File::create(&device).unwrap().set_len(32 << 20).unwrap();
        let node = "node-1".parse().unwrap();
        let known = Known { device, luks_uuid: String::new(), node, cluster: String::new(), pin: false };
        assert_eq!(is_damaged(&known), Ok(()));
        drop(Volume::format(&known.device, None).unwrap());
        assert!(is_damaged(&known).unwrap_err().contains("whole"));
    }
}
