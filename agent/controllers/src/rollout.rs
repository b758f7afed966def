//! What a rollout does next, from the state and the nodes' newest reports.
//!
//! Nothing is remembered between two looks: whatever crashed in between, the next look sees where the nodes are.

use meadow_model::action::{BLESS_IMAGE, TRY_IMAGE, WRITE_IMAGE};
use meadow_model::image::{Image, Rollout, TRIAL_SECONDS};
use meadow_model::install::{InstallMode, InstalledDisk};
use meadow_model::node::{Node, NodeState, NodeStatus};
use meadow_model::operation::{Operation, OperationState};
use meadow_model::work::{ImageTask, NodeTask};
use meadow_model::{Kind, Name, Timestamp};
use meadow_plan::rollout::{Health, NodeImage, Policy, Step, next};
use meadow_state::State;
use meadow_state::command::OperationEnd;

use crate::mailbox::LOST;

/// A node that this rollout restarted into an image and that has not reported for this long has failed.
const AWAY_MS: u64 = TRIAL_SECONDS * 1000;
/// The work of a rollout.
const ACTIONS: [&str; 3] = [WRITE_IMAGE, TRY_IMAGE, BLESS_IMAGE];

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Give this work to this node.
    Give {
        /// The node.
        node: Name,
        /// The work.
        task: NodeTask,
    },
    /// Tell where it stands.
    Tell(String),
    /// It is over.
    End(OperationEnd),
}

/// What is known of a rollout.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The replicated state.
    pub state: &'a State,
    /// The nodes with their status as of now.
    pub nodes: &'a [(Node, NodeStatus)],
    /// The node that leads the voters.
    pub leader: &'a Name,
    /// The rollout.
    pub rollout: &'a Rollout,
    /// TCP port on which nodes hand out images.
    pub port: u16,
    /// Now.
    pub now: Timestamp,
}

impl View<'_> {
    /// The next thing to do.
    #[must_use]
    pub fn next(&self) -> Action {
        if let Some(action) = self.nodes.iter().find_map(|(node, _)| self.under_way(&node.metadata.name)) {
            return action;
        }
        let images: Vec<NodeImage> =
            self.nodes.iter().filter_map(|(node, status)| self.image_of(node, status)).collect();
        let policy = Policy { without_majority: self.rollout.without_majority };
        match next(&images, &self.rollout.digest, &policy) {
            Step::Write { node } => self.write(node),
            Step::Try { node } => {
                let (digest, allow_older) = (self.rollout.digest.clone(), self.rollout.allow_older);
                Action::Give { node, task: NodeTask::TryImage { digest, allow_older } }
            }
            Step::Bless { node } => Action::Give { node, task: NodeTask::BlessImage },
            Step::Wait { why, .. } => Action::Tell(why),
            Step::Ask { why, .. } => failed(format!("{why}; then say --without-majority")),
            Step::Stop { why, .. } => failed(why),
            Step::Done => Action::End(OperationEnd::Succeeded),
        }
    }

    /// What a node is at for this rollout, or failed at.
    fn under_way(&self, node: &Name) -> Option<Action> {
        let operation = self.newest(node, |action| ACTIONS.contains(&action))?;
        let step = operation.status.steps.last().map_or("", |step| step.message.as_str());
        match operation.status.state {
            OperationState::Running => Some(Action::Tell(format!("{node}: {} ({step})", operation.spec.action))),
            OperationState::Succeeded => None,
            // The voter restarted: the work is given again.
            OperationState::Failed if step == LOST => None,
            OperationState::Failed => {
                let why = operation.status.error.as_deref().unwrap_or("it does not say why");
                Some(failed(format!("{node} failed at {}: {why}", operation.spec.action)))
            }
        }
    }

    /// The newest operation of a node since this rollout began; names of operations sort by age.
    fn newest(&self, node: &Name, wanted: impl Fn(&str) -> bool) -> Option<&Operation> {
        self.state
            .operations()
            .values()
            .rev()
            .take_while(|op| op.metadata.name > self.rollout.operation)
            .find(|op| op.spec.kind == Kind::Node && op.spec.target == *node && wanted(&op.spec.action))
    }

    /// A node as the planner sees it; `None` for one that boots over the network, whose image is the boot server's.
    fn image_of(&self, node: &Node, status: &NodeStatus) -> Option<NodeImage> {
        let disk = status.installed.as_ref().filter(|disk| disk.mode == InstallMode::System);
        if disk.is_none() && !node.spec.voter {
            return None;
        }
        let name = node.metadata.name.clone();
        let image = |slot| disk.and_then(|disk: &InstalledDisk| disk.image_in(slot)).map(str::to_owned);
        let other = disk.and_then(|disk| disk.running).and_then(|slot| image(slot.other()));
        let went_back = disk.and_then(|disk| disk.went_back_from).and_then(image);
        // That it went back once is no news to a rollout that has not tried it yet.
        let tried_now = self.newest(&name, |action| action == TRY_IMAGE).is_some();
        let trying = disk.is_some_and(|disk| disk.tried.is_some());
        let touched = self.newest(&name, |action| ACTIONS.contains(&action)).is_some();
        // An ordinary host has a system of its own: it counts as a voter, and needs nothing.
        let own = || Some(self.rollout.digest.clone());
        Some(NodeImage {
            voter: node.spec.voter,
            leader: node.metadata.name == *self.leader,
            running: disk.map_or_else(own, |disk| image(disk.running?)),
            blessed: disk.map_or_else(own, |disk| image(disk.blessed?)),
            other,
            trying,
            went_back_from: went_back.filter(|_| tried_now),
            touched,
            health: self.health(status, trying || tried_now),
            name,
        })
    }

    fn health(&self, status: &NodeStatus, restarted: bool) -> Health {
        if status.state == NodeState::Ready {
            return Health::Healthy;
        }
        let why = status.reason.clone().unwrap_or_else(|| "it does not report".to_owned());
        let away = status.last_report.is_some_and(|last| self.now.millis_since(last) > AWAY_MS);
        if restarted && away { Health::Failed(why) } else { Health::Pending(why) }
    }

    fn write(&self, node: Name) -> Action {
        let adopted = |image: &&Image| image.spec.digest == self.rollout.digest;
        let Some(image) = self.state.images().values().find(adopted) else {
            return failed(format!(
                "{node} has another image in its other slot, and this one is in no store of the cluster; add it with `meadow image add`"
            ));
        };
        let task = ImageTask {
            digest: image.spec.digest.clone(),
            release_signature: image.spec.release_signature.clone(),
            sources: self.sources(&node),
            allow_older: self.rollout.allow_older,
        };
        Action::Give { node, task: NodeTask::WriteImage(Box::new(task)) }
    }

    /// Nodes that run the image already relieve the voters, which have it too.
    fn sources(&self, target: &Name) -> Vec<String> {
        let has = |(node, status): &&(Node, NodeStatus)| {
            let disk = status.installed.as_ref();
            let runs = disk
                .is_some_and(|disk| disk.running.and_then(|slot| disk.image_in(slot)) == Some(&self.rollout.digest));
            node.metadata.name != *target && status.state == NodeState::Ready && (runs || node.spec.voter)
        };
        let mut having: Vec<&(Node, NodeStatus)> = self.nodes.iter().filter(has).collect();
        having.sort_by_key(|(node, _)| node.spec.voter);
        having.iter().map(|(node, _)| format!("[{}]:{}", node.spec.address, self.port)).collect()
    }
}

fn failed(why: String) -> Action {
    Action::End(OperationEnd::Failed { why })
}
