//! Images: adopted, rolled out, forgotten.

use meadow_model::action::{TRY_IMAGE, WRITE_IMAGE};
use meadow_model::image::{Image, ImageSpec, ImageStatus, Rollout};
use meadow_model::install::InstallMode;
use meadow_model::operation::{Operation, OperationState};
use meadow_model::{Kind, Name, Problem};

use super::transaction::{Transaction, check_revision, conflict, not_found};
use crate::Outcome;
use crate::command::OperationEnd;
use crate::limits::MAX_IMAGES;

/// The action of the operation that a rollout is.
pub(crate) const ROLLOUT: &str = "rollout";

impl Transaction {
    pub(super) fn adopt_image(&mut self, name: &Name, spec: &ImageSpec) -> Result<Outcome, Problem> {
        if let Some(known) = self.state.images.get(name) {
            // A second signature over the same image is as good as the first.
            if known.spec.digest == spec.digest {
                return Ok(Outcome::Image { name: name.clone() });
            }
            return Err(conflict(format!("{name} is another image; remove that one first")));
        }
        if self.state.images.len() >= MAX_IMAGES {
            return Err(conflict(format!(
                "the cluster keeps {MAX_IMAGES} images; remove one with `meadow image remove`"
            )));
        }
        self.put_image(Image {
            kind: Kind::Image,
            metadata: self.metadata(name),
            spec: spec.clone(),
            status: ImageStatus::default(),
        });
        self.info("image-adopted", Kind::Image, name, format!("{} can be rolled out", spec.version));
        Ok(Outcome::Image { name: name.clone() })
    }

    pub(super) fn remove_image(&mut self, name: &Name, if_match: Option<u64>) -> Result<Outcome, Problem> {
        let image = self.state.images.get(name).ok_or_else(|| not_found("image", name))?;
        check_revision(&image.metadata, if_match)?;
        if self.state.rollout().is_some_and(|rollout| rollout.digest == image.spec.digest) {
            return Err(conflict(format!("{name} is being rolled out; roll back or wait first")));
        }
        if let Some(machine) = self.state.machine_with_image(name) {
            let machine = &machine.metadata.name;
            return Err(conflict(format!(
                "{machine} boots {name} over the network; give it the installed image first, with \
                 `meadow machine boot {machine} image --image installed`"
            )));
        }
        self.state.images.remove(name);
        self.touch(Kind::Image, name);
        self.info("image-removed", Kind::Image, name, format!("{name} cannot be rolled out any more"));
        Ok(Outcome::Done)
    }

    /// Begins a rollout; one that runs is over with it.
    pub(super) fn start_rollout(
        &mut self,
        digest: &str,
        allow_older: bool,
        without_majority: bool,
    ) -> Result<Outcome, Problem> {
        let image = self.state.images.values().find(|image| image.spec.digest == digest).cloned();
        if let (Some(image), false) = (&image, allow_older) {
            self.refuse_older(image)?;
        }
        let what = image.map_or_else(|| format!("the image {}", short(digest)), |image| image.spec.version);
        if let Some(before) = self.state.rollout().cloned() {
            let why = format!("the rollout of {what} took its place");
            self.withdraw_untaken_work(&before.operation, &why);
            self.note_operation(&before.operation, "ended", Some(&OperationEnd::Failed { why }))?;
        }
        let cluster = self.state.cluster.as_ref().map(|cluster| cluster.metadata.name.clone());
        let cluster = cluster.ok_or_else(|| conflict("there is no cluster yet"))?;
        let step = format!("rolls out {what}");
        let operation = self.start_operation(ROLLOUT, Kind::Cluster, &cluster, step.clone())?;
        let digest = digest.to_owned();
        self.state.rollout = Some(Rollout { operation: operation.clone(), digest, without_majority, allow_older });
        self.info("rollout-started", Kind::Cluster, &cluster, step);
        Ok(Outcome::Operation { name: operation })
    }

    fn refuse_older(&self, image: &Image) -> Result<(), Problem> {
        let newest = self.state.images.values().filter(|other| other.status.rolled_out.is_some());
        match newest.max_by_key(|other| other.spec.age()).filter(|newest| newest.spec.age() > image.spec.age()) {
            Some(newest) => Err(conflict(format!(
                "{} is older than {}, which was rolled out; an older image brings back mended faults, say --allow-older \
                 if that is meant, or go back with `meadow image rollback`",
                image.spec.version, newest.spec.version
            ))),
            None => Ok(()),
        }
    }

