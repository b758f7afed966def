//! Another image, which a server offers to a stick whose seed says `network`: whether it starts in place of the stick's own
//! (`docs/decisions/0013-a-stick-starts-the-clusters-image.md`).
//!
//! Pure. Whoever calls has had the manifest's signature checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::root::Artifact;

/// The form of the manifest that this initrd knows.
const VERSION: u32 = 1;
/// Bytes of a kernel or an initrd at most; both together have 32 MiB in an image of ours.
const LARGEST: u64 = 64 << 20;
/// Bytes of a root at most, as of this initrd's own.
const LARGEST_ROOT: u64 = 4 << 30;
/// Kernel and initrd are in memory three times while the kernel takes them over: as files, as it reads them, and where they
/// start from.
const COPIES: u64 = 3;
/// What a running system needs beside its root.
const SYSTEM_MEMORY: u64 = 128 << 20;
/// Letters of a text from a manifest that a console shows.
const LONGEST_NAME: usize = 64;

/// `/meadow/image.json`: which image this initrd belongs to, as far as that was known when it was built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OwnImage {
    /// The numbers of its version, such as `0.1.0`.
    pub version: String,
    /// The processors that it is for, as Rust names them.
    pub architecture: String,
    /// When its kernel was built, in seconds since 1970.
    pub date: i64,
}

/// What of a manifest counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The image's version, fit to be shown.
    pub image: String,
    /// The processors that it is for.
    pub architecture: String,
    /// When its kernel was built, in seconds since 1970.
    pub date: i64,
    /// `vmlinuz`.
    pub kernel: Artifact,
    /// `initrd`.
    pub initrd: Artifact,
    /// `root.img`.
    pub root: Artifact,
}

/// What to do with the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is the stick's own image; only the root is fetched.
    Same,
    /// It starts in place of the stick's own.
    Start,
    /// The stick's own starts: why.
    Own(String),
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// Not the JSON that is known.
    #[error("its manifest cannot be read: {0}; build the image again")]
    Json(#[from] serde_json::Error),
    /// Of a form to come.
    #[error("its manifest is of version {0}, and this stick knows version 1: write the stick anew with that image")]
    Version(u32),
    /// A part is missing.
    #[error("its manifest has no {0}; build the image again")]
    Missing(&'static str),
    /// A part cannot be true.
    #[error("its manifest has an impossible {0}; build the image again")]
    Impossible(&'static str),
}

#[derive(Deserialize)]
struct Manifest {
    version: u32,
    image: String,
    architecture: String,
    date: i64,
    artifacts: BTreeMap<String, Part>,
}

#[derive(Deserialize)]
struct Part {
    size: u64,
    sha256: String,
}

impl Offered {
    /// Reads what is needed of a manifest.
    ///
    /// # Errors
    /// [`OfferError`]
    pub fn parse(json: &[u8]) -> Result<Self, OfferError> {
        let Manifest { version, image, architecture, date, mut artifacts } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(OfferError::Version(version));
        }
        let mut take = |name: &'static str, largest: u64| {
            let Part { size, sha256 } = artifacts.remove(name).ok_or(OfferError::Missing(name))?;
            if size == 0 || size > largest || !is_digest(&sha256) {
                return Err(OfferError::Impossible(name));
            }
            Ok(Artifact { name: name.to_owned(), size, sha256 })
        };
        let (kernel, initrd, root) =
            (take("vmlinuz", LARGEST)?, take("initrd", LARGEST)?, take("root.img", LARGEST_ROOT)?);
        Ok(Self { image: plain(&image), architecture: plain(&architecture), date, kernel, initrd, root })
    }

    /// Bytes of memory that have to be free for it to start and then to have its root in memory.
    #[must_use]
    pub fn memory(&self) -> u64 {
        (COPIES * (self.kernel.size + self.initrd.size)).max(self.root.size) + SYSTEM_MEMORY
    }
}

/// Decides between the stick's image and the one that is offered. `own_root` is the digest of the stick's root, `free` how
/// many bytes of memory programs can get.
#[must_use]
pub fn choose(own: &OwnImage, own_root: &str, offered: &Offered, free: u64) -> Choice {
    let image = &offered.image;
    if offered.root.sha256 == own_root {
        return Choice::Same;
    }
    if offered.architecture != own.architecture {
        return Choice::Own(format!(
            "the image {image} is for {} processors, and this stick's for {}",
            offered.architecture, own.architecture
        ));
    }
    if age(image, offered.date) < age(&own.version, own.date) {
        return Choice::Own(format!(
            "the image {image} is older than the stick's, and would bring back mended faults: update what the server offers, or write the stick anew with that image"
        ));
    }
    let needed = offered.memory();
    if free < needed {
        return Choice::Own(format!(
            "the image {image} needs {} MiB of memory to start from here, and {} MiB are free",
            needed.div_ceil(1 << 20),
            free >> 20
        ));
    }
    Choice::Start
}

