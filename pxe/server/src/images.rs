//! The adopted images that some machine boots in place of the installed one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use meadow_netboot::route::is_digest;

use crate::artifacts::ArtifactStore;
use crate::problem::Problem;

/// How long an image stays open that no machine is to boot any more. One that was to boot it once, and whose order is spent
/// with its first answer, still comes for kernel and initrd, asking again where an answer was lost; one that runs the initrd
/// still comes for its root. No director needs to remember that.
const LINGERS: Duration = Duration::from_secs(600);

/// Images by the digest of their manifest. Only those that are wanted are open, and so served.
#[derive(Debug)]
pub(crate) struct Images {
    folder: Option<PathBuf>,
    open: RwLock<BTreeMap<String, Open>>,
}

#[derive(Debug)]
struct Open {
    store: Arc<ArtifactStore>,
    /// Whether some machine is to boot it.
    is_wanted: bool,
    /// When one last was, since the server's start.
    wanted_at: Duration,
}

impl Images {
    /// Images lie in folders below `folder` that are named by their digest.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, open: RwLock::default() }
    }

    /// Opens the images that are wanted and forgets those that have not been for a while; all that are open now.
    pub(crate) fn keep(&self, wanted: &BTreeSet<String>, now: Duration) -> Vec<Arc<ArtifactStore>> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|digest, image| {
            image.is_wanted = wanted.contains(digest);
            if image.is_wanted {
                image.wanted_at = now;
            }
            now.saturating_sub(image.wanted_at) < LINGERS
        });
        for digest in wanted.iter().filter(|digest| is_digest(digest)) {
            open.entry(digest.clone()).or_insert_with(|| Open {
                store: Arc::new(ArtifactStore::of_image(folder.join(digest), digest.clone())),
                is_wanted: true,
                wanted_at: now,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_stays_open_for_a_while_after_nobody_is_to_boot_it() {
        let images = Images::new(Some(PathBuf::from("/none")));
        let digest = "0".repeat(64);
        let wanted = BTreeSet::from([digest.clone()]);
        let (begin, nobody) = (Duration::from_secs(9), BTreeSet::new());
        for now in [begin, begin + LINGERS] {
            assert_eq!(images.keep(&wanted, now).len(), 1);
        }
        let ends = begin + 2 * LINGERS;
        images.keep(&nobody, ends - Duration::from_secs(1));
        assert!(images.get(&digest).is_some() && images.problems().is_empty(), "a machine may still need its root");
        images.keep(&nobody, ends);
        assert!(images.get(&digest).is_none());
    }
}
