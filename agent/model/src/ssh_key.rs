//! Admins' public SSH keys: who may unlock a node over SSH.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::Fingerprint;

/// Keys that a cluster has at most; Dropbear in the initramfs is given no more.
pub const MOST: usize = 64;
/// Bytes of a line at most; the initramfs takes no longer one. An RSA key of 8192 bits has 1400.
pub const LONGEST: usize = 2048;
/// What Dropbear in the initramfs takes.
pub const KINDS: [&str; 6] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
];

/// A public key as ssh-keygen(1) writes it: kind, base64, comment. Written again it has one space between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    kind: &'static str,
    blob: Vec<u8>,
    comment: String,
}

/// A text that is no public key. Never with the text itself, which may be a secret that somebody took for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSshKey {
    /// The other half.
    #[error(
        "this is a private key, which must not leave its owner; give the public one, in the file whose name ends in .pub"
    )]
    Private,
    /// Longer than any in use.
    #[error("this is longer than the {LONGEST} bytes that a public key may have here")]
    TooLong,
    /// Something else.
    #[error(
        "this is no public key that Dropbear takes: it has to be one of {}, then base64 without a gap, then a comment, and no options before them",
        KINDS.join(", ")
    )]
    NoPublicKey,
}

/// A list of keys that a cluster cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSshKeys {
    /// One of them is none.
    #[error("SSH key {number}: {why}")]
    Key {
        /// Which, from 1 on.
        number: usize,
        /// Why.
        why: InvalidSshKey,
    },
    /// One of them is there twice, whatever its comments say.
    #[error("SSH key {number} is in the list already; give each key once")]
    Twice {
        /// Which, from 1 on.
        number: usize,
    },
    /// More than fit.
    #[error("{0} SSH keys are more than the {MOST} that a cluster may have; remove those that nobody uses")]
    TooMany(usize),
}

impl SshKey {
    /// What `ssh-keygen -l` shows of it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.blob).into())
    }

    /// Which algorithm, such as `ssh-ed25519`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What its owner called it; may be empty.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, BASE64.encode(&self.blob))?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

impl FromStr for SshKey {
    type Err = InvalidSshKey;

    fn from_str(text: &str) -> Result<Self, InvalidSshKey> {
        if is_private(text) {
            return Err(InvalidSshKey::Private);
        }
        let line = text.trim();
        if line.len() > LONGEST {
            return Err(InvalidSshKey::TooLong);
        }
        if line.chars().any(char::is_control) {
            return Err(InvalidSshKey::NoPublicKey);
        }
        let (kind, rest) = line.split_once(' ').ok_or(InvalidSshKey::NoPublicKey)?;
        let (blob, comment) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        let kind = KINDS.into_iter().find(|known| *known == kind).ok_or(InvalidSshKey::NoPublicKey)?;
        let blob = BASE64.decode(blob.as_bytes()).map_err(|_| InvalidSshKey::NoPublicKey)?;
        if !is_whole(kind, &blob) {
            return Err(InvalidSshKey::NoPublicKey);
        }
        Ok(Self { kind, blob, comment: comment.trim().to_owned() })
    }
}

/// Whether a text is a private key, or a part of one that names itself.
#[must_use]
pub fn is_private(text: &str) -> bool {
    text.contains("PRIVATE KEY") || text.contains("PuTTY-User-Key-File")
}

/// Whether these bytes are nothing but strings as in RFC 4251 section 5, the first of which is the kind: half a key, as a
/// terminal may have cut it, opens nothing.
fn is_whole(kind: &str, blob: &[u8]) -> bool {
    let mut rest = blob;
    let mut strings = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((string, after)) =
            usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|n| after.split_at_checked(n))
        else {
            return false;
        };
        strings.push(string);
        rest = after;
    }
    let has_its_parts = match strings.as_slice() {
        [_, public] => kind == "ssh-ed25519" && public.len() == 32,
        [_, _, last] => kind != "ssh-ed25519" && !last.is_empty(),
        _ => false,
    };
    rest.is_empty() && strings.first() == Some(&kind.as_bytes()) && has_its_parts
}

