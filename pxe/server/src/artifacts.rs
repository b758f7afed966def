//! The image's files. Nothing is served before its digest was checked against the manifest, and a
//! file that changed since is checked again.

mod checked_file;
mod manifest;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::{BASE64, HEXLOWER};
use meadow_netboot::EventKind;
use serde::Serialize;
use sha2::{Digest, Sha256};

use checked_file::{Stamp, open_checked, read_bounded};
use manifest::{Expected, Manifest, hex_digest};

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.sig";
const NEXT_STEP: &str = "run `make image`, or install Meadow again";
const NEXT_STEP_ADOPTED: &str =
    "remove the image and add it again, or let its machines boot the installed one (`meadow machine boot`)";

/// A file whose digest was checked, open for reading.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Its digest in hex: the entity tag.
    pub(crate) sha256: String,
    /// The same in Base64, where it is a digest.
    pub(crate) digest: Option<String>,
    pub(crate) file: File,
}

/// Result of asking for a file.
#[derive(Debug, Clone)]
pub(crate) enum Lookup {
    /// Here it is.
    Ready(Arc<Artifact>),
    /// The manifest knows it, but it cannot be served now, and why.
    Unavailable(String),
    /// The manifest does not know it.
    Unknown,
}

/// Whether an artifact can be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ArtifactState {
    /// Its digest is being checked.
    Checking,
    /// Checked and served.
    Ready,
    /// Missing or damaged.
    Damaged {
        /// What is wrong, and the next step.
        why: String,
    },
}

/// An artifact as a display shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtifactStatus {
    /// Name in the manifest.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Whether it can be served.
    #[serde(flatten)]
    pub state: ArtifactState,
}

#[derive(Debug, Clone)]
struct Entry {
    expected: Expected,
    /// The file as it was looked at, `None` if it was not there.
    stamp: Option<Stamp>,
    status: Status,
}

#[derive(Debug, Clone)]
enum Status {
    Checking,
    Ready(Arc<Artifact>),
    Damaged(String),
}

#[derive(Debug, Default)]
struct State {
    /// `None` before the first load.
    manifest: Option<Option<Stamp>>,
    /// Why the manifest cannot be used.
    problem: Option<String>,
    /// The image's version, as its manifest has it.
    version: Option<String>,
    /// The processors that it is for, where its manifest says that.
    architecture: Option<String>,
    entries: BTreeMap<String, Entry>,
}

/// All artifacts of one folder.
#[derive(Debug)]
pub(crate) struct ArtifactStore {
    folder: PathBuf,
    /// SHA-256 that its manifest must have, where one image is meant and no other.
    digest: Option<String>,
    state: RwLock<State>,
    is_loading: AtomicBool,
}

