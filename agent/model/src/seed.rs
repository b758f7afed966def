//! What a stick brings along: the record of the partition `meadow-seed`.

mod network;

use serde::{Deserialize, Serialize};

use crate::{Name, Secret, Timestamp, record};

pub use network::{CardChoice, InvalidNetwork, SeedNetwork};

/// Version of [`Seed`].
pub const VERSION: u32 = 1;

/// Most addresses of the API, keys and networks that a seed has.
const MOST: usize = 64;
/// Most characters of one of its texts.
const LONGEST: usize = 4096;

/// The record of the partition `meadow-seed`. Readable by whoever holds the stick: no private key is in it, and its token
/// ends by time and by use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seed {
    /// [`VERSION`].
    pub version: u32,
    /// The name that the computer would like as a node.
    pub name: Option<Name>,
    /// Base URLs of the cluster's API.
    pub api: Vec<String>,
    /// The text of a join token, which names the cluster's CA too.
    pub token: Option<Secret<String>>,
    /// When the token ends, where whoever made the seed knew it; for people.
    pub token_expires: Option<Timestamp>,
    /// Admins' public keys in OpenSSH form: who may look at the boot over SSH.
    pub authorized_keys: Vec<String>,
    /// Cards that do not simply ask DHCP.
    pub network: Vec<SeedNetwork>,
    /// What the computer is to do.
    pub action: SeedAction,
}

/// What a computer that boots from the stick is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum SeedAction {
    /// Run from the stick, and keep nothing.
    #[default]
    Live,
    /// Start the image that a boot server has, where it may start here, so that the stick may be pulled; else as
    /// [`SeedAction::Live`].
    Network,
    /// Run from the stick and wait to be installed onto one disk.
    Install {
        /// Serial number of that disk.
        serial: String,
    },
}

