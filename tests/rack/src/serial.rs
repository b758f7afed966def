//! What a machine writes on its serial line.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Begins every line that the initramfs and the agent write for rigs.
const MILESTONE: &str = "meadow: ";

/// The log of a serial line, read from where one wants.
#[derive(Clone, Debug)]
pub struct SerialLog {
    path: PathBuf,
}

impl SerialLog {
    /// The log in the file `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Puts what was written aside, into a file of the same name with `.old` behind it.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn forget(&self) -> Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        match std::fs::rename(&self.path, &old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot rename {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text from the byte `start` on, without the escape sequences of terminals.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn text_from(&self, start: u64) -> Result<String> {
        Ok(strip_escapes(&String::from_utf8_lossy(&self.bytes_from(start)?)))
    }

    /// The bytes from the byte `start` on, as they went over the line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes_from(&self, start: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(start))?;
            file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.path.display()))?;
        }
        Ok(bytes)
    }

    /// The milestones from the byte `start` on, without `meadow: `.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn milestones(&self, start: u64) -> Result<Vec<String>> {
        Ok(milestones(&self.text_from(start)?))
    }
}

/// Only whole lines: one that is still being written would match too early.
fn milestones(text: &str) -> Vec<String> {
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    whole
        .lines()
        .filter_map(|line| line.split_once(MILESTONE))
        .map(|(_, milestone)| milestone.trim().to_owned())
        .collect()
}

/// Removes ANSI control sequences (ECMA-48: `ESC [ … final byte`, and `ESC` with one more character).
fn strip_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next() == Some('[') {
            // The final byte ends the sequence.
            let _ = characters.find(|next| ('@'..='~').contains(next));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_dropped_and_the_text_stays() {
        assert_eq!(strip_escapes("\u{1b}[2J\u{1b}[01;01Hmeadow: init\r\n\u{1b}cx\u{1b}"), "meadow: init\r\nx");
    }

    #[test]
    fn only_whole_lines_are_milestones() {
        let text = "SeaBIOS\r\nmeadow: init\r\n[ 3.1] meadow: network eth0 192.0.2.10/24\nnoise\nmeadow: root ver";
        assert_eq!(milestones(text), ["init", "network eth0 192.0.2.10/24"]);
        assert!(milestones("meadow: init").is_empty());
    }
}
