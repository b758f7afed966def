//! GRUB's environment block: `meadow/grubenv` on the ESP, by which the boot loader is told which slot to start
//! (`docs/decisions/0006-installed-nodes.md`). This is its form; what its values mean for them, its readers know.
//!
//! It has no dependencies: PID 1 of the initramfs reads the file too.

use std::fmt;

/// Bytes of the file. GRUB writes it in place, so it never changes its size.
pub const BYTES: usize = 1024;
/// The slot that GRUB takes without being told otherwise: `b`, and `a` for everything else.
pub const BLESSED: &str = "blessed";
/// The slot that it takes once.
pub const TRY: &str = "try";
/// The slot that was to be taken once last; GRUB neither reads nor writes it.
pub const ATTEMPTED: &str = "attempted";
/// The slot of the newest start, where it was taken to be tried.
pub const TRIAL: &str = "trial";
/// Starts of the blessed slot in a row that nothing took back: see [`count`].
pub const FAILURES: &str = "failures";
/// As far as GRUB's script counts [`FAILURES`]; after so many it gives the other slot a turn.
pub const MOST_FAILURES: u8 = 3;

const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";
const FILL: u8 = b'#';

/// The file is not in GRUB's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock(&'static str);

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meadow/grubenv is not in GRUB's form ({}); the boot loader takes slot a then", self.0)
    }
}

impl std::error::Error for BadBlock {}

/// The lines of the file, each as it is written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    lines: Vec<Vec<u8>>,
}

impl Block {
    /// Reads the file as GRUB does.
    ///
    /// # Errors
    /// [`BadBlock`]
    pub fn parse(file: &[u8]) -> Result<Self, BadBlock> {
        let mut rest = file.strip_prefix(SIGNATURE).ok_or(BadBlock("its first line is another one"))?;
        if file.len() != BYTES {
            return Err(BadBlock("it has not 1024 bytes"));
        }
        let mut lines = Vec::new();
        while let Some((line, tail)) = next_line(rest) {
            lines.push(line.to_vec());
            rest = tail;
        }
        Ok(Self { lines })
    }

    /// The value of a variable, as it is written there; of several the last one, which is the one that GRUB keeps.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().rev().find_map(|line| value_of(line, name))
    }

    /// Takes a variable out, and gives its value.
    pub fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let value = self.value(name).map(<[u8]>::to_vec);
        self.lines.retain(|line| value_of(line, name).is_none());
        value
    }

    /// Gives a variable another value where it stands; says whether there is one.
    pub fn change(&mut self, name: &str, value: &str) -> bool {
        let mut found = false;
        for line in self.lines.iter_mut().filter(|line| value_of(line, name).is_some()) {
            *line = line_of(name, value);
            found = true;
        }
        found
    }

    /// Puts these variables in front of all others, in this order: they fit in any case.
    pub fn put_first(&mut self, variables: &[(&str, &str)]) {
        for (name, _) in variables {
            self.take(name);
        }
        self.lines.splice(..0, variables.iter().map(|(name, value)| line_of(name, value)));
    }

    /// The file. What does not fit is left out.
    #[must_use]
    pub fn bytes(&self) -> [u8; BYTES] {
        let mut file = [FILL; BYTES];
        file[..SIGNATURE.len()].copy_from_slice(SIGNATURE);
        let mut end = SIGNATURE.len();
        for line in &self.lines {
            if let Some(place) = file.get_mut(end..=end + line.len()) {
                place[..line.len()].copy_from_slice(line);
                place[line.len()] = b'\n';
                end += line.len() + 1;
            }
        }
        file
    }
}

/// What GRUB's script takes for a count of [`FAILURES`]; `None` where it does not count, and leaves the value as it is.
#[must_use]
pub fn count(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'0'..=b'9'] => Some(digit - b'0').filter(|count| *count <= MOST_FAILURES),
        _ => None,
    }
}

fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn line_of(name: &str, value: &str) -> Vec<u8> {
    format!("{name}={value}").into_bytes()
}

/// A line and what follows it. A backslash takes the next byte's meaning away; what fills the file is no line.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.first().is_none_or(|byte| *byte == FILL) {
        return None;
    }
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let ends = *byte == b'\n' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests;
