//! Does the work of a node: disks through the helper, secrets unsealed only here.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use meadow_client::Client;
use meadow_host::wireguard::PrivateKey;
use meadow_model::console::SelfState;
use meadow_model::install::{BootSlot, DiskRequest, InstallMode, InstallWork, InstalledDisk, Sealed};
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::NodeDisks;
use meadow_model::reset::ResetPlan;
use meadow_model::work::{
    ImageTask, InstallTask, KeyTask, NodeTask, Reinstall, StickUpdate, SupportTask, WorkEnd, answer_purpose,
    header_purpose, passphrase_purpose,
};
use meadow_model::{Fingerprint, Name, Problem, Secret};
use meadow_pki::sealed;
use tokio::sync::{Mutex, watch};
use tracing::warn;

use crate::carried_image::CarriedImage;
use crate::disk_helper::{self, DiskHelper, DiskWork};
use crate::image_fetch::ImageFetcher;
use crate::image_source::ImageSource;
use crate::network_settings::NetworkSettings;
use crate::self_status::SelfStatus;
use crate::stick_image::StickImage;
use crate::support::SupportBundles;
use crate::work::{Note, Worker};

/// How long a node that was reset waits until the cluster has heard of it.
const UNHEARD: Duration = Duration::from_secs(60);

/// For some MB on the slowest of lines.
const SEND: Duration = Duration::from_secs(300);

/// What the work of this node needs.
pub struct NodeTasks {
    /// The node.
    pub node: Name,
    /// Its mesh key, to which secrets are sealed.
    pub key: PrivateKey,
    /// The helper that may write disks.
    pub disks: DiskHelper,
    /// Where images come from.
    pub images: ImageSource,
    /// Fetches the images that the cluster adopted.
    pub adopted: ImageFetcher,
    /// The image of the stick that this node booted from.
    pub stick: StickImage,
    /// How the network cards are set, which an installation takes along.
    pub network: Arc<NetworkSettings>,
    /// Images that a person carries here.
    pub carried: CarriedImage,
    /// Whether the system that runs came over the network, so that nothing runs from this node's disk but its state.
    pub booted_over_network: bool,
    /// Support bundles.
    pub bundles: SupportBundles,
    /// Voters on the LAN, for answers that are too large for a report.
    pub voters: Arc<Client>,
    /// How this node is.
    pub status: SelfStatus,
    /// The agent's state, which an installation takes along.
    pub state_dir: PathBuf,
    /// The newest look at the disks, brought up to date by the work.
    pub known: watch::Sender<Option<NodeDisks>>,
    /// One piece of work at a time.
    pub turn: Mutex<()>,
}

impl Worker for NodeTasks {
    fn work(self: Arc<Self>, task: NodeTask, note: Note) -> Pin<Box<dyn Future<Output = WorkEnd> + Send>> {
        Box::pin(async move {
            if matches!(task, NodeTask::Reinstall(_)) && !self.booted_over_network {
                // Only a system that does not run can be written anew. Whether a restart would bring this node to the
                // network, only its firmware knows: a person starts it, and other work goes on until then.
                note.waits_for_restart(
                    "waits for a start over the network: restart it, with the network first in its firmware",
                );
                return std::future::pending().await;
            }
            let _turn = self.turn.lock().await;
            let result = match task {
                NodeTask::Install(task) => self.install(*task, &note).await,
                NodeTask::Keys(task) => self.change_keys(task, &note).await,
                NodeTask::Reboot => Ok(None),
                NodeTask::Reset(plan) => self.reset(plan, &note).await,
                NodeTask::Reinstall(order) => self.reinstall(order, &note).await,
                NodeTask::UpdateFromStick(update) => self.update_from_stick(&update, &note).await,
                NodeTask::Support(task) => self.support(&task, &note).await,
                NodeTask::WriteImage(task) => self.write_image(&task, &note).await,
                NodeTask::TryImage { digest, allow_older } => self.try_image(&digest, allow_older, &note).await,
                NodeTask::TryNetwork(change) => self.network.begin(&change).await.map(|_| None).map_err(told),
                NodeTask::ConfirmNetwork => self.network.end(true).await.map(|_| None).map_err(told),
                NodeTask::NetworkBack => self.network.end(false).await.map(|_| None).map_err(told),
                NodeTask::BlessImage => self.ask(&DiskRequest::Bless, &note).await.map(|_| None).map_err(Into::into),
            };
            result.map_or_else(|error| WorkEnd::Failed { why: format!("{error:#}") }, |answer| WorkEnd::Done { answer })
        })
    }

    fn restart(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if let Err(error) = self.disks.ask(&DiskRequest::Reboot, |_, _| {}).await {
                warn!("this computer does not restart: {error}");
            }
        })
    }
}

