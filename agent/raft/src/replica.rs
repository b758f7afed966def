//! The thread that owns the node and its store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use meadow_model::{Problem, ProblemCode};
use meadow_state::State;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Done, Engine};
use crate::handle::{Answer, ReplicaHandle, Request};
use crate::{MAX_PROPOSAL_BYTES, StoreError};

/// Proposals that may wait for the thread; who makes more waits until there is room.
const QUEUE: usize = 1024;
/// Proposals in one batch, that is, in one sync.
const BATCH: usize = 256;
/// Bytes of one batch, so that a batch of large ones does not grow the file by much at once.
const BATCH_BYTES: usize = 4 * MAX_PROPOSAL_BYTES;
/// How long proposals are refused without another attempt after the disk was full.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Which replica this is, and how it keeps its log.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// The number of the node in the cluster; never 0, never used again.
    pub id: u64,
    /// Entries after which the log is folded into a snapshot.
    pub snapshot_every: u64,
}

impl ReplicaConfig {
    /// The replica of the node `id`, with a snapshot every 4096 entries.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self { id, snapshot_every: 4096 }
    }
}

/// The replica of one node.
pub struct Replica {
    dir: PathBuf,
    config: ReplicaConfig,
    condition: Condition,
    /// Who waits for the entry at an index, with the entry's term.
    waiting: BTreeMap<u64, (u64, Answer)>,
    published: watch::Sender<Arc<State>>,
    leads: Arc<AtomicBool>,
}

/// Whether proposals are accepted. The state can be read in each of them.
enum Condition {
    Serving(Box<Engine>),
    /// There was no space at that time.
    Full(Instant, String),
    /// The disk failed: whatever it says now cannot be trusted.
    Failed(String),
}

impl Replica {
    /// Opens the state in `dir`, or begins a new one there, and starts the thread that serves it. Blocks while it
    /// reads and checks the log.
    ///
    /// On a full disk it starts nevertheless: the state can be read, and proposals are refused until there is space.
    ///
    /// # Errors
    /// [`StoreError`] where the state on disk cannot be used, with what to do.
    pub fn open(dir: &Path, config: ReplicaConfig) -> Result<ReplicaHandle, StoreError> {
        if config.id == 0 {
            return Err(StoreError::Defect("a replica's id is never 0".to_owned()));
        }
        let mut engine = Engine::open(dir, &config, &mut Vec::new())?;
        let (published, state) = watch::channel(Arc::new(engine.state.clone()));
        let leads = Arc::new(AtomicBool::new(false));
        let condition = match engine.lead(&mut Vec::new()) {
            Ok(()) => Condition::Serving(Box::new(engine)),
            Err(error @ StoreError::Full { .. }) => Condition::Full(Instant::now(), error.to_string()),
            Err(error) => return Err(error),
        };
        let mut replica = Self {
            dir: dir.to_owned(),
            config,
            condition,
            waiting: BTreeMap::new(),
            published,
            leads: Arc::clone(&leads),
        };
        replica.publish();
        let (requests, queue) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("meadow-raft".to_owned())
            .spawn(move || replica.run(queue))
            .map_err(|e| StoreError::from_io(dir.to_owned(), e))?;
        Ok(ReplicaHandle { requests, state, leads })
    }

