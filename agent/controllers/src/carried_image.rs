//! An image that a person carried to this node on a stick: written, tried once, and kept when the node is as well with it
//! as it was before.
//!
//! No rollout knows of it, so that it works where no voter can be reached: what is being tried is noted in the node's own
//! state, and the next start finds it there.

use std::path::PathBuf;
use std::time::Duration;

use meadow_host::files;
use meadow_model::console::SelfState;
use meadow_model::install::{DiskRequest, InstalledDisk};
use meadow_model::node::NodeDisks;
use meadow_model::work::StickUpdate;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use crate::disk_helper::DiskHelper;
use crate::self_status::SelfStatus;
use crate::stick_image::StickImage;
use crate::stored;

/// For a node that reached no voter before either: its agent has been up with state and mesh for this long.
const ALONE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(1);

/// Writes such images, and keeps them.
#[derive(Clone, Debug)]
pub struct CarriedImage {
    /// Reads the stick.
    pub stick: StickImage,
    /// The helper that may write disks.
    pub disks: DiskHelper,
    /// Where it is noted what is being tried.
    pub note: PathBuf,
}

/// What is being tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Trial {
    digest: String,
    /// Whether a voter was reached before: then it has to be reached again.
    was_ready: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl CarriedImage {
    /// Writes the image of the stick into the slot that does not run, and has it tried at the next start.
    ///
    /// # Errors
    /// What goes wrong, for people. The slot that runs is as it was.
    pub async fn write(
        &self,
        update: &StickUpdate,
        was_ready: bool,
        mut progress: impl FnMut(&str, Option<u8>),
    ) -> Result<(), Failure> {
        let gathered = self.stick.gather_from(Some(&update.stick), &mut progress).await?;
        let folder = gathered.display().to_string();
        let write = DiskRequest::WriteImage { folder, only_newer: !update.allow_older };
        let disk = self.disks.ask(&write, &mut progress).await?.disk.ok_or("this node has no disk of its own")?;
        let slot = disk.running.ok_or("this node did not start from its disk")?.other();
        let digest = disk.image_in(slot).ok_or("the disk does not tell which image was written")?.to_owned();
        // Noted first: a start of which nothing is known would be given up in ten minutes.
        stored::save(&self.note, &Trial { digest, was_ready })?;
        self.disks.ask(&DiskRequest::TryOnce { slot }, &mut progress).await?;
        Ok(())
    }

    /// Keeps the image that is being tried once this node is as well as it was before, or says that it went back. Does not
    /// return.
    pub async fn watch(&self, status: &SelfStatus, mut known: watch::Receiver<Option<NodeDisks>>) {
        let begun = tokio::time::Instant::now();
        loop {
            let disk = known.borrow_and_update().as_ref().and_then(|known| known.installed.clone());
            match (disk, self.trial()) {
                (Some(disk), Some(trial)) => self.settle(&disk, &trial, status, begun.elapsed()).await,
                (Some(_), None) => return std::future::pending().await,
                (None, _) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn settle(&self, disk: &InstalledDisk, trial: &Trial, status: &SelfStatus, up: Duration) {
        let runs = disk.running.is_some_and(|slot| disk.image_in(slot) == Some(trial.digest.as_str()));
        if !runs {
            if disk.tried.is_none() {
                status.event("the image from the stick did not come up well, and the one before runs again");
                self.forget();
            }
            return;
        }
        let is_well = if trial.was_ready { status.view().state == SelfState::Ready } else { up >= ALONE };
        if !is_well {
            return;
        }
        match self.disks.ask(&DiskRequest::Bless, |_, _| {}).await {
            Ok(_) => {
                status.event("the image from the stick is kept");
                self.forget();
            }
            Err(error) => warn!("the image from the stick cannot be kept: {error}"),
        }
    }

    fn trial(&self) -> Option<Trial> {
        stored::load(&self.note).inspect_err(|error| warn!("{error}")).ok()?
    }

    fn forget(&self) {
        if let Err(error) = files::remove(&self.note) {
            warn!("{error}");
        }
    }
}
