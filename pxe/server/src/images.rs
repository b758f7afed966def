//! The adopted images that some machine boots in place of the installed one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use meadow_netboot::route::is_digest;

use crate::artifacts::ArtifactStore;
use crate::problem::Problem;

/// Images by the digest of their manifest. Only those that are wanted are open, and so served.
#[derive(Debug)]
pub(crate) struct Images {
    folder: Option<PathBuf>,
    open: RwLock<BTreeMap<String, Open>>,
}

#[derive(Debug)]
struct Open {
    store: Arc<ArtifactStore>,
    /// Whether some machine is to boot it; else one that was given it may still come for its root.
    is_wanted: bool,
}

impl Images {
    /// Images lie in folders below `folder` that are named by their digest.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, open: RwLock::default() }
    }

    /// Opens the images that are wanted and forgets those that are not in use either; all that are open now.
    pub(crate) fn keep(&self, wanted: &BTreeSet<String>, in_use: &BTreeSet<String>) -> Vec<Arc<ArtifactStore>> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|digest, image| {
            image.is_wanted = wanted.contains(digest);
            image.is_wanted || in_use.contains(digest)
        });
        for digest in wanted.iter().filter(|digest| is_digest(digest)) {
            open.entry(digest.clone()).or_insert_with(|| Open {
                store: Arc::new(ArtifactStore::of_image(folder.join(digest), digest.clone())),
                is_wanted: true,
            });
        }
        open.values().map(|image| image.store.clone()).collect()
    }

    /// The image with this digest, where it is open.
    pub(crate) fn get(&self, digest: &str) -> Option<Arc<ArtifactStore>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(digest).map(|image| image.store.clone())
    }

    /// An open image whose file `name` has this digest.
    pub(crate) fn with_file(&self, name: &str, digest: &str) -> Option<Arc<ArtifactStore>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let stores = open.values().map(|image| &image.store);
        stores.into_iter().find(|store| store.digest_of(name).as_deref() == Some(digest)).cloned()
    }

    /// What keeps machines from booting the image that they are to boot.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = open.values().filter(|image| image.is_wanted);
        wanted.flat_map(|image| image.store.faults()).map(Problem::image).collect()
    }
}