/// A seed that nobody could use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeed {
    /// A token without the cluster's address.
    #[error("the seed has a token and no address of the cluster's API; give one")]
    NoAddress,
    /// Too much of something.
    #[error("the seed has more {0} than a stick is for; leave out what this computer does not need")]
    TooMuch(&'static str),
    /// A public key that is none.
    #[error("a line of the SSH keys is no public key in OpenSSH form; a private key must not be on a stick")]
    NoPublicKey,
    /// A disk without a name.
    #[error("the disk to install onto has no serial number; give the one that `meadow node show` or lsblk tells")]
    NoSerial,
    /// The record is of another version.
    #[error("the seed is of version {0}, this program knows {VERSION}; write the seed anew with `meadow image seed`")]
    Version(u32),
    /// The record cannot be read.
    #[error("the seed cannot be read; write it anew with `meadow image seed`")]
    Damaged,
    /// It does not fit.
    #[error(transparent)]
    TooLarge(#[from] record::TooLarge),
}

impl Seed {
    /// An empty seed of this version.
    #[must_use]
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads the seed from the first [`record::AREA_BYTES`] of a partition; `None` where there is none.
    ///
    /// # Errors
    /// [`InvalidSeed`]
    pub fn read(area: &[u8]) -> Result<Option<Self>, InvalidSeed> {
        let Some(record) = record::newest(area) else { return Ok(None) };
        // An erased seed is an empty record.
        if record.payload.is_empty() {
            return Ok(None);
        }
        let seed: Self = serde_json::from_slice(record.payload).map_err(|_| InvalidSeed::Damaged)?;
        if seed.version != VERSION {
            return Err(InvalidSeed::Version(seed.version));
        }
        seed.check().map(|()| Some(seed))
    }

    /// The write that makes this the seed of `area`; without a seed, the write that erases the one that is there.
    ///
    /// # Errors
    /// [`InvalidSeed`]
    pub fn replace(area: &[u8], seed: Option<&Self>) -> Result<record::Write, InvalidSeed> {
        let payload = match seed {
            Some(seed) => {
                seed.check()?;
                zeroize::Zeroizing::new(serde_json::to_vec(seed).map_err(|_| InvalidSeed::Damaged)?)
            }
            None => zeroize::Zeroizing::default(),
        };
        Ok(record::replace(area, &payload)?)
    }

    /// Whether somebody could use it.
    ///
    /// # Errors
    /// [`InvalidSeed`]
    pub fn check(&self) -> Result<(), InvalidSeed> {
        for (many, what) in [
            (self.api.len(), "addresses of the API"),
            (self.authorized_keys.len(), "SSH keys"),
            (self.network.len(), "networks"),
        ] {
            if many > MOST {
                return Err(InvalidSeed::TooMuch(what));
            }
        }
        let texts = self.api.iter().chain(&self.authorized_keys).chain(self.token.iter().map(Secret::expose));
        if texts.into_iter().any(|text| text.len() > LONGEST) {
            return Err(InvalidSeed::TooMuch("characters in a line"));
        }
        if self.token.is_some() && self.api.is_empty() {
            return Err(InvalidSeed::NoAddress);
        }
        if self.authorized_keys.iter().any(|key| !is_public_key(key)) {
            return Err(InvalidSeed::NoPublicKey);
        }
        match &self.action {
            SeedAction::Install { serial } if serial.trim().is_empty() => Err(InvalidSeed::NoSerial),
            SeedAction::Install { serial } if serial.len() > LONGEST => Err(InvalidSeed::TooMuch("characters")),
            _ => Ok(()),
        }
    }
}

/// `ssh-ed25519 AAAA… comment`, without options before it.
fn is_public_key(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| kind.starts_with(prefix));
    known && words.next().is_some_and(|key| key.starts_with("AAAA")) && !line.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::AREA_BYTES;

    fn seed() -> Seed {
        Seed {
            name: Name::new("node-7").ok(),
            api: vec!["https://192.0.2.2:7443".to_owned()],
            token: Some(Secret::new("meadow-join.t-1.x.y".to_owned())),
            authorized_keys: vec!["ssh-ed25519 AAAAC3Nz ann@home".to_owned()],
            network: vec!["eth0.7=192.0.2.7/24,192.0.2.1".parse().expect("a network")],
            action: SeedAction::Install { serial: "S1".to_owned() },
            ..Seed::new()
        }
    }

    fn put(area: &mut [u8], seed: Option<&Seed>) {
        let write = Seed::replace(area, seed).expect("fits");
        area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
    }

    #[test]
    fn written_read_and_erased() {
        let mut area = vec![0; AREA_BYTES];
        assert_eq!(Seed::read(&area), Ok(None));
        put(&mut area, Some(&seed()));
        assert_eq!(Seed::read(&area), Ok(Some(seed())));
        put(&mut area, None);
        assert_eq!(Seed::read(&area), Ok(None));
        put(&mut area, Some(&Seed::new()));
        assert_eq!(Seed::read(&area), Ok(Some(Seed::new())));
    }

    #[test]
    fn what_nobody_could_use_is_refused() {
        let with = |change: &dyn Fn(&mut Seed)| {
            let mut seed = seed();
            change(&mut seed);
            seed.check()
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|seed| seed.api.clear()), Err(InvalidSeed::NoAddress));
        assert_eq!(with(&|seed| seed.authorized_keys.push(String::new())), Err(InvalidSeed::NoPublicKey));
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----";
        assert_eq!(with(&|seed| seed.authorized_keys.push(private.to_owned())), Err(InvalidSeed::NoPublicKey));
        let nameless = SeedAction::Install { serial: " ".to_owned() };
        assert_eq!(with(&|seed| seed.action = nameless.clone()), Err(InvalidSeed::NoSerial));
        assert!(matches!(with(&|seed| seed.api = vec![String::new(); 65]), Err(InvalidSeed::TooMuch(_))));
    }

    #[test]
    fn other_versions_and_other_records_are_told() {
        let mut area = vec![0; AREA_BYTES];
        put(&mut area, Some(&Seed { version: 2, ..seed() }));
        assert_eq!(Seed::read(&area), Err(InvalidSeed::Version(2)));
        let write = record::replace(&area, b"{").expect("fits");
        area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
        assert_eq!(Seed::read(&area), Err(InvalidSeed::Damaged));
    }

    #[test]
    fn the_token_is_not_shown() {
        assert!(!format!("{:?}", seed()).contains("meadow-join"));
    }

    proptest! {
        #[test]
        fn power_may_fail_at_any_byte(cut in 0..2000_usize) {
            let mut area = vec![0; AREA_BYTES];
            put(&mut area, Some(&Seed::new()));
            let mut write = Seed::replace(&area, Some(&seed())).unwrap();
            let whole = write.bytes.len();
            write.bytes.truncate(cut);
            area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
            let expected = if cut >= whole { seed() } else { Seed::new() };
            prop_assert_eq!(Seed::read(&area), Ok(Some(expected)));
        }

        #[test]
        fn any_payload_is_a_seed_or_not(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut area = vec![0; AREA_BYTES];
            let write = record::replace(&area, &payload).unwrap();
            area[..write.bytes.len()].copy_from_slice(&write.bytes);
            let _ = Seed::read(&area);
        }
    }
}
