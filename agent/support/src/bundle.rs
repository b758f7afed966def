//! Packing: a `tar.gz` of plain files.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Secrets;

/// Bytes of one file at most; of a longer one the end is kept, which is the newest of a log.
const LARGEST_ENTRY: usize = 4 << 20;
/// Bytes of all files at most.
const LARGEST: usize = 24 << 20;
const CUT: &str = "[the beginning was cut off]\n";

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the bundle.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What goes into the bundle, with nothing in it that is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    entries: Vec<Entry>,
}

impl Bundle {
    /// Takes these files, without the secrets in them.
    #[must_use]
    pub fn without(secrets: &Secrets, entries: Vec<Entry>) -> Self {
        let mut room = LARGEST;
        let mut kept = Vec::new();
        for Entry { name, bytes } in entries {
            // First the secrets: half of one that is cut would not be found.
            let bytes = shortened(secrets.removed_from(&bytes), LARGEST_ENTRY.min(room));
            room = room.saturating_sub(bytes.len());
            kept.push(Entry { name, bytes });
        }
        Self { entries: kept }
    }

    /// The files.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Packs all of it in a folder of this name. `seconds` since 1970 is the date of each file.
    ///
    /// # Errors
    /// What the receiver says.
    pub fn pack(&self, folder: &str, seconds: u64, to: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(GzEncoder::new(to, Compression::default()));
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(entry.bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(seconds);
            archive.append_data(&mut header, format!("{folder}/{}", entry.name), entry.bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

fn shortened(bytes: Vec<u8>, most: usize) -> Vec<u8> {
    if bytes.len() <= most {
        return bytes;
    }
    let end = &bytes[bytes.len() - most.saturating_sub(CUT.len())..];
    [CUT.as_bytes(), end].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_stock_reader_finds_what_was_packed_and_long_logs_keep_their_end() {
        let entry = |name: &str, bytes: Vec<u8>| Entry { name: name.to_owned(), bytes };
        let mut long = vec![b'x'; LARGEST_ENTRY];
        long.extend(b"the newest line\n");
        let bundle =
            Bundle::without(&Secrets::default(), vec![entry("a/log.txt", long), entry("b.json", b"{}".to_vec())]);
        let mut packed = Vec::new();
        bundle.pack("meadow-support-node-1", 1_800_000_000, &mut packed).expect("packed");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("read");
            found.push((entry.path().expect("a path").display().to_string(), bytes));
        }
        assert_eq!(found[1], ("meadow-support-node-1/b.json".to_owned(), b"{}".to_vec()));
        let log = &found[0].1;
        assert!(log.len() == LARGEST_ENTRY && log.starts_with(CUT.as_bytes()) && log.ends_with(b"the newest line\n"));
    }
}