/// What goes wrong is told to a person; nothing decides by it.
type Done = Result<Option<Sealed>, Box<dyn std::error::Error + Send + Sync>>;

/// The slot to restart into for the image `digest`; `None` where it runs already: power failed, or the agent ended, after
/// the slot was chosen and before a voter heard of it, and the start since then took it.
fn slot_to_try(disk: &InstalledDisk, digest: &str) -> Result<Option<BootSlot>, String> {
    let running = disk.running.ok_or("this node did not start from its disk")?;
    let slot = running.other();
    match (disk.image_in(running), disk.image_in(slot)) {
        (Some(runs), _) if runs == digest => Ok(None),
        (_, Some(written)) if written == digest => Ok(Some(slot)),
        _ => Err(format!("slot {} holds another image than was written", slot.letter())),
    }
}

/// A problem of this node, for who asked from elsewhere: with each field that is wrong.
fn told(problem: Problem) -> Box<dyn std::error::Error + Send + Sync> {
    let fields: Vec<String> =
        problem.fields.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    if fields.is_empty() { problem.detail.into() } else { fields.join("; ").into() }
}

impl NodeTasks {
    async fn install(&self, task: InstallTask, note: &Note) -> Done {
        let passphrase = self.unsealed(&task.passphrase)?;
        let image = match task.plan.mode {
            InstallMode::StateOnly => None,
            InstallMode::System => Some(self.image(note).await?.display().to_string()),
        };
        let work = InstallWork {
            plan: task.plan,
            passphrase,
            image,
            state_from: self.state_dir.display().to_string(),
            authorized_keys: task.authorized_keys,
            cluster: task.cluster,
            ca_fingerprint: task.ca_fingerprint,
            network: if task.network.is_empty() { self.network.records().await } else { task.network },
        };
        let done = self.ask(&DiskRequest::Install(Box::new(work)), note).await;
        self.images.forget()?;
        self.answered(done?, Some(&task.reply_to))
    }

