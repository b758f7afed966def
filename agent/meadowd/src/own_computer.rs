//! What a person at this very computer may want of it, whether or not its cluster can be reached.

use std::time::Duration;

use meadow_client::Client;
use meadow_controllers::carried_image::CarriedImage;
use meadow_controllers::disk_helper::DiskHelper;
use meadow_controllers::keys::Keys;
use meadow_controllers::membership::Membership;
use meadow_controllers::paths::Paths;
use meadow_controllers::self_status::{SelfStatus, WorkHere};
use meadow_controllers::stick_image::StickImage;
use meadow_controllers::stored;
use meadow_controllers::support::SupportBundles;
use meadow_host::files;
use meadow_model::boot::BootReport;
use meadow_model::console::SelfState;
use meadow_model::hardware::{Disk, Hardware};
use meadow_model::install::DiskRequest;
use meadow_model::reset::{ResetDone, ResetPlan, ResetRequest};
use meadow_model::work::{StickUpdate, SupportTask};
use meadow_model::{Name, Problem, ProblemCode};
use meadow_pki::{CaPin, Identity};
use tracing::{info, warn};

use crate::stick;

/// For the cluster to hear that this node is gone; a reset is not kept waiting by a cluster that cannot be reached.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often it is looked whether the disks are there.
const LOOK: Duration = Duration::from_millis(500);
/// So that whoever asked gets the answer before the restart takes the agent away.
const BREATH: Duration = Duration::from_secs(2);

/// This computer.
#[derive(Clone)]
pub(crate) struct OwnComputer {
    pub(crate) paths: Paths,
    pub(crate) status: SelfStatus,
}

impl OwnComputer {
    /// Brings a reset to its end that power cut off, as soon as the disks are there. Does not return.
    pub(crate) async fn finish_reset(&self) {
        // Only Meadow's own image has marked disks, and a helper.
        if matches!(stored::load::<BootReport>(&self.paths.boot_report()), Ok(Some(_))) {
            while !files::exists(&self.paths.coldplug_done()) || !files::exists(&self.paths.disk_helper()) {
                tokio::time::sleep(LOOK).await;
            }
            self.finish_now().await;
        }
        std::future::pending().await
    }

    async fn finish_now(&self) {
        let work = self.works_on("reset-here", "looks whether a reset was cut off");
        let noted = |step: &str, percent| {
            self.status.event(step);
            work.iter().for_each(|work| work.step(step, percent));
        };
        let told = self.helper().ask(&DiskRequest::FinishReset, noted).await;
        if let Err(error) = told {
            warn!("whether a reset has to be finished is not known: {error}");
            self.status.event(format!("a reset that was cut off cannot be finished: {error}"));
        }
    }

    pub(crate) async fn disks(&self) -> Result<Vec<Disk>, Problem> {
        Ok(hardware().await?.disks)
    }

    pub(crate) async fn plan_reset(&self, request: &ResetRequest) -> Result<ResetPlan, Problem> {
        let failed = |error: &dyn std::fmt::Display| Problem::new(ProblemCode::Conflict, error.to_string());
        let own = self.helper().ask(&DiskRequest::Look, |_, _| {}).await.map_err(|error| failed(&error))?.disk;
        let hardware = hardware().await?;
        let plan = meadow_plan::reset::plan(&self.name()?, &hardware, own.as_ref(), &request.disks);
        plan.map_err(|refusal| Problem::new(ProblemCode::InstallRefused, refusal.to_string()))
    }

    /// Erases the state, says farewell to the cluster where that can be reached, and restarts. Goes on where nobody waits
    /// for the answer any more.
    pub(crate) async fn reset(&self, request: &ResetRequest) -> Result<ResetDone, Problem> {
        let (own, request) = (self.clone(), request.clone());
        to_its_end(async move { own.reset_now(&request).await }).await
    }

    async fn reset_now(&self, request: &ResetRequest) -> Result<ResetDone, Problem> {
        let plan = self.plan_reset(request).await?;
        if request.consent.as_ref() != Some(&plan.hash) {
            let detail = format!("the plan for the reset of {} has the hash {} now", plan.node, plan.hash);
            return Err(Problem::new(ProblemCode::PlanChanged, detail));
        }
        // What says farewell lies in the state that is erased.
        let farewell = self.farewell();
        let erase = DiskRequest::Reset(Box::new(plan.clone()));
        let work = self.works_on("reset-here", "erases the state")?;
        let noted = |step: &str, percent| {
            self.status.event(step);
            work.step(step, percent);
        };
        let erased = self.helper().ask(&erase, noted).await;
        let erased = erased.map_err(|error| Problem::new(ProblemCode::Conflict, error.to_string()))?.erased;
        erased.iter().for_each(|disk| self.status.event(disk.to_string()));
        if let Some((client, node)) = farewell {
            match tokio::time::timeout(FAREWELL, client.leave(&node)).await {
                Ok(Ok(())) => info!(%node, "the cluster knows that this node was reset"),
                _ => self.status.event(format!(
                    "the cluster was not reached; take {node} out there with `meadow node remove {node}`"
                )),
            }
        }
        self.restart();
        Ok(ResetDone { plan, erased })
    }

