//! Applying proposals.

mod admission;
mod bootstrap;
mod claim;
mod credential;
mod image;
mod machine;
mod node;
mod operation;
mod ssh_keys;
mod token;
mod transaction;

use meadow_model::{Problem, ProblemCode};

use crate::command::{Command, Proposal};
use crate::limits::MAX_ANSWERS;
use crate::state::Answer;
use crate::{Applied, Outcome, State};
pub(crate) use node::known_disk;
pub(crate) use operation::ENROL;
use transaction::Transaction;

impl State {
    /// Applies `proposal`, which stands at `index` of the log. A proposal that is refused changes nothing except the
    /// applied index ([`State::revision`]).
    ///
    /// # Errors
    /// The problem that the proposer is to be told.
    pub fn apply(&mut self, index: u64, proposal: &Proposal) -> Result<Applied, Problem> {
        self.revision = index;
        if let Some(outcome) = self.answered_before(proposal)? {
            return Ok(Applied { index, changed: Vec::new(), events: Vec::new(), outcome });
        }
        let mut transaction = Transaction::new(self.clone(), index, proposal);
        let outcome = transaction.run(&proposal.command)?;
        if let Some(key) = &proposal.idempotency_key {
            transaction.state.remember(key, proposal, &outcome);
        }
        let (state, applied) = transaction.finish(outcome);
        *self = state;
        Ok(applied)
    }

    /// Notes that the entry at `index` of the log held no proposal.
    pub fn skip(&mut self, index: u64) {
        self.revision = index;
    }

    fn answered_before(&self, proposal: &Proposal) -> Result<Option<Outcome>, Problem> {
        let Some(key) = &proposal.idempotency_key else { return Ok(None) };
        let answer = self.answers.values().find(|a| &a.key == key && a.actor == proposal.actor);
        match answer {
            Some(answer) if answer.command == proposal.command.name() => Ok(Some(answer.outcome.clone())),
            Some(answer) => Err(Problem::new(
                ProblemCode::Conflict,
                format!(
                    "this idempotency key was used for `{}` before; use a new one for each request",
                    answer.command
                ),
            )),
            None => Ok(None),
        }
    }

    fn remember(&mut self, key: &str, proposal: &Proposal, outcome: &Outcome) {
        let answer = Answer {
            key: key.to_owned(),
            actor: proposal.actor.clone(),
            command: proposal.command.name().to_owned(),
            outcome: outcome.clone(),
        };
        self.answers.insert(self.next_answer, answer);
        self.next_answer += 1;
        self.answers.keep_newest(MAX_ANSWERS);
    }
}

impl Transaction {
    fn run(&mut self, command: &Command) -> Result<Outcome, Problem> {
        if self.state.cluster.is_none() && !matches!(command, Command::Bootstrap(_)) {
            return Err(Problem::new(ProblemCode::Conflict, "there is no cluster yet; run `meadow init`"));
        }
        match command {
            Command::Bootstrap(bootstrap) => self.bootstrap(bootstrap),
            Command::SeeMachine { mac, arch, architecture } => self.see_machine(*mac, arch, architecture.as_deref()),
            Command::SetBoot { machine, boot, plain_pxe, options, if_match } => {
                self.set_boot(machine, *boot, *plain_pxe, options, *if_match)
            }
            Command::BootedOnce { mac } => self.booted_once(*mac),
            Command::Arm { machine, ticket_hash, expires, node, replaces, if_match } => {
                let armed = meadow_model::machine::Armed {
                    expires: *expires,
                    node: node.clone(),
                    replaces: replaces.clone(),
                    bound: None,
                };
                self.arm(machine, *ticket_hash, armed, *if_match)
            }
            Command::OpenPxe { until } => self.open_pxe(*until),
            Command::SetSshKeys { keys, if_match } => self.set_ssh_keys(keys, *if_match),
            Command::Claim(claim) => self.claim(claim),
            Command::Approve { machine, node, replaces, if_match } => {
                self.approve(machine, node.as_ref(), replaces.as_ref(), *if_match)
            }
            Command::Reject { machine, if_match } => self.reject(machine, *if_match),
            Command::CreateToken { id, key, expires, uses } => self.create_token(id, key, *expires, *uses),
            Command::RevokeToken { id, if_match } => self.revoke_token(id, *if_match),
            Command::SetEndpoint { node, endpoint } => self.set_endpoint(node, *endpoint),
            Command::NodeJoined { node, version } => self.node_joined(node, version),
            Command::SetNodeDisk { node, installed, durable } => {
                self.set_node_disk(node, installed.as_deref(), *durable)
            }
            Command::StartOperation { action, kind, target, step } => self.start_work(action, *kind, target, step),
            Command::NoteOperation { operation, step, end } => self.note_operation(operation, step, end.as_ref()),
            Command::AdoptImage { name, spec } => self.adopt_image(name, spec),
            Command::RemoveImage { name, if_match } => self.remove_image(name, *if_match),
            Command::StartRollout { digest, allow_older, without_majority } => {
                self.start_rollout(digest, *allow_older, *without_majority)
            }
            Command::EndRollout { operation, end } => self.end_rollout(operation, end),
            Command::CallOffRollout => self.call_off_rollout(),
            Command::NodeReset { node } => {
                self.forget_reset_node(node);
                Ok(Outcome::Done)
            }
            Command::RemoveNode { node, if_match } => self.remove_node(node, *if_match),
        }
    }
}
