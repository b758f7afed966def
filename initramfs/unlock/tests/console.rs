//! The prompt on a console, by the program itself, on a terminal that stands in the place of the kernel's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use meadow_model::Name;
use meadow_unlock::run_files::{Known, store};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Runs a program where `/run` is that of an initramfs and `/dev` holds one terminal.
const AT_TERMINAL: &str = r#"
set -e
terminal=$1 name=$2 known=$3
shift 3
mount -t tmpfs none /run
mkdir /run/meadow
cp "$known" /run/meadow/state.json
: >/run/terminal
mount --bind "$terminal" /run/terminal
mount -t tmpfs none /dev
: >"/dev/$name"
mount --bind /run/terminal "/dev/$name"
exec "$@"
"#;

/// What the program asks on the terminal of that name.
fn asked_on(name: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let known = folder.path().join("state.json");
    let state = Known {
        device: PathBuf::from("/dev/none"),
        luks_uuid: "0f9c7a1e-5d0c-4a59-9d9e-4c5d6a1f2b3c".to_owned(),
        node: Name::new("node-1")?,
        cluster: "home".to_owned(),
        pin: false,
    };
    store(&known, &state)?;
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&person)?;
    unlockpt(&person)?;
    let name_of_terminal = ptsname(&person, Vec::new())?;
    let path = OsStr::from_bytes(name_of_terminal.as_bytes());
    // Not the terminal of whoever runs the test. Held by the program alone, so that its end is seen.
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let terminal = File::options().read(true).write(true).custom_flags(flags).open(path)?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", AT_TERMINAL, "sh"]);
    unshare.arg(path).arg(name).arg(&known).args([env!("CARGO_BIN_EXE_meadow-unlock"), "console", name]);
    let mut program = unshare.stdin(Stdio::null()).stdout(terminal).stderr(Stdio::piped()).spawn()?;
    drop(unshare);
    let asked = read_question(File::from(person));
    // It has ended, or asks for ever.
    let _ = program.kill();
    let ended = program.wait_with_output()?;
    asked.with_context(|| String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// All up to the question's end.
fn read_question(mut person: File) -> Result<String> {
    let (mut text, mut buffer) = (String::new(), [0; 256]);
    while !text.ends_with("of node-1: ") {
        let got = person.read(&mut buffer).with_context(|| format!("it ended after {text:?}"))?;
        text.push_str(std::str::from_utf8(&buffer[..got])?);
    }
    Ok(text)
}

#[test]
fn a_screen_names_the_layout_of_its_keyboard_and_a_serial_line_does_not() -> Result<()> {
    assert_eq!(asked_on("tty1")?, "(keys as on a US keyboard) Passphrase or recovery key of node-1: ");
    assert_eq!(asked_on("ttyS0")?, "Passphrase or recovery key of node-1: ");
    Ok(())
}
