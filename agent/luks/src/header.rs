//! The two copies of a LUKS2 header: which of them is whole.
//!
//! libcryptsetup repairs a damaged copy from the other one while it loads the header and says so to nobody; this looks
//! first, without writing, so that a person is told that the disk flips bits.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::LuksError;

const BINARY_BYTES: usize = 4096;
const MAGIC: [[u8; 6]; 2] = [*b"LUKS\xba\xbe", *b"SKUL\xba\xbe"];
/// Sizes that a copy may have, its JSON area included; the second copy begins where the first one ends.
const SIZES: [u64; 9] = [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
const CHECKSUM: std::ops::Range<usize> = 448..512;
const SHA256_BYTES: usize = 32;

/// One of the copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// At the start of the device.
    First,
    /// Behind the first one.
    Second,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "first",
            Self::Second => "second",
        })
    }
}

/// A whole copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// UUID of the volume.
    pub uuid: String,
    /// Label of the volume.
    pub label: String,
    /// Grows with every change; the copy with the higher one counts.
    pub sequence: u64,
    /// SHA-256 over the JSON.
    json: [u8; SHA256_BYTES],
    size: u64,
    /// First byte.
    place: u64,
}

impl Sound {
    /// Whether both are of one volume with the very same key slots. Whatever is changed in a slot gives it another random
    /// salt, which is in the JSON: where that is the same, all keys are.
    pub(crate) fn has_the_keys_of(&self, other: &Self) -> bool {
        self.uuid.eq_ignore_ascii_case(&other.uuid) && (self.size, self.json) == (other.size, other.json)
    }

    /// The bytes of the device that this header and its key slots use, in order; `None` where it does not tell.
    pub(crate) fn used(&self, device: &Path) -> Result<Option<Vec<Range<u64>>>, LuksError> {
        let read = || {
            // Both copies say the same, and the first one may be the damaged one.
            let length = usize::try_from(self.size).map_err(io::Error::other)?;
            let mut json = vec![0; length.saturating_sub(BINARY_BYTES)];
            File::open(device)?.read_exact_at(&mut json, self.place + BINARY_BYTES as u64)?;
            Ok(json)
        };
        let json = read().map_err(|source| LuksError::Io {
            action: "read the header in",
            device: device.to_owned(),
            source,
        })?;
        let Ok(parsed) = serde_json::from_slice::<Metadata>(json_in(&json)) else { return Ok(None) };
        let mut used = Vec::new();
        for slot in parsed.keyslots.values() {
            let place = slot.area.offset.parse::<u64>().ok().zip(slot.area.size.parse::<u64>().ok());
            let Some(end) = place.and_then(|(offset, size)| offset.checked_add(size)) else { return Ok(None) };
            used.push(place.map_or(0, |(offset, _)| offset)..end);
        }
        used.push(0..2 * self.size);
        used.sort_by_key(|range| range.start);
        Ok(Some(used))
    }
}

/// What is read of a header's JSON; its numbers are texts.
#[derive(Deserialize)]
struct Metadata {
    keyslots: BTreeMap<String, Slot>,
}

#[derive(Deserialize)]
struct Slot {
    area: Place,
}

#[derive(Deserialize)]
struct Place {
    offset: String,
    size: String,
}

/// What lies where a header is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The first copy; `None` where it is damaged or missing.
    pub first: Option<Sound>,
    /// The second copy; `None` where it is damaged or missing.
    pub second: Option<Sound>,
    /// Whether anything there looks like a LUKS2 header, damaged or not.
    pub traces: bool,
}

impl Copies {
    /// The copy that counts; `None` where none is whole.
    #[must_use]
    pub fn newest(&self) -> Option<&Sound> {
        self.first.iter().chain(&self.second).max_by_key(|copy| copy.sequence)
    }

    /// The damaged copy, where the other one is whole.
    #[must_use]
    pub fn damaged(&self) -> Option<Which> {
        match (&self.first, &self.second) {
            (None, Some(_)) => Some(Which::First),
            (Some(_), None) => Some(Which::Second),
            _ => None,
        }
    }
}

/// Looks at both copies on a device or in a file; opens it for reading only.
///
/// # Errors
/// [`LuksError::Io`]
pub fn inspect(device: &Path) -> Result<Copies, LuksError> {
    inspect_at(device, 0)
}

/// As [`inspect`], of a volume that begins at byte `start` of a device, such as a partition of a disk.
///
/// # Errors
/// [`LuksError::Io`]
pub fn inspect_at(device: &Path, start: u64) -> Result<Copies, LuksError> {
    let read = || {
        let file = Part { file: File::open(device)?, start };
        let first = sound(&file, 0, Which::First)?;
        let places = match &first {
            Some(copy) => vec![copy.size],
            None => SIZES.to_vec(),
        };
        let mut traces = first.is_some() || begins_with(&file, 0, MAGIC[0])?;
        let mut second = None;
        for place in places {
            traces |= begins_with(&file, place, MAGIC[1])?;
            second = second.or(sound(&file, place, Which::Second)?);
        }
        Ok(Copies { first, second, traces })
    };
    read().map_err(|source| LuksError::Io { action: "read the LUKS2 header of", device: device.to_owned(), source })
}

/// A device from some byte on.
struct Part {
    file: File,
    start: u64,
}

fn begins_with(file: &Part, offset: u64, magic: [u8; 6]) -> io::Result<bool> {
    let mut found = [0; 6];
    Ok(read_whole(file, &mut found, offset)? && found == magic)
}

/// The copy at `offset`, where it is whole.
fn sound(file: &Part, offset: u64, which: Which) -> io::Result<Option<Sound>> {
    let magic = match which {
        Which::First => MAGIC[0],
        Which::Second => MAGIC[1],
    };
    let mut bytes = vec![0; BINARY_BYTES];
    if !read_whole(file, &mut bytes, offset)? || !bytes.starts_with(&magic) {
        return Ok(None);
    }
    let size = number(&bytes, 8);
    let belongs = SIZES.contains(&size) && number(&bytes, 256) == offset && (offset == 0 || offset == size);
    let Some(length) = usize::try_from(size).ok().filter(|_| belongs) else { return Ok(None) };
    bytes.resize(length, 0);
    if !read_whole(file, &mut bytes, offset)? {
        return Ok(None);
    }
    let (uuid, label, sequence) = (text(&bytes[168..208]), text(&bytes[24..72]), number(&bytes, 16));
    // Other algorithms than SHA-256 are possible in the form, and written by nobody.
    let expected = bytes[CHECKSUM][..SHA256_BYTES].to_vec();
    bytes[CHECKSUM].fill(0);
    let whole = Sha256::digest(&bytes).as_slice() == expected;
    let json = Sha256::digest(json_in(&bytes[BINARY_BYTES..])).into();
    Ok(whole.then_some(Sound { uuid, label, sequence, json, size, place: offset }))
}

/// Whether the file is long enough; `bytes` is filled then.
fn read_whole(part: &Part, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match part.file.read_exact_at(bytes, part.start + offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

/// Behind the JSON are zeros.
fn json_in(area: &[u8]) -> &[u8] {
    area.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