    /// Writes the image of a stick and restarts into it once, whether or not somebody waits for the answer.
    pub(crate) async fn update(&self, update: &StickUpdate) -> Result<String, Problem> {
        let (own, update) = (self.clone(), update.clone());
        to_its_end(async move { own.update_now(&update).await }).await
    }

    async fn update_now(&self, update: &StickUpdate) -> Result<String, Problem> {
        let ready = self.status.view().state == SelfState::Ready;
        let work = self.works_on("update-here", "looks at the stick")?;
        let written = self.carried_image().write(update, ready, |step, percent| work.step(step, percent)).await;
        written.map_err(|error| Problem::new(ProblemCode::Conflict, error.to_string()))?;
        self.restart();
        Ok("the image is written; pull the stick, this computer restarts into it now".to_owned())
    }

    /// Writes a support bundle onto a stick.
    pub(crate) async fn support(&self, task: &SupportTask) -> Result<String, Problem> {
        let name = self.name()?.to_string();
        let work = self.works_on("support-here", "gathers what somebody who helps has to know")?;
        let noted = |step: &str, percent| work.step(step, percent);
        let saved = self.bundles().save(&name, &task.stick, self.status.view(), noted).await;
        let file = saved.map_err(|error| Problem::new(ProblemCode::Conflict, error.to_string()))?;
        Ok(format!("{file} is on the stick; it is safe to pull"))
    }

    /// Images that a person carries here.
    pub(crate) fn carried_image(&self) -> CarriedImage {
        CarriedImage { stick: self.stick_image(), disks: self.helper(), note: self.paths.carried_image() }
    }

    /// Support bundles.
    pub(crate) fn bundles(&self) -> SupportBundles {
        SupportBundles { paths: self.paths.clone(), disks: self.helper() }
    }

    /// The images of sticks.
    pub(crate) fn stick_image(&self) -> StickImage {
        StickImage {
            booted: stick::booted(&self.paths),
            disks: self.helper(),
            build_key: self.paths.build_key(),
            folder: self.paths.stick_image(),
        }
    }

    /// Lets both terminals say that this is under way, until that is dropped.
    fn works_on(&self, what: &str, step: &str) -> Result<WorkHere, Problem> {
        let what = Name::new(what).map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))?;
        Ok(self.status.works_here(what, step))
    }

    fn restart(&self) {
        let helper = self.helper();
        tokio::spawn(async move {
            tokio::time::sleep(BREATH).await;
            if let Err(error) = helper.ask(&DiskRequest::Reboot, |_, _| {}).await {
                warn!("this computer does not restart: {error}");
            }
        });
    }

    fn farewell(&self) -> Option<(Client, Name)> {
        let membership = stored::load::<Membership>(&self.paths.state().membership()).ok()??;
        if !files::exists(&self.paths.state().identity_key()) {
            return None;
        }
        let keys = Keys::load_or_make(&self.paths.state()).ok()?;
        let identity = Identity::with_chain(keys.identity.key_pem().expose(), &membership.chain_pem).ok()?;
        let client = Client::tls(&membership.api, CaPin(membership.ca_fingerprint), Some(&identity)).ok()?;
        Some((client, membership.node))
    }

    /// The name of the node or machine, or one that says that it has none.
    fn name(&self) -> Result<Name, Problem> {
        let known = self.status.view().name.map_or_else(|| Name::new("this-computer"), Ok);
        known.map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))
    }

    fn helper(&self) -> DiskHelper {
        DiskHelper::at(self.paths.disk_helper())
    }
}

async fn hardware() -> Result<Hardware, Problem> {
    crate::seed::inventory().await.map_err(|error| Problem::new(ProblemCode::Conflict, format!("{error:#}")))
}

/// Work that does not stop half-way when the connection of whoever ordered it breaks.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|error| Err(Problem::new(ProblemCode::Internal, error.to_string())))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_whoever_ordered_it_hangs_up() {
        let (begun, begins) = oneshot::channel();
        let (go_on, goes_on) = oneshot::channel();
        let (ended, ends) = oneshot::channel();
        let order = tokio::spawn(to_its_end(async move {
            begun.send(()).expect("heard");
            goes_on.await.expect("told");
            ended.send(()).expect("heard");
            Ok(())
        }));
        begins.await.expect("begun");
        // As the server drops the handler of a request whose connection broke.
        order.abort();
        assert!(order.await.expect_err("nobody waits any more").is_cancelled());
        go_on.send(()).expect("it waits for that");
        ends.await.expect("it came to its end");
    }

    #[tokio::test]
    async fn who_waits_hears_how_it_ended() {
        assert_eq!(to_its_end(async { Ok(7) }).await, Ok(7));
        let refused = Problem::new(ProblemCode::Conflict, "no");
        assert_eq!(to_its_end::<()>(std::future::ready(Err(refused.clone()))).await, Err(refused));
        let crashed = to_its_end::<()>(async { panic!("a defect") }).await.expect_err("a problem");
        assert_eq!(crashed.code, ProblemCode::Internal);
    }
}