    /// Ends the rollout that `operation` is, and remembers an image that every node runs.
    pub(super) fn end_rollout(&mut self, operation: &Name, end: &OperationEnd) -> Result<Outcome, Problem> {
        let Some(rollout) = self.state.rollout().filter(|rollout| rollout.operation == *operation).cloned() else {
            return Ok(Outcome::Done);
        };
        let step = match end {
            OperationEnd::Succeeded => "every installed node runs the image",
            OperationEnd::Failed { .. } => "stopped",
        };
        self.note_operation(operation, step, Some(end))?;
        let cluster = self.state.cluster.as_ref().map(|cluster| cluster.metadata.name.clone());
        let Some(cluster) = cluster else { return Ok(Outcome::Done) };
        match end {
            OperationEnd::Succeeded => {
                self.remember_rolled_out(&rollout.digest);
                self.info("rollout-done", Kind::Cluster, &cluster, step.to_owned());
            }
            OperationEnd::Failed { why } => {
                self.warn("rollout-stopped", Kind::Cluster, cluster.as_str(), why.clone());
            }
        }
        Ok(Outcome::Done)
    }

    /// Ends the rollout that runs, which a node that is switched off would keep for ever. An image that a node runs counts
    /// as rolled out: an older one is refused from then on.
    pub(super) fn call_off_rollout(&mut self) -> Result<Outcome, Problem> {
        let none = || conflict("no rollout runs, so there is none to call off");
        let Rollout { operation, digest, .. } = self.state.rollout().cloned().ok_or_else(none)?;
        let (mut runs, mut left_out) = (false, Vec::new());
        for node in self.state.nodes.values() {
            let disk = node.status.installed.as_ref().filter(|disk| disk.mode == InstallMode::System);
            match disk.map(|disk| disk.running.and_then(|slot| disk.image_in(slot))) {
                Some(Some(running)) if running == digest => runs = true,
                Some(_) => left_out.push(node.metadata.name.as_str()),
                None => {}
            }
        }
        let left_out = if left_out.is_empty() { "none".to_owned() } else { left_out.join(", ") };
        let why = format!("called off by {}; nodes that were left out: {left_out}", self.actor);
        self.withdraw_untaken_work(&operation, "its rollout was called off");
        self.note_operation(&operation, "called off", Some(&OperationEnd::Failed { why: why.clone() }))?;
        if runs {
            self.remember_rolled_out(&digest);
        }
        if let Some(cluster) = self.state.cluster.as_ref().map(|cluster| cluster.metadata.name.clone()) {
            self.warn("rollout-called-off", Kind::Cluster, cluster.as_str(), why);
        }
        Ok(Outcome::Operation { name: operation })
    }

    /// A node that is switched off would else change its image once it is back, for a rollout that is over. What it took up
    /// already (it told of a step) goes on to its end.
    fn withdraw_untaken_work(&mut self, rollout: &Name, why: &str) {
        let untaken = |op: &&Operation| {
            op.metadata.name > *rollout
                && op.status.state == OperationState::Running
                && [WRITE_IMAGE, TRY_IMAGE].contains(&op.spec.action.as_str())
                && op.status.steps.len() <= 1
        };
        let untaken: Vec<Operation> = self.state.operations.values().filter(untaken).cloned().collect();
        for operation in untaken {
            self.fail_operation(operation, why.to_owned());
        }
    }

    fn remember_rolled_out(&mut self, digest: &str) {
        let done = self.state.images.values().find(|image| image.spec.digest == digest).cloned();
        if let Some(mut image) = done.filter(|image| image.status.rolled_out.is_none()) {
            image.status.rolled_out = Some(self.at);
            self.put_image(image);
        }
    }

    fn put_image(&mut self, mut image: Image) {
        let name = image.metadata.name.clone();
        image.metadata.revision = self.index;
        self.touch(Kind::Image, &name);
        self.state.images.insert(name, image);
    }
}

impl crate::State {
    /// The rollout that runs.
    #[must_use]
    pub fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref().filter(|rollout| {
            let operation = self.operations.get(&rollout.operation);
            operation.is_some_and(|operation| operation.status.state == OperationState::Running)
        })
    }

    /// The newest rollout, also when it is over.
    #[must_use]
    pub fn last_rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref()
    }
}

/// As much of a digest as a person reads.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
