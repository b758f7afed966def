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
        let only_newer = !update.allow_older;
        let write = DiskRequest::WriteImage { folder, only_newer };
        let disk = self.disks.ask(&write, &mut progress).await?.disk.ok_or("this node has no disk of its own")?;
        let slot = disk.running.ok_or("this node did not start from its disk")?.other();
        let digest = disk.image_in(slot).ok_or("the disk does not tell which image was written")?.to_owned();
        // Noted first: a start of which nothing is known would be given up in ten minutes.
        stored::save(&self.note, &Trial { digest, was_ready })?;
        let told = self.disks.ask(&DiskRequest::TryOnce { slot, only_newer }, &mut progress).await;
        if told.is_err() {
            self.forget();
        }
        told?;
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

#[cfg(test)]
mod tests {
    use meadow_model::image::SlotImage;
    use meadow_model::install::{BootSlot, InstallMode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    fn disk(running: BootSlot, tried: Option<BootSlot>) -> InstalledDisk {
        let image = |slot, digest: &str| SlotImage { slot, digest: Some(digest.to_owned()) };
        InstalledDisk {
            serial: "S1".to_owned(),
            disk: "sda".to_owned(),
            mode: InstallMode::System,
            luks_uuid: String::new(),
            host_key: String::new(),
            host_key_sealed: false,
            keys: Vec::new(),
            running: Some(running),
            blessed: Some(BootSlot::A),
            slots: vec![image(BootSlot::A, "old"), image(BootSlot::B, "new")],
            tried,
            went_back_from: None,
            ssh_keys: None,
        }
    }

    fn carried(folder: &std::path::Path) -> CarriedImage {
        let disks = DiskHelper::at(folder.join("disks.sock"));
        let stick = StickImage {
            booted: false,
            disks: disks.clone(),
            build_key: folder.join("build.pem"),
            folder: folder.join("stick"),
        };
        CarriedImage { stick, disks, note: folder.join("note.json") }
    }

    #[tokio::test]
    async fn an_image_is_kept_once_the_node_is_as_well_as_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let carried = carried(folder.path());
        let listener = UnixListener::bind(folder.path().join("disks.sock")).expect("a socket");
        let helper = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 256];
            let length = stream.read(&mut request).await.expect("a request");
            assert_eq!(&request[..length], b"{\"do\":\"bless\"}\n");
            stream.write_all(b"{\"is\":\"done\",\"disk\":null,\"recovery_key\":null}\n").await.expect("answered");
        });
        let status = SelfStatus::starting("0");
        let trial = Trial { digest: "new".to_owned(), was_ready: true };
        stored::save(&carried.note, &trial).expect("noted");
        let running = disk(BootSlot::B, None);
        carried.settle(&running, &trial, &status, ALONE * 2).await;
        assert_eq!(carried.trial().as_ref(), Some(&trial), "no voter is reached, which was reached before");
        status.set(SelfState::Ready, "");
        carried.settle(&running, &trial, &status, Duration::ZERO).await;
        helper.await.expect("blessed");
        assert_eq!(carried.trial(), None);
    }

    #[tokio::test]
    async fn one_that_did_not_come_up_is_said_and_one_that_is_still_to_be_tried_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (carried, status) = (carried(folder.path()), SelfStatus::starting("0"));
        let trial = Trial { digest: "new".to_owned(), was_ready: false };
        stored::save(&carried.note, &trial).expect("noted");
        carried.settle(&disk(BootSlot::A, Some(BootSlot::B)), &trial, &status, ALONE).await;
        assert!(carried.trial().is_some() && status.view().events.is_empty());
        carried.settle(&disk(BootSlot::B, None), &trial, &status, ALONE / 2).await;
        assert!(carried.trial().is_some(), "alone, and not for long enough");
        carried.settle(&disk(BootSlot::A, None), &trial, &status, ALONE).await;
        assert!(carried.trial().is_none());
        assert!(status.view().events.last().is_some_and(|event| event.message.contains("runs again")));
    }
}
