//! The secrets of a computer, to keep them out of what is given away.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};

/// No key of ours is larger.
const LARGEST: u64 = 1 << 20;
/// Shorter texts are found in anything.
const SHORTEST: usize = 16;
const REMOVED: &[u8] = b"[a secret was here]";
/// What begins a secret, wherever it stands, up to the next white space or quotation mark.
const BEGINNINGS: [&[u8]; 1] = [b"meadow-join."];
/// Blocks in PEM that are secret: what begins one, what ends one, and what ends the line of that.
const PRIVATE: [&[u8]; 3] = [b"PRIVATE KEY-----", b"-----END", b"-----"];
/// Names of fields in JSON whose values are secret, in files that are read for their secrets.
const FIELDS: [&str; 4] = ["\"ticket\"", "\"token\"", "\"secret\"", "\"passphrase\""];

/// The secrets that a computer has.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Sorted by length, the longest first.
    texts: Vec<Vec<u8>>,
}

impl Secrets {
    /// Reads the files in these folders that hold secrets: keys, and JSON with tokens and tickets.
    #[must_use]
    pub fn of(folders: &[&Path]) -> Self {
        let mut secrets = Self::default();
        for folder in folders {
            let Ok(listed) = fs::read_dir(folder) else { continue };
            for path in listed.filter_map(|entry| Some(entry.ok()?.path())) {
                let is_small = fs::symlink_metadata(&path).is_ok_and(|is| is.is_file() && is.len() <= LARGEST);
                let ends = |end: &str| path.extension().is_some_and(|found| found == end);
                if !is_small {
                    continue;
                }
                let Ok(bytes) = fs::read(&path) else { continue };
                if ends("key") || path.ends_with("dropbear-host-key") {
                    secrets.add_key(&bytes);
                } else if ends("json") {
                    secrets.add_fields(&bytes);
                }
            }
        }
        secrets.texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        secrets.texts.dedup();
        secrets
    }

    /// A key in all forms in which a program might write it.
    fn add_key(&mut self, bytes: &[u8]) {
        if let Ok(text) = std::str::from_utf8(bytes)
            && text.contains("-----BEGIN")
        {
            text.lines().filter(|line| !line.starts_with("-----")).for_each(|line| self.add(line.as_bytes()));
            return;
        }
        for text in [bytes.to_vec(), HEXLOWER.encode(bytes).into_bytes(), BASE64.encode(bytes).into_bytes()] {
            self.add(&text);
        }
    }

    /// The values of fields with names that say so, whatever the form of the file.
    fn add_fields(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for field in FIELDS {
            for (at, _) in text.match_indices(field) {
                let rest = text[at + field.len()..].trim_start_matches([' ', ':', '\n']);
                if let Some((value, _)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    self.add(value.as_bytes());
                }
            }
        }
    }

    fn add(&mut self, text: &[u8]) {
        if text.len() >= SHORTEST {
            self.texts.push(text.to_vec());
        }
    }

    /// `bytes` without any of them.
    #[must_use]
    pub fn removed_from(&self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            match self.secret_at(bytes, at) {
                Some(length) => {
                    kept.extend_from_slice(REMOVED);
                    at += length;
                }
                None => {
                    kept.push(bytes[at]);
                    at += 1;
                }
            }
        }
        kept
    }

    /// Bytes of the secret that begins there, if one does.
    fn secret_at(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = &bytes[at..];
        if let Some(known) = self.texts.iter().find(|text| rest.starts_with(text)) {
            return Some(known.len());
        }
        if BEGINNINGS.iter().any(|beginning| rest.starts_with(beginning)) {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,".contains(byte);
            return Some(rest.iter().position(ends).unwrap_or(rest.len()));
        }
        let [begin, end, dashes] = PRIVATE;
        if rest.starts_with(begin) {
            // One that was cut off goes on to the end of all.
            let block = behind(rest, begin.len(), end).and_then(|ended| behind(rest, ended, dashes));
            return Some(block.unwrap_or(rest.len()));
        }
        None
    }
}

/// Where the first `wanted` from byte `from` on ends.
fn behind(bytes: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let found = bytes[from..].windows(wanted.len()).position(|window| window == wanted)?;
    Some(from + found + wanted.len())
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("count", &self.texts.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_every_secret_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
        let mesh = [0xa7; 32];
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEH\n-----END PRIVATE KEY-----\n";
        write("wireguard.key", &mesh);
        write("identity.key", pem.as_bytes());
        write("boot.json", br#"{"ticket": "QWERTYUIOPASDFGHJKLZXCVB", "api": ["https://192.0.2.2:7443"]}"#);
        write("membership.json", br#"{"chain_pem": "-----BEGIN CERTIFICATE-----MIIBpublicpublicpublic"}"#);
        let secrets = Secrets::of(&[folder.path(), Path::new("/does/not/exist")]);
        let log = [
            b"begin ".as_slice(),
            &mesh,
            HEXLOWER.encode(&mesh).as_bytes(),
            BASE64.encode(&mesh).as_bytes(),
            b" QWERTYUIOPASDFGHJKLZXCVB \"meadow-join.t-1.abcdefghijklmnop.xyz\" ",
            pem.as_bytes(),
            b"https://192.0.2.2:7443 MIIBpublicpublicpublic end",
        ]
        .concat();
        let kept = secrets.removed_from(&log);
        let text = String::from_utf8_lossy(&kept);
        for secret in ["a7a7", "p6en", "QWERTY", "meadow-join", "MIGHAg"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(!kept.windows(8).any(|window| window == &mesh[..8]));
        for public in ["begin ", "https://192.0.2.2:7443", "MIIBpublicpublicpublic end"] {
            assert!(text.contains(public), "{public}: {text}");
        }
        assert!(!format!("{secrets:?}").contains("QWERTY"));
    }
}
