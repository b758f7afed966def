//! What a rack has started, on disk, so that whoever comes after a crash can take it down and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::process::{self, ProcessId};

/// One thing outside the rack's own folder that has to go at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// A running program.
    Process(ProcessId),
    /// A named network namespace, with all links in it.
    Namespace(String),
    /// A file or symbolic link.
    File(PathBuf),
    /// A folder, removed only if it is empty.
    Folder(PathBuf),
    /// A control group, with all groups and processes in it.
    Cgroup(PathBuf),
}

/// The list of [`Entry`]s of one rack, one JSON value a line.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// The same once more, for the case that somebody removes the file while the rack stands.
    entries: Vec<Entry>,
}

impl Ledger {
    /// Begins an empty list.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, entries: Vec::new() })
    }

    /// Notes something. For all but processes, call it before the thing is made.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn note(&mut self, entry: &Entry) -> Result<()> {
        self.entries.push(entry.clone());
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Takes down everything that was noted, newest first, and then forgets it.
    ///
    /// # Errors
    /// When a namespace or file cannot be removed; the list is kept then.
    pub fn undo(&mut self) -> Result<()> {
        take_down(&self.entries)?;
        self.entries.clear();
        forget(&self.path)
    }

    /// The same for the list that a rack which has died left at `path`, if it left one.
    ///
    /// # Errors
    /// When the list cannot be read, or as [`Ledger::undo`].
    pub fn undo_left(path: &Path) -> Result<()> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        take_down(&parse(&text))?;
        forget(path)
    }
}

fn take_down(entries: &[Entry]) -> Result<()> {
    let process = |entry: &Entry| if let Entry::Process(id) = entry { Some(*id) } else { None };
    process::end(&entries.iter().filter_map(process).collect::<Vec<ProcessId>>());
    for entry in entries.iter().rev() {
        match entry {
            Entry::Process(_) => {}
            Entry::Namespace(name) => remove_namespace(name)?,
            Entry::File(path) => forget(path)?,
            // Somebody else's files may be in it: then it stays.
            Entry::Folder(path) => drop(fs::remove_dir(path)),
            Entry::Cgroup(path) => cgroup::remove(path)?,
        }
    }
    Ok(())
}

/// A last line that was cut off by a crash names something that was not made yet: it is left out.
fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn remove_namespace(name: &str) -> Result<()> {
    if !Path::new("/run/netns").join(name).exists() {
        return Ok(());
    }
    let status = Command::new("ip").args(["netns", "del", name]).status().context("cannot run ip(8)")?;
    anyhow::ensure!(status.success(), "cannot remove the network namespace {name}: `ip netns del {name}` failed");
    Ok(())
}

fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_removes_what_is_listed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        let (mine, empty, shared) =
            (folder.path().join("mine"), folder.path().join("empty"), folder.path().join("shared"));
        let other = shared.join("other");
        let mut ledger = Ledger::create(&path).expect("created");
        for entry in [
            Entry::Folder(empty.clone()),
            Entry::Folder(shared.clone()),
            Entry::File(mine.clone()),
            Entry::File(folder.path().join("never-made")),
        ] {
            ledger.note(&entry).expect("noted");
        }
        fs::create_dir(&empty).expect("made");
        fs::create_dir(&shared).expect("made");
        fs::write(&mine, "").expect("made");
        fs::write(&other, "").expect("made");
        Ledger::undo_left(&path).expect("undone");
        assert!(!mine.exists() && !empty.exists() && !path.exists());
        assert!(other.exists());
        Ledger::undo_left(&path).expect("twice is fine");
    }

    #[test]
    fn a_ledger_whose_file_was_removed_is_undone_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, mine) = (folder.path().join("ledger"), folder.path().join("mine"));
        let mut ledger = Ledger::create(&path).expect("created");
        ledger.note(&Entry::File(mine.clone())).expect("noted");
        fs::write(&mine, "").expect("made");
        fs::remove_file(&path).expect("removed");
        ledger.undo().expect("undone");
        assert!(!mine.exists());
    }

    #[test]
    fn a_torn_last_line_is_left_out() {
        let whole = serde_json::to_string(&Entry::Namespace("mdw1-lan".to_owned())).expect("json");
        assert_eq!(
            parse(&format!("{whole}\n{}", &whole[..whole.len() - 3])),
            [Entry::Namespace("mdw1-lan".to_owned())]
        );
    }
}
