//! The replica as the rest of the agent sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meadow_model::{Problem, ProblemCode};
use meadow_state::command::Proposal;
use meadow_state::{Applied, State};
use tokio::sync::{mpsc, oneshot, watch};

use crate::proposal;

/// What the thread of the replica is asked.
pub(crate) enum Request {
    /// To make this proposal durable, apply it, and answer.
    Propose(Vec<u8>, Answer),
    /// To end, and to answer when the file is closed.
    Shutdown(oneshot::Sender<()>),
}

pub(crate) type Answer = oneshot::Sender<Result<Applied, Problem>>;

/// A handle to the replica; copies are cheap.
#[derive(Clone, Debug)]
pub struct ReplicaHandle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) state: watch::Receiver<Arc<State>>,
    pub(crate) leads: Arc<AtomicBool>,
}

impl ReplicaHandle {
    /// Makes a change durable and applies it. When this returns, [`ReplicaHandle::state`] shows it.
    ///
    /// # Errors
    /// The problem with which the state refused it; `TooLarge`; `StorageFull` where there was no space: it was refused
    /// and may be tried again; `StorageFailed` where the disk failed: nothing is accepted any more until a restart;
    /// `Unavailable` where the replica has ended or cannot say what became of the change: repeat it with the same
    /// idempotency key.
    pub async fn propose(&self, proposal: Proposal) -> Result<Applied, Problem> {
        let data = proposal::encode(&proposal)?;
        let ended = || Problem::new(ProblemCode::Unavailable, "the replica has ended");
        let (answer, reply) = oneshot::channel();
        self.requests.send(Request::Propose(data, answer)).await.map_err(|_| ended())?;
        reply.await.map_err(|_| ended())?.and_then(Applied::into_result)
    }

    /// The newest applied state. Cheap, and never waits for the disk.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// Tells of every newer state.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Whether this replica leads, so that it can accept proposals.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    /// Ends the replica after the proposals that were made before, and returns when its file is closed.
    pub async fn shutdown(&self) {
        let (answer, closed) = oneshot::channel();
        if self.requests.send(Request::Shutdown(answer)).await.is_ok() {
            // An error means that the thread has ended already.
            let _ = closed.await;
        }
    }
}
