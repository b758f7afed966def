//! The managed block in `/etc/hosts`.
//!
//! Between two marker lines stand the names of the cluster's nodes; every other byte of the file belongs to the
//! machine's owner and stays as it is. Each line of ours ends in a tag as well, so that a block whose end marker got
//! lost can be told from what somebody wrote below it.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use meadow_model::name::{InvalidName, Name};

use crate::files::{self, Access, FileError};

const BEGIN: &[u8] = b"# BEGIN meadow";
const END: &[u8] = b"# END meadow";
const TAG: &str = "# meadow";
/// Larger hosts files exist (lists that block advertising), but not by much.
const LIMIT: u64 = 16 << 20;
/// What a machine without a hosts file gets besides the block: programs rely on these names.
const LOCALHOST: &[u8] = b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
/// More symlinks than the kernel follows either (`ELOOP`).
const MAX_SYMLINKS: usize = 40;

/// An address and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    address: IpAddr,
    names: Vec<String>,
}

impl HostEntry {
    /// An address with at least one name; each is a [`Name`], or several joined by dots.
    ///
    /// # Errors
    /// [`InvalidName`] for the first label that is none, or where there is no name.
    pub fn new<S: Into<String>>(address: IpAddr, names: impl IntoIterator<Item = S>) -> Result<Self, InvalidName> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        for label in names.iter().flat_map(|name| name.split('.')) {
            Name::new(label)?;
        }
        if names.is_empty() {
            Name::new("")?;
        }
        Ok(Self { address, names })
    }
}

/// What [`apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The file already said so.
    Unchanged,
    /// Replaced whole, by a rename.
    Replaced,
    /// Overwritten where it lies, since its folder or mount does not allow a rename.
    InPlace,
}

/// The hosts file `old` with the managed block holding exactly `entries`; no block where there are none.
///
/// The block stays where it was, or goes to the end. Bytes outside of it stay as they are, but that a last line without
/// a line end gets one when a block is put after it.
#[must_use]
pub fn render(old: &[u8], entries: &[HostEntry]) -> Vec<u8> {
    let (mut before, after) = without_blocks(old);
    if entries.is_empty() {
        before.extend_from_slice(&after);
        return before;
    }
    if before.last().is_some_and(|byte| *byte != b'\n') {
        before.push(b'\n');
    }
    before.extend_from_slice(&block(entries));
    before.extend_from_slice(&after);
    before
}

/// What stands before and after the first block, with every block taken out.
fn without_blocks(old: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut seen = false;
    let mut lines = old.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if is_marker(line, BEGIN) {
            seen = true;
            // Lines of ours end the block too when its end marker is gone; nothing else is ever dropped.
            while lines.next_if(|line| is_ours(line)).is_some() {}
            lines.next_if(|line| is_marker(line, END));
        } else if !is_marker(line, END) {
            if seen { &mut after } else { &mut before }.extend_from_slice(line);
        }
    }
    (before, after)
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.trim_ascii() == marker
}

fn is_ours(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(TAG.as_bytes()) && !line.trim_ascii_start().starts_with(b"#")
}

fn block(entries: &[HostEntry]) -> Vec<u8> {
    let mut block = [BEGIN, b"\n"].concat();
    for entry in entries {
        block.extend_from_slice(format!("{} {} {TAG}\n", entry.address, entry.names.join(" ")).as_bytes());
    }
    block.extend_from_slice(END);
    block.push(b'\n');
    block
}

/// Brings the managed block of the hosts file at `path` to `entries`.
///
/// A symlink is followed, and the file behind it replaced atomically, with its mode and owner kept. Where that cannot
/// be (the file is itself a mount point, or its folder is not writable, as under systemd's `ReadWritePaths=/etc/hosts`)
/// it is overwritten in place, see [`files::overwrite_in_place`].
///
/// # Errors
/// [`FileError`]; the file is then as it was.
pub fn apply(path: &Path, entries: &[HostEntry]) -> Result<Written, FileError> {
    let path = resolve(path)?;
    let Some(old) = files::read_optional(&path, LIMIT)? else {
        files::replace(&path, &render(LOCALHOST, entries), Access::Public)?;
        return Ok(Written::Replaced);
    };
    let new = render(&old, entries);
    if new == old {
        return Ok(Written::Unchanged);
    }
    let like = fs::metadata(&path).map_err(|source| FileError::Io { action: "read", path: path.clone(), source })?;
    match files::replace_like(&path, &new, &like) {
        Ok(()) => Ok(Written::Replaced),
        Err(error) if error.io_kind().is_some_and(rename_impossible) => {
            files::overwrite_in_place(&path, &new)?;
            Ok(Written::InPlace)
        }
        Err(error) => Err(error),
    }
}

/// Whether the place of a file, rather than the file, refused.
fn rename_impossible(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
    )
}