    /// Whether or not the cluster hears of it, a node without a state does not go on for long.
    async fn reset(self: &Arc<Self>, plan: Box<ResetPlan>, note: &Note) -> Done {
        let done = self.ask(&DiskRequest::Reset(plan), note).await?;
        if !done.erased.is_empty() {
            let disks: Vec<String> = done.erased.iter().map(ToString::to_string).collect();
            note.outcome(disks.join("; "));
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(UNHEARD).await;
            this.restart().await;
        });
        Ok(None)
    }

    async fn reinstall(&self, order: Reinstall, note: &Note) -> Done {
        let folder = self.image(note).await?.display().to_string();
        let done = self.ask(&DiskRequest::Reinstall { folder, only_newer: !order.allow_older }, note).await;
        self.images.forget()?;
        done?;
        Ok(None)
    }

    async fn update_from_stick(&self, update: &StickUpdate, note: &Note) -> Done {
        let ready = self.status.view().state == SelfState::Ready;
        self.carried.write(update, ready, |step, percent| note.step(step, percent)).await?;
        Ok(None)
    }

    async fn support(&self, task: &SupportTask, note: &Note) -> Done {
        note.step("gathers what somebody who helps has to know", None);
        let name = self.node.to_string();
        self.bundles.save(&name, &task.stick, self.status.view(), |step, percent| note.step(step, percent)).await?;
        Ok(None)
    }

    async fn write_image(&self, task: &ImageTask, note: &Note) -> Done {
        let fetched = self.adopted.fetch(task, |part, percent| {
            note.step(&format!("fetches the image: {part}"), Some(percent));
        });
        let folder = fetched.await?.display().to_string();
        self.ask(&DiskRequest::WriteImage { folder, only_newer: !task.allow_older }, note).await?;
        Ok(None)
    }

    /// Which slot holds the image is asked now: the helper looks at the disk itself.
    async fn try_image(&self, digest: &str, allow_older: bool, note: &Note) -> Done {
        let disk = self.ask(&DiskRequest::Look, note).await?.disk.ok_or("this node has no disk of its own")?;
        let Some(slot) = slot_to_try(&disk, digest)? else {
            note.no_restart();
            return Ok(None);
        };
        self.ask(&DiskRequest::TryOnce { slot, only_newer: !allow_older }, note).await?;
        Ok(None)
    }

    /// The image of the boot server, or else that of the stick that this node runs from.
    async fn image(&self, note: &Note) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
        let fetch = self.images.fetch(|part, percent| note.step(&format!("fetches the image: {part}"), Some(percent)));
        match fetch.await {
            Ok(folder) => Ok(folder.to_owned()),
            Err(error) if !self.stick.booted => Err(error.into()),
            Err(no_server) => {
                self.images.forget()?;
                let gather = self.stick.gather(|step, percent| note.step(step, percent));
                let folder =
                    gather.await.map_err(|error| format!("{error} (and no boot server helps: {no_server})"))?;
                Ok(folder.to_owned())
            }
        }
    }

    async fn change_keys(&self, task: KeyTask, note: &Note) -> Done {
        let (request, reply_to) = match task {
            KeyTask::AddPassphrase { existing, new, label } => {
                let (existing, new) = (self.unsealed(&existing)?, self.unsealed(&new)?);
                (DiskRequest::AddPassphrase { existing, new, label }, None)
            }
            KeyTask::AddTpm { existing, pin, label } => {
                let pin = pin.as_ref().map(|pin| self.unsealed(pin)).transpose()?;
                (DiskRequest::AddTpm { existing: self.unsealed(&existing)?, pin, label }, None)
            }
            KeyTask::NewRecoveryKey { existing, reply_to } => {
                (DiskRequest::NewRecoveryKey { existing: self.unsealed(&existing)? }, Some(reply_to))
            }
            KeyTask::EndOlderRecoveryKeys { kept } => {
                (DiskRequest::EndOlderRecoveryKeys { kept: self.unsealed(&kept)? }, None)
            }
            KeyTask::BackUpHeader { existing, reply_to } => {
                return self.back_up_header(self.unsealed(&existing)?, &reply_to, note).await;
            }
            KeyTask::Remove { slot } => (DiskRequest::RemoveKey { slot }, None),
        };
        let done = self.ask(&request, note).await?;
        self.answered(done, reply_to.as_ref())
    }

    /// The backup goes its own way: a report that is late because of it would make the node unready.
    async fn back_up_header(&self, existing: Secret<String>, reply_to: &WireGuardKey, note: &Note) -> Done {
        let done = self.ask(&DiskRequest::BackUpHeader { existing }, note).await?;
        let header = done.header.ok_or("the disk helper made no backup; do the versions fit together?")?;
        let sealed = sealed::seal(reply_to, &header_purpose(&self.node), &header)?;
        note.step("sends the backup", None);
        let sent = self.voters.put_operation_answer(note.operation(), &sealed);
        tokio::time::timeout(SEND, sent).await.map_err(|_| "the backup did not reach a voter in time; try again")??;
        Ok(None)
    }

    /// Makes these the admins' SSH keys in this node's record, once no other work is done.
    pub(crate) async fn set_ssh_keys(
        &self,
        keys: Vec<String>,
        ca_fingerprint: Fingerprint,
    ) -> Result<(), disk_helper::DiskError> {
        let _turn = self.turn.lock().await;
        let done = self.disks.ask(&DiskRequest::SetSshKeys { keys, ca_fingerprint }, |_, _| {}).await?;
        self.learn(&done);
        Ok(())
    }

    async fn ask(&self, request: &DiskRequest, note: &Note) -> Result<DiskWork, disk_helper::DiskError> {
        let done = self.disks.ask(request, |step, percent| note.step(step, percent)).await?;
        self.learn(&done);
        Ok(done)
    }

    /// Reports tell the disk as the work has left it.
    fn learn(&self, done: &DiskWork) {
        if done.disk.is_some() {
            self.known.send_modify(|known| known.iter_mut().for_each(|known| known.installed.clone_from(&done.disk)));
        }
    }

    fn unsealed(&self, sealed: &Sealed) -> Result<Secret<String>, sealed::SealError> {
        sealed::open(self.key.expose(), &passphrase_purpose(&self.node), sealed)
    }

    fn answered(&self, done: DiskWork, reply_to: Option<&WireGuardKey>) -> Done {
        let (Some(key), Some(reply_to)) = (done.recovery_key, reply_to) else { return Ok(None) };
        Ok(Some(sealed::seal(reply_to, &answer_purpose(&self.node), &key)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(running: &str, a: &str, b: &str) -> InstalledDisk {
        serde_json::from_value(serde_json::json!({
            "serial": "S1", "disk": "sda", "mode": "system", "luks_uuid": "u", "host_key": "SHA256:x",
            "host_key_sealed": false, "keys": [], "running": running, "blessed": "a", "slots": [slot("a", a), slot("b", b)],
        }))
        .expect("a disk")
    }

    fn slot(slot: &str, digest: &str) -> serde_json::Value {
        serde_json::json!({"slot": slot, "digest": digest})
    }

    #[test]
    fn an_image_is_tried_once_even_where_nobody_heard_that_it_was() {
        assert_eq!(slot_to_try(&disk("a", "old", "new"), "new"), Ok(Some(BootSlot::B)));
        // Power failed after the slot was chosen: the image runs, and the other slot holds the one of before.
        assert_eq!(slot_to_try(&disk("b", "old", "new"), "new"), Ok(None));
        let other = slot_to_try(&disk("a", "old", "other"), "new").expect_err("another image");
        assert!(other.contains("slot b holds another image"), "{other}");
    }
}
