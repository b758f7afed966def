//! Passphrases: from a file or typed, never on a command line.

use std::path::Path;

use meadow_host::files;
use meadow_model::Secret;

use crate::exit::Failure;
use crate::prompt::Prompt;

/// Shorter ones are guessed; Argon2id slows a guess down, it does not make a short one long.
const SHORTEST: usize = 8;
/// cryptsetup takes no longer one when it is typed.
const LONGEST: usize = 512;
/// Characters of a PIN: fewer than of any passphrase, so that a prompt can take either.
const PIN: std::ops::RangeInclusive<usize> = 4..=7;
const LARGEST_FILE: u64 = 4096;

/// The passphrase in the first line of `file`, or what the person types once.
///
/// # Errors
/// Where there is none.
pub(super) fn existing(prompt: Prompt, file: Option<&Path>, question: &str) -> anyhow::Result<Secret<String>> {
    let text = match file {
        Some(file) => first_line(file)?,
        None => prompt.ask_secret(question, "use --passphrase-file FILE")?,
    };
    if text.expose().is_empty() {
        return Err(Failure::usage("an empty passphrase opens nothing").into());
    }
    Ok(text)
}

/// A new passphrase: as [`existing`], typed twice.
///
/// # Errors
/// Where it is too short or too long, or the second one differs.
pub(super) fn new(prompt: Prompt, file: Option<&Path>, option: &str) -> anyhow::Result<Secret<String>> {
    let text = match file {
        Some(file) => first_line(file)?,
        None => {
            let instead = format!("use {option} FILE");
            let text = prompt.ask_secret("New passphrase:", &instead)?;
            if prompt.ask_secret("The same again:", &instead)? != text {
                return Err(Failure::usage("the two passphrases differ; nothing was done").into());
            }
            text
        }
    };
    check(text.expose())?;
    Ok(text)
}

/// A PIN for a TPM, as [`new`]; the node refuses one that is none.
///
/// # Errors
/// Where there is none, or the second one differs.
pub(super) fn pin(prompt: Prompt, file: Option<&Path>) -> anyhow::Result<Secret<String>> {
    let text = match file {
        Some(file) => first_line(file)?,
        None => {
            let text = prompt.ask_secret("New PIN:", "use --pin-file FILE")?;
            if prompt.ask_secret("The same again:", "use --pin-file FILE")? != text {
                return Err(Failure::usage("the two PINs differ; nothing was done").into());
            }
            text
        }
    };
    if !PIN.contains(&text.expose().chars().count()) {
        return Err(Failure::usage("a PIN has 4 to 7 characters; the TPM counts wrong ones").into());
    }
    Ok(text)
}

fn check(text: &str) -> anyhow::Result<()> {
    let length = text.chars().count();
    if length < SHORTEST {
        let message =
            format!("a passphrase of {length} characters is guessed; take at least {SHORTEST}, better five words");
        return Err(Failure::usage(message).into());
    }
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(
            Failure::usage(format!("a passphrase has at most {LONGEST} bytes and no control characters")).into()
        );
    }
    Ok(())
}

fn first_line(file: &Path) -> anyhow::Result<Secret<String>> {
    let bytes = Secret::new(files::read(file, LARGEST_FILE)?);
    let line = bytes.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = std::str::from_utf8(line).map_err(|_| Failure::usage(format!("{} is no text", file.display())))?;
    Ok(Secret::new(text.trim_end_matches('\r').to_owned()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make files of their own")]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_passphrase() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passphrase");
        for (contents, expected) in [("correct horse\nmore", Some("correct horse")), ("eight ch\r\n", Some("eight ch"))]
        {
            std::fs::write(&file, contents).expect("written");
            let read = new(Prompt::new(true), Some(&file), "--passphrase-file").expect("good");
            assert_eq!(Some(read.expose().as_str()), expected);
        }
        for bad in ["short", "", &"x".repeat(600), "with\tcontrol"] {
            std::fs::write(&file, bad).expect("written");
            assert!(new(Prompt::new(true), Some(&file), "--passphrase-file").is_err(), "{bad}");
        }
        assert!(existing(Prompt::new(true), None, "Passphrase:").is_err(), "nobody can be asked");
    }
}