/// The file behind any symlinks, whether it exists or not.
fn resolve(path: &Path) -> Result<PathBuf, FileError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            // Not a symlink, or not there: both are answered by reading it.
            Err(_) => return Ok(path),
        }
    }
    let source = io::Error::from_raw_os_error(libc::ELOOP);
    Err(FileError::Io { action: "follow the symlink", path, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn entry(address: &str, name: &str) -> HostEntry {
        HostEntry::new(address.parse().expect("address"), [name]).expect("valid name")
    }

    fn rendered(old: &str, entries: &[HostEntry]) -> String {
        String::from_utf8(render(old.as_bytes(), entries)).expect("UTF-8")
    }

    const BLOCK: &str = "# BEGIN meadow\nfd00::1 a # meadow\n# END meadow\n";

    #[test]
    fn the_block_is_put_replaced_and_taken_out() {
        let a = [entry("fd00::1", "a")];
        for (old, entries, expected) in [
            ("", &a[..], BLOCK.to_owned()),
            ("127.0.0.1 localhost", &a, format!("127.0.0.1 localhost\n{BLOCK}")),
            ("x\n# BEGIN meadow\n# END meadow\ny", &a, format!("x\n{BLOCK}y")),
            ("x\r\n# BEGIN meadow\r\nfd00::9 z # meadow\r\n# END meadow\r\ny\r\n", &a, format!("x\r\n{BLOCK}y\r\n")),
            ("x\n# BEGIN meadow\nfd00::9 z # meadow\n# END meadow\ny", &[], "x\ny".to_owned()),
            ("", &[], String::new()),
        ] {
            assert_eq!(rendered(old, entries), expected, "{old:?}");
        }
    }

    #[test]
    fn a_lost_end_marker_costs_no_foreign_line() {
        let old = "x\n# BEGIN meadow\nfd00::9 z # meadow\n10.0.0.1 printer\n# a note # meadow\n";
        let expected = format!("x\n{BLOCK}10.0.0.1 printer\n# a note # meadow\n");
        assert_eq!(rendered(old, &[entry("fd00::1", "a")]), expected);
    }

    #[test]
    fn two_blocks_become_one() {
        let old = format!("{BLOCK}x\n{BLOCK}y\n");
        assert_eq!(rendered(&old, &[entry("fd00::1", "a")]), format!("{BLOCK}x\ny\n"));
    }

    #[test]
    fn names_are_checked() {
        let address = IpAddr::from([192, 0, 2, 1]);
        for bad in ["a b", "a\n10.0.0.1 b", "", "a..b", "A#"] {
            assert!(HostEntry::new(address, [bad]).is_err(), "{bad:?}");
        }
        assert!(HostEntry::new(address, Vec::<String>::new()).is_err());
        assert!(HostEntry::new(address, ["node-1", "node-1.home"]).is_ok());
    }

    fn foreign_line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("# BEGIN meadow".to_owned()),
            Just("# END meadow".to_owned()),
            Just("fd00::7 old # meadow".to_owned()),
            "[ -~]{0,20}".prop_map(|text| text),
        ]
    }

    fn file() -> impl Strategy<Value = String> {
        (prop::collection::vec((foreign_line(), prop_oneof![Just("\n"), Just("\r\n")]), 0..12), foreign_line())
            .prop_map(|(lines, last)| {
                lines.iter().map(|(line, end)| format!("{line}{end}")).collect::<String>() + &last
            })
    }

    fn entries() -> impl Strategy<Value = Vec<HostEntry>> {
        prop::collection::vec(("[a-z][a-z0-9]{0,8}", any::<u128>()), 0..5).prop_map(|list| {
            let to_entry = |(name, bits): (String, u128)| {
                HostEntry::new(std::net::Ipv6Addr::from_bits(bits).into(), [name]).expect("valid name")
            };
            list.into_iter().map(to_entry).collect()
        })
    }

    /// Lines that are neither markers nor tagged as ours, with their line ends.
    fn foreign(text: &[u8]) -> Vec<&[u8]> {
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty() && !is_marker(line, BEGIN) && !is_marker(line, END) && !is_ours(line))
            .collect()
    }

    proptest! {
        #[test]
        fn rendering_twice_changes_nothing(old in file(), entries in entries()) {
            let once = render(old.as_bytes(), &entries);
            prop_assert_eq!(render(&once, &entries), once);
        }

        #[test]
        fn foreign_lines_stay_in_order_byte_by_byte(old in file(), entries in entries()) {
            let new = render(old.as_bytes(), &entries);
            prop_assert_eq!(foreign(&new), foreign(old.as_bytes()));
        }

        #[test]
        fn the_block_holds_exactly_the_entries(old in file(), entries in entries()) {
            let new = render(old.as_bytes(), &entries);
            let block = block(&entries);
            let found = new.windows(block.len()).filter(|window| *window == block).count();
            prop_assert_eq!(found, usize::from(!entries.is_empty()));
        }
    }

    #[test]
    fn a_dangling_symlink_gets_its_file_with_localhost() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(folder.path().join("run")).expect("folder");
        let link = folder.path().join("hosts");
        symlink("run/hosts", &link).expect("symlink");
        let entries = [entry("fd00::1", "a")];
        assert_eq!(apply(&link, &entries).expect("applied"), Written::Replaced);
        assert!(fs::symlink_metadata(&link).expect("metadata").is_symlink());
        let text = fs::read_to_string(folder.path().join("run/hosts")).expect("read");
        assert!(text.starts_with("127.0.0.1 localhost\n") && text.ends_with(BLOCK), "{text}");
        assert_eq!(apply(&link, &entries).expect("applied"), Written::Unchanged);
    }

    #[test]
    fn a_ring_of_symlinks_is_an_error() {
        let folder = tempfile::tempdir().expect("temporary folder");
        symlink("b", folder.path().join("a")).expect("symlink");
        symlink("a", folder.path().join("b")).expect("symlink");
        assert!(apply(&folder.path().join("a"), &[]).is_err());
    }
}