impl ArtifactStore {
    /// A store that knows nothing before its first [`Self::refresh`].
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, digest: None, state: RwLock::default(), is_loading: AtomicBool::new(false) }
    }

    /// The same for the one image whose manifest has this digest.
    pub(crate) fn of_image(folder: PathBuf, digest: String) -> Self {
        Self { digest: Some(digest), ..Self::new(folder) }
    }

    /// Version of the image; `None` until its manifest was read.
    pub(crate) fn version(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).version.clone()
    }

    /// The processors that the image is for; `None` until its manifest was read, and where that does not say it.
    pub(crate) fn architecture(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).architecture.clone()
    }

    /// Digest of a file as the manifest has it.
    pub(crate) fn digest_of(&self, name: &str) -> Option<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.entries.get(name).map(|entry| entry.expected.sha256.clone())
    }

    /// What keeps files of it from being served, if anything does.
    pub(crate) fn faults(&self) -> Vec<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let damaged = state.entries.values().filter_map(|entry| match &entry.status {
            Status::Damaged(why) => Some(why.clone()),
            _ => None,
        });
        state.problem.iter().cloned().chain(damaged).collect()
    }

    /// Finds a file to serve. Looks at the file's time and size, so that what was replaced or
    /// damaged since its check is not served.
    pub(crate) fn lookup(&self, name: &str) -> Lookup {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = state.entries.get(name) else {
            return match (&state.problem, state.manifest) {
                (Some(problem), _) => Lookup::Unavailable(problem.clone()),
                (None, None) => Lookup::Unavailable("the boot files are still being checked; try again".into()),
                (None, Some(_)) => Lookup::Unknown,
            };
        };
        match &entry.status {
            Status::Damaged(why) => Lookup::Unavailable(why.clone()),
            Status::Ready(artifact) if Stamp::read(&self.folder.join(name)) == entry.stamp => {
                Lookup::Ready(artifact.clone())
            }
            _ => Lookup::Unavailable(format!("{name} is being checked; try again")),
        }
    }

    /// Whether a file can be served now.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        matches!(self.lookup(name), Lookup::Ready(_))
    }

    /// All artifacts, by name.
    pub(crate) fn statuses(&self) -> Vec<ArtifactStatus> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let status = |(name, entry): (&String, &Entry)| ArtifactStatus {
            name: name.clone(),
            size: entry.expected.size,
            state: match &entry.status {
                Status::Checking => ArtifactState::Checking,
                Status::Ready(_) => ArtifactState::Ready,
                Status::Damaged(why) => ArtifactState::Damaged { why: why.clone() },
            },
        };
        state.entries.iter().map(status).collect()
    }

    /// Whether the folder differs from what was last loaded.
    pub(crate) fn is_stale(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.manifest != Some(Stamp::read(&self.folder.join(MANIFEST)))
            || state.entries.iter().any(|(name, entry)| Stamp::read(&self.folder.join(name)) != entry.stamp)
    }

    /// Loads the manifest and checks all files that are new or changed, small ones first. Blocks
    /// for as long as that takes; a second call meanwhile returns at once.
    pub(crate) fn refresh(&self, say: &dyn Fn(EventKind)) {
        if self.is_loading.swap(true, Ordering::AcqRel) {
            return;
        }
        self.load(say);
        self.is_loading.store(false, Ordering::Release);
    }

    fn load(&self, say: &dyn Fn(EventKind)) {
        let path = self.folder.join(MANIFEST);
        let stamp = Stamp::read(&path);
        let manifest = match self.read_manifest(&path) {
            Ok(manifest) => manifest,
            Err(why) => {
                let why = format!("{} cannot be used: {why}; {}", path.display(), self.next_step());
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                // The stamp is remembered, so that it is said once for each state of the file.
                *state = State { manifest: Some(stamp), problem: Some(why.clone()), ..State::default() };
                drop(state);
                say(EventKind::Failed { file: MANIFEST.into(), why });
                return;
            }
        };
        let image = manifest.image.clone();
        for name in self.publish(stamp, manifest) {
            let status = self.check(&name);
            if let Status::Damaged(why) = &status {
                say(EventKind::Failed { file: name.clone(), why: why.clone() });
            }
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = state.entries.get_mut(&name) {
                entry.status = status;
            }
        }
        let ready = self.statuses().iter().filter(|status| status.state == ArtifactState::Ready).count();
        let all = self.statuses().len();
        say(EventKind::Server { message: format!("image {image}: {ready} of {all} files checked and served") });
    }

    fn next_step(&self) -> &'static str {
        if self.digest.is_some() { NEXT_STEP_ADOPTED } else { NEXT_STEP }
    }

    fn read_manifest(&self, path: &Path) -> Result<Manifest, String> {
        let bytes = read_bounded(path)?;
        if self.digest.as_ref().is_some_and(|digest| *digest != expect(&bytes).sha256) {
            return Err("it is another image's".into());
        }
        let mut manifest = Manifest::parse(&bytes)?;
        // Nodes fetch these two beside the files that they vouch for.
        manifest.artifacts.insert(MANIFEST.into(), expect(&bytes));
        if let Ok(signature) = read_bounded(&self.folder.join(SIGNATURE)) {
            manifest.artifacts.insert(SIGNATURE.into(), expect(&signature));
        }
        Ok(manifest)
    }

    /// Takes over the new list; the names to check, small files first.
    fn publish(&self, stamp_of_manifest: Option<Stamp>, manifest: Manifest) -> Vec<String> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut state.entries);
        let mut to_check = Vec::new();
        for (name, expected) in manifest.artifacts {
            let stamp = Stamp::read(&self.folder.join(&name));
            let known = old.remove(&name).filter(|entry| {
                entry.stamp == stamp && entry.expected == expected && !matches!(entry.status, Status::Checking)
            });
            let entry = known.unwrap_or_else(|| {
                to_check.push((expected.size, name.clone()));
                Entry { expected, stamp, status: Status::Checking }
            });
            state.entries.insert(name, entry);
        }
        state.manifest = Some(stamp_of_manifest);
        state.problem = None;
        state.version = Some(manifest.image);
        state.architecture = manifest.architecture;
        to_check.sort();
        to_check.into_iter().map(|(_, name)| name).collect()
    }

    fn check(&self, name: &str) -> Status {
        let entry = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.entries.get(name).cloned()
        };
        let Some(entry) = entry else { return Status::Checking };
        let path = self.folder.join(name);
        let result = open_checked(&path, &entry.expected, entry.stamp);
        match result {
            Ok(file) => Status::Ready(Arc::new(Artifact {
                name: name.to_owned(),
                size: entry.expected.size,
                digest: base64(&entry.expected.sha256),
                sha256: entry.expected.sha256,
                file,
            })),
            Err(why) => Status::Damaged(format!("{} {why}; {}", path.display(), self.next_step())),
        }
    }
}

/// A hex digest in Base64.
fn base64(hex: &str) -> Option<String> {
    HEXLOWER.decode(hex.as_bytes()).ok().map(|digest| BASE64.encode(&digest))
}

fn expect(bytes: &[u8]) -> Expected {
    Expected { size: bytes.len() as u64, sha256: hex_digest(Sha256::new_with_prefix(bytes)) }
}

#[cfg(test)]
mod tests;
