//! What is gathered on a computer: programs are asked, files are listed, few are read.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Entry;

/// Bytes that are read of a file.
const LARGEST: u64 = 1 << 20;
/// Files that are listed of one folder and all below.
const MOST_LISTED: usize = 2000;

/// Name in the bundle, program and arguments. Each of them only reads, and none is told a secret.
const PROGRAMS: [(&str, &str, &[&str]); 12] = [
    (
        "journal/meadowd.txt",
        "journalctl",
        &["--no-pager", "--output=short-iso-precise", "--lines=20000", "--unit=meadowd.service"],
    ),
    (
        "journal/meadow.txt",
        "journalctl",
        &["--no-pager", "--output=short-iso-precise", "--lines=20000", "--unit=meadow-*"],
    ),
    ("journal/kernel.txt", "journalctl", &["--no-pager", "--output=short-monotonic", "--lines=20000", "--dmesg"]),
    (
        "journal/errors.txt",
        "journalctl",
        &["--no-pager", "--output=short-iso-precise", "--lines=5000", "--priority=warning"],
    ),
    ("system/failed-units.txt", "systemctl", &["--no-pager", "--plain", "--failed"]),
    ("system/units.txt", "systemctl", &["--no-pager", "--plain", "status", "meadowd.service", "meadow-disks.socket"]),
    (
        "disks/lsblk.json",
        "lsblk",
        &[
            "--json",
            "--bytes",
            "--output=NAME,TYPE,SIZE,RO,RM,TRAN,MODEL,SERIAL,FSTYPE,PARTTYPE,PARTLABEL,PARTUUID,MOUNTPOINTS",
        ],
    ),
    ("network/addresses.json", "ip", &["-json", "address"]),
    ("network/links.json", "ip", &["-json", "-statistics", "link"]),
    ("network/routes.json", "ip", &["-json", "route", "show", "table", "all"]),
    ("network/neighbours.json", "ip", &["-json", "neighbour"]),
    ("network/sockets.txt", "ss", &["--numeric", "--all", "--tcp", "--udp"]),
];

/// Name in the bundle and file. None of them holds a secret of its own accord.
const FILES: [(&str, &str); 10] = [
    ("system/kernel.txt", "proc/version"),
    ("system/command-line.txt", "proc/cmdline"),
    ("system/uptime.txt", "proc/uptime"),
    ("system/memory.txt", "proc/meminfo"),
    ("system/mounts.txt", "proc/mounts"),
    ("system/os-release.txt", "usr/lib/os-release"),
    ("system/boot-report.json", "run/meadow/boot-report.json"),
    ("network/hosts.txt", "etc/hosts"),
    ("network/resolv.conf", "etc/resolv.conf"),
    ("cluster/membership.json", "var/lib/meadow/membership.json"),
];

/// Folders whose files are listed by name, size and mode, and not read.
const LISTED: [(&str, &str); 2] = [("state/files.txt", "var/lib/meadow"), ("state/run-files.txt", "run/meadow")];

/// Gathers what this computer tells; `root` is `/`. What cannot be had is said where it would be.
#[must_use]
pub fn gather(root: &Path) -> Vec<Entry> {
    let programs = PROGRAMS.iter().map(|(name, program, arguments)| entry(name, said_by(program, arguments)));
    let files = FILES.iter().map(|(name, path)| entry(name, read(&root.join(path))));
    let listed = LISTED.iter().map(|(name, path)| entry(name, list(&root.join(path)).into_bytes()));
    programs.chain(files).chain(listed).collect()
}

fn entry(name: &str, bytes: Vec<u8>) -> Entry {
    Entry { name: name.to_owned(), bytes }
}

fn said_by(program: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() || !output.stdout.is_empty() => output.stdout,
        Ok(output) => {
            format!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into_bytes()
        }
        Err(error) => format!("{program} cannot be run: {error}\n").into_bytes(),
    }
}

fn read(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)) {
        Ok(_) => bytes,
        Err(error) => format!("{} cannot be read: {error}\n", path.display()).into_bytes(),
    }
}

fn list(folder: &Path) -> String {
    let (mut text, mut open, mut left) = (String::new(), vec![folder.to_owned()], MOST_LISTED);
    while let Some(path) = open.pop() {
        let mut paths: Vec<PathBuf> = match fs::read_dir(&path) {
            Ok(found) => found.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error) => {
                let _ = writeln!(text, "{}: {error}", path.display());
                continue;
            }
        };
        paths.sort();
        for path in paths {
            let Ok(is) = fs::symlink_metadata(&path) else { continue };
            left = left.saturating_sub(1);
            if left == 0 {
                text.push_str("and more\n");
                return text;
            }
            let _ = writeln!(text, "{:o} {:>12} {}", is.permissions().mode(), is.len(), path.display());
            if is.is_dir() {
                open.push(path);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bundle, Secrets};

    #[test]
    fn keys_are_listed_and_not_read_and_what_is_missing_is_said() {
        let root = tempfile::tempdir().expect("a folder");
        let state = root.path().join("var/lib/meadow");
        fs::create_dir_all(&state).expect("a folder");
        fs::write(state.join("wireguard.key"), b"very secret bytes, thirty-two in all").expect("written");
        fs::create_dir_all(root.path().join("run/meadow")).expect("a folder");
        fs::write(root.path().join("run/meadow/boot-report.json"), br#"{"firmware":"bios"}"#).expect("written");
        let bundle = Bundle::without(&Secrets::of(&[&state]), gather(root.path()));
        let named = |name: &str| {
            let found = bundle.entries().iter().find(|entry| entry.name == name).expect("there");
            String::from_utf8_lossy(&found.bytes).into_owned()
        };
        assert!(named("state/files.txt").contains("wireguard.key"));
        assert_eq!(named("system/boot-report.json"), r#"{"firmware":"bios"}"#);
        assert!(named("network/hosts.txt").contains("cannot be read"));
        assert!(bundle.entries().iter().all(|entry| !String::from_utf8_lossy(&entry.bytes).contains("very secret")));
    }
}