    /// Serves until it is told to end, or until the last handle is gone.
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut ended: Option<oneshot::Sender<()>> = None;
        while ended.is_none()
            && let Some(first) = queue.blocking_recv()
        {
            let mut batch = Vec::new();
            let mut bytes = 0;
            let mut request = Some(first);
            while let Some(next) = request.take() {
                match next {
                    Request::Propose(data, answer) => {
                        bytes += data.len();
                        batch.push((data, answer));
                    }
                    Request::Shutdown(answer) => ended = Some(answer),
                }
                if ended.is_none() && batch.len() < BATCH && bytes < BATCH_BYTES {
                    request = queue.try_recv().ok();
                }
            }
            self.serve(batch);
        }
        self.leads.store(false, Ordering::Release);
        queue.close();
        drop(self.condition);
        if let Some(answer) = ended {
            // Nobody may wait for it any more.
            let _ = answer.send(());
        }
    }

    /// Makes a batch durable, applies it, and answers.
    fn serve(&mut self, batch: Vec<(Vec<u8>, Answer)>) {
        if let Condition::Full(since, _) = &self.condition
            && since.elapsed() >= FULL_PAUSE
            && !batch.is_empty()
        {
            self.reopen();
        }
        let mut done = Vec::new();
        match self.propose(batch, &mut done) {
            Ok(()) => self.settle(done),
            Err(error) => self.fail(error, done),
        }
    }

    fn propose(&mut self, batch: Vec<(Vec<u8>, Answer)>, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let engine = match &mut self.condition {
            Condition::Serving(engine) => engine,
            Condition::Full(_, why) => return refuse(batch, ProblemCode::StorageFull, why),
            Condition::Failed(why) => return refuse(batch, ProblemCode::StorageFailed, why),
        };
        for (data, answer) in batch {
            let (index, term) = engine.propose(data)?;
            self.waiting.insert(index, (term, answer));
        }
        engine.drive(done)
    }

    /// Shows the new state, then answers: who reads after the answer sees the change.
    fn settle(&mut self, done: Vec<Done>) {
        self.publish();
        for Done { index, term, result } in done {
            if let Some((_, answer)) = self.waiting.remove(&index).filter(|(waited, _)| *waited == term) {
                // Whoever asked may have gone away.
                let _ = answer.send(result);
            }
        }
    }

    fn publish(&mut self) {
        let Condition::Serving(engine) = &self.condition else {
            self.leads.store(false, Ordering::Release);
            return;
        };
        self.leads.store(engine.leads(), Ordering::Release);
        let newer = engine.state.revision() != self.published.borrow().revision();
        if newer {
            self.published.send_replace(Arc::new(engine.state.clone()));
        }
    }

    /// After an error nothing in memory counts, only what is on disk.
    fn fail(&mut self, error: StoreError, done: Vec<Done>) {
        tracing::error!(%error, "the state cannot be written");
        self.settle(done);
        let text = error.to_string();
        let StoreError::Full { certain, .. } = error else {
            self.condition = Condition::Failed(text);
            self.publish();
            let detail = "the disk failed while the change was written; a restart shows whether it is there";
            self.refuse_waiting(ProblemCode::StorageFailed, detail);
            return;
        };
        self.condition = Condition::Full(Instant::now(), text.clone());
        self.reopen();
        self.publish();
        match &mut self.condition {
            // What the store has not got was never written.
            Condition::Serving(_) => self.refuse_waiting(ProblemCode::StorageFull, &text),
            _ if certain => self.refuse_waiting(ProblemCode::StorageFull, &text),
            _ => {
                let detail = format!("it is not known whether the change was stored: {text}");
                self.refuse_waiting(ProblemCode::Unavailable, &detail);
            }
        }
    }

    /// Begins again from what is on disk; answers whoever waits for an entry that is there.
    fn reopen(&mut self) {
        // The file must be closed before it is opened again.
        self.condition = Condition::Full(Instant::now(), String::new());
        let mut done = Vec::new();
        let opened = Engine::open(&self.dir, &self.config, &mut done).and_then(|mut engine| {
            engine.lead(&mut done)?;
            Ok(engine)
        });
        match opened {
            Ok(engine) => {
                self.condition = Condition::Serving(Box::new(engine));
                self.settle(done);
            }
            Err(error @ StoreError::Full { .. }) => self.condition = Condition::Full(Instant::now(), error.to_string()),
            Err(error) => {
                tracing::error!(%error, "the state cannot be opened again");
                self.condition = Condition::Failed(error.to_string());
            }
        }
    }

    fn refuse_waiting(&mut self, code: ProblemCode, detail: &str) {
        for (_, (_, answer)) in std::mem::take(&mut self.waiting) {
            let _ = answer.send(Err(Problem::new(code, detail)));
        }
    }
}

fn refuse(batch: Vec<(Vec<u8>, Answer)>, code: ProblemCode, why: &str) -> Result<(), StoreError> {
    for (_, answer) in batch {
        let _ = answer.send(Err(Problem::new(code, why)));
    }
    Ok(())
}