/// Sorts images by age, as the cluster does (`meadow_model::image::age_of`).
fn age(version: &str, date: i64) -> (Vec<u64>, i64) {
    let release = version.split('-').next().unwrap_or_default();
    (release.split('.').map(|number| number.parse().unwrap_or(0)).collect(), date)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whoever offers an image must not write to the consoles as he likes.
fn plain(text: &str) -> String {
    let sound = |letter: &char| letter.is_ascii_graphic();
    text.chars().filter(sound).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use meadow_model::Timestamp;
    use meadow_model::image::age_of;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ROOT: u64 = 80 << 20;
    const PLENTY: u64 = 1 << 30;

    fn own() -> OwnImage {
        serde_json::from_str(r#"{"version":"0.2.0","architecture":"x86_64","date":1000}"#).unwrap()
    }

    fn manifest() -> Value {
        let part = |size: u64, digit: &str| json!({"size": size, "sha256": digit.repeat(64)});
        json!({
            "version": 1, "image": "0.2.0-0123456789ab", "kernel": "6.12", "architecture": "x86_64", "date": 1000,
            "artifacts": {
                "vmlinuz": part(12 << 20, "a"), "initrd": part(16 << 20, "b"), "root.img": part(ROOT, "c"),
                "grub/core.img": {"size": 5, "sha256": ""},
            },
            "root": {}, "packages": [],
        })
    }

    fn with(change: impl Fn(&mut Value)) -> Result<Offered, OfferError> {
        let mut manifest = manifest();
        change(&mut manifest);
        Offered::parse(manifest.to_string().as_bytes())
    }

    fn offered(change: impl Fn(&mut Value)) -> Offered {
        with(change).unwrap()
    }

    fn chosen(offered: &Offered, free: u64) -> Choice {
        choose(&own(), &"d".repeat(64), offered, free)
    }

    #[test]
    fn another_image_of_this_age_or_newer_starts() {
        let same_age = offered(|_| {});
        assert_eq!(chosen(&same_age, PLENTY), Choice::Start);
        assert_eq!((same_age.kernel.size, same_age.initrd.name.as_str()), (12 << 20, "initrd"));
        assert_eq!(chosen(&offered(|m| m["image"] = json!("0.10.0-x")), PLENTY), Choice::Start);
        assert_eq!(chosen(&offered(|m| m["date"] = json!(1001)), PLENTY), Choice::Start);
        // The stick's own, by its root, whatever else is said of it.
        let same = choose(&own(), &"c".repeat(64), &offered(|m| m["date"] = json!(1)), 0);
        assert_eq!(same, Choice::Same);
    }

    #[test]
    fn otherwise_the_sticks_own_starts_and_why_is_said() {
        type Change = fn(&mut Value);
        let cases: [(Change, u64, &str); 4] = [
            (|m| m["image"] = json!("0.1.9-x"), PLENTY, "0.1.9-x is older than the stick's"),
            (|m| m["date"] = json!(999), PLENTY, "is older than the stick's"),
            (|m| m["architecture"] = json!("aarch64"), PLENTY, "for aarch64 processors, and this stick's for x86_64"),
            // Three times 28 MiB are more than this root.
            (|_| {}, (212 << 20) - 1, "needs 212 MiB of memory to start from here, and 211 MiB are free"),
        ];
        for (change, free, text) in cases {
            let Choice::Own(why) = chosen(&offered(change), free) else { panic!("{text}") };
            assert!(why.contains(text), "{why}");
        }
        assert_eq!(chosen(&offered(|_| {}), 212 << 20), Choice::Start);
        assert_eq!(offered(|m| m["artifacts"]["root.img"]["size"] = json!(100 << 20)).memory(), 228 << 20);
    }

    #[test]
    fn manifests_that_cannot_be_used() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 7] = [
            (|m| m["version"] = json!(2), "of version 2"),
            (|m| m["artifacts"]["vmlinuz"] = Value::Null, "cannot be read"),
            (|m| m["artifacts"] = json!({}), "no vmlinuz"),
            (|m| m["artifacts"]["vmlinuz"]["size"] = json!(65 << 20), "impossible vmlinuz"),
            (|m| m["artifacts"]["initrd"]["size"] = json!(0), "impossible initrd"),
            (|m| m["artifacts"]["root.img"]["size"] = json!(5_u64 << 30), "impossible root.img"),
            (|m| m["artifacts"]["root.img"]["sha256"] = json!("C".repeat(64)), "impossible root.img"),
        ];
        for (change, text) in cases {
            let why = with(change).unwrap_err().to_string();
            assert!(why.contains(text), "{why}");
        }
        assert!(Offered::parse(b"").is_err());
        let odd = offered(|m| m["image"] = json!(format!("0.2.0\u{1b}[2J\nx{}", "y".repeat(100))));
        assert_eq!(odd.image, format!("0.2.0[2Jx{}", "y".repeat(55)));
    }

    proptest! {
        #[test]
        fn damaged_manifests_never_panic(at in 0..400_usize, byte in any::<u8>(), cut in 0..400_usize) {
            let mut bytes = manifest().to_string().into_bytes();
            bytes[at] = byte;
            let _ = Offered::parse(&bytes);
            prop_assert!(Offered::parse(&bytes[..cut]).is_err());
        }

        #[test]
        fn age_is_the_clusters(one in "[0-9.]{1,6}(-x)?", other in "[0-9.]{1,6}", a in 0..3_i64, b in 0..3_i64) {
            let theirs = |version: &str, date| age_of(version, Timestamp::from_millis(date * 1000));
            prop_assert_eq!(age(&one, a).cmp(&age(&other, b)), theirs(&one, a).cmp(&theirs(&other, b)));
        }
    }
}