/// The keys that a cluster with the keys `old` has from now on, in the form in which it keeps them. Those that it has are
/// not looked at: a Meadow of before let in what it did not know.
///
/// # Errors
/// [`InvalidSshKeys`]
pub fn accept(old: &[String], new: &[String]) -> Result<Vec<String>, InvalidSshKeys> {
    // Who has more from before may have fewer.
    if new.len() > MOST.max(old.len()) {
        return Err(InvalidSshKeys::TooMany(new.len()));
    }
    let mut seen = BTreeSet::new();
    let accepted = new.iter().zip(1..).map(|(text, number)| {
        let parsed = text.parse::<SshKey>();
        let kept = match (&parsed, old.contains(text)) {
            (_, true) => text.clone(),
            (Ok(key), false) => key.to_string(),
            (Err(why), false) => return Err(InvalidSshKeys::Key { number, why: *why }),
        };
        let identity = parsed.map_or_else(|_| text.clone(), |key| key.fingerprint().to_string());
        if seen.insert(identity) { Ok(kept) } else { Err(InvalidSshKeys::Twice { number }) }
    });
    accepted.collect()
}

/// What tells a list of keys from another one: SHA-256 in hexadecimal.
#[must_use]
pub fn digest(keys: &[String]) -> String {
    let hash = keys.iter().fold(Sha256::new(), |hash, key| hash.chain_update(key).chain_update("\n"));
    HEXLOWER.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by ssh-keygen, with what `ssh-keygen -l` shows of it.
    const KEYS: [(&str, &str); 4] = [
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home",
            "SHA256:t0eSc54W1y2T/Wizgu9if4zQ19g1NVSvGb3wGk2bAlQ",
        ),
        (
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCqvbYzuiuOCjRsCD+YEXChPbbN6+WN4QRtDLIbHrEJO9HxpDI0fRYL4Y932f62IZWEwGX05tr0FcOpeWNnVEEZiyWoJof9Ha3xtWwjrqRhJT0yU6nuEhlasTi2zmr15J0YtjjrK0eyR/RZBTgMSx4fxQlUjKGTvg2FCM9rzDHPuM4+8aWq5V7doPExcoBx+ZWcfxXg1QW50YyugpbIQSHO6Te4hT1uSa1gGnGP/BnCzI0bTH+7FRec9HoASmigG5TWjKS8WQkFVzR7l8HnRDqpoN/0l18Qv5Gpc3gn4Zh+YNal2fPPyieljEYXe1WoJRsosAfPV03NRV701Gul80bF bob 2048",
            "SHA256:biHHdpq2ZCDZWIMPGd/ATT83jFpcP67mBZUFR9fsZ/M",
        ),
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDMvhXDVIOGoUhz3XjJGxKB5E1yiuo04IxTObKgplyz54Alt2VUFmKVCzVbwPuV0n+kZNBsI/j3Z+CjhVCO+2/o= bob 256",
            "SHA256:FpOaMxAwkRE7c2jr4cuFYJo5bwzrbLT/vO8zDeaQ2R4",
        ),
        (
            "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBADHL6/kPxRweJWC2GJr2ylWVT6bNxZZDDYfol1YjS4hgTmMbmv1iqwswGbQo3N42Ftm5cJGuTxjbZLiN/cyR0nkHAG1jFvhaJZdRdS9x4zRsDXohnxwl/Y0gUKfTft3YwakLmFVe0ctsddJbUGhPB4wHoI6soqJEFUVvgkbl8yZIq3uog== bob 521",
            "SHA256:+GCXFIZzPeGt9FWOyfXAgSfmAFI3zVVUB/Zy3yR8rzU",
        ),
    ];

    fn parse(text: &str) -> Result<SshKey, InvalidSshKey> {
        text.parse()
    }

    #[test]
    fn keys_are_read_and_named_as_ssh_keygen_does() {
        for (line, fingerprint) in KEYS {
            let key = parse(line).expect("a key");
            assert_eq!((key.to_string().as_str(), key.fingerprint().to_string().as_str()), (line, fingerprint));
            assert!(line.starts_with(key.kind()) && line.ends_with(key.comment()));
        }
        let (line, _) = KEYS[0];
        let spaced = line.replacen(' ', "   ", 2);
        assert_eq!(parse(&format!("  {spaced}\r\n")).expect("a key").to_string(), line);
        let bare = line.rsplit_once(' ').expect("a comment").0;
        assert_eq!(parse(bare).expect("a key").to_string(), bare);
    }

    #[test]
    fn what_is_none_is_told_without_repeating_it() {
        let (line, _) = KEYS[0];
        let [kind, blob, _] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("three words");
        let others = [
            String::new(),
            kind.to_owned(),
            format!("ssh-dss {blob} x"),
            format!("ssh-rsa {blob} x"),
            format!("command=\"x\" {line}"),
            format!("{kind} {} x", &blob[..blob.len() - 4]),
            format!("{kind} {blob}AAAA x"),
            format!("{kind} AAAAC3Nz x"),
            format!("{line}\n{line}"),
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW".to_owned(),
        ];
        for other in others {
            let why = parse(&other).expect_err(&other);
            assert_eq!(why, InvalidSshKey::NoPublicKey, "{other}");
            assert!(other.len() < 20 || !why.to_string().contains(&other), "{other}");
        }
        for private in
            ["-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\nMII", "PuTTY-User-Key-File-3: x"]
        {
            assert_eq!(parse(private), Err(InvalidSshKey::Private));
        }
        assert_eq!(parse(&format!("{line} {}", "x".repeat(LONGEST))), Err(InvalidSshKey::TooLong));
    }

    #[test]
    fn a_list_has_each_key_once_and_what_was_there_may_stay() {
        let [a, b] = [KEYS[0].0, KEYS[1].0].map(str::to_owned);
        let old = ["ssh-dss AAAA ann".to_owned(), a.clone()];
        let renamed = a.replace(" ann@home", " somebody");
        let new = [old[0].clone(), format!(" {b}\n")];
        assert_eq!(accept(&old, &new), Ok(vec![old[0].clone(), b.clone()]));
        assert_eq!(accept(&[], &old), Err(InvalidSshKeys::Key { number: 1, why: InvalidSshKey::NoPublicKey }));
        assert_eq!(accept(&[], &[a.clone(), b, renamed]), Err(InvalidSshKeys::Twice { number: 3 }));
        assert_eq!(accept(&[], &vec![a.clone(); MOST + 1]), Err(InvalidSshKeys::TooMany(MOST + 1)));
        assert_eq!(accept(&old, &[]), Ok(Vec::new()));
        let many: Vec<String> = (0..=MOST).map(|number| format!("ssh-dss AAAA {number}")).collect();
        assert_eq!(accept(&many, &many[1..]).map(|kept| kept.len()), Ok(MOST), "it may be made shorter");
    }

    #[test]
    fn a_digest_tells_lists_apart() {
        let [a, b] = ["a", "b"].map(str::to_owned);
        let lists = [vec![], vec![a.clone()], vec![b.clone()], vec![a.clone(), b.clone()], vec![b, a]];
        let digests: BTreeSet<String> = lists.iter().map(|list| digest(list)).collect();
        assert_eq!(digests.len(), lists.len());
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_not(text in ".{0,200}") {
            if let Ok(key) = text.parse::<SshKey>() {
                prop_assert_eq!(key.to_string().parse::<SshKey>(), Ok(key));
            }
        }
    }
}
