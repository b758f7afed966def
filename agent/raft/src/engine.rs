//! The consensus node with its store and the state that it has applied.

use std::path::Path;

use meadow_model::Problem;
use meadow_state::{Applied, State};
use raft::eraftpb::Entry;
use raft::{Config, RawNode};

use crate::logger::logger;
use crate::proposal::{self, DecodeError};
use crate::store::LogStore;
use crate::{ReplicaConfig, StoreError};

/// What became of the entry at an index of the log.
pub(crate) struct Done {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) result: Result<Applied, Problem>,
}

/// A node with one voter: itself.
pub(crate) struct Engine {
    node: RawNode<LogStore>,
    pub(crate) state: State,
    snapshot_every: u64,
}

impl Engine {
    /// Opens the store, checks it, and applies everything that is in it. What the entries did is added to `done`.
    pub(crate) fn open(dir: &Path, config: &ReplicaConfig, done: &mut Vec<Done>) -> Result<Self, StoreError> {
        let empty = State::default().to_snapshot().map_err(|e| StoreError::Defect(e.to_string()))?;
        let store = LogStore::open(dir, config.id, &empty)?;
        let snapshot = State::from_snapshot(&store.snapshot_state()?);
        let mut state = snapshot.map_err(|e| store.corrupt(format!("the snapshot: {e}")))?;
        let first = store.snapshot_index() + 1;
        let log = store.range(first, u64::MAX, u64::MAX)?;
        let applied = log.last().map_or(store.snapshot_index(), |entry| entry.index);
        apply(&mut state, &log, done, store.file())?;
        let config_of_node = Config {
            id: config.id,
            applied,
            check_quorum: true,
            pre_vote: true,
            max_size_per_msg: 1 << 20,
            ..Config::default()
        };
        let node = RawNode::new(&config_of_node, store, &logger()).map_err(defect)?;
        Ok(Self { node, state, snapshot_every: config.snapshot_every })
    }

    /// Becomes leader, at once: there is nobody to wait for. Writes to disk.
    pub(crate) fn lead(&mut self, done: &mut Vec<Done>) -> Result<(), StoreError> {
        self.node.campaign().map_err(defect)?;
        self.drive(done)
    }

    /// Takes up a proposal, and gives the index and term of its entry. On disk only after [`Engine::drive`].
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> Result<(u64, u64), StoreError> {
        self.node.propose(Vec::new(), data).map_err(defect)?;
        Ok((self.node.raft.raft_log.last_index(), self.node.raft.term))
    }

    /// Syncs what was proposed and applies what is committed by that. After an error the engine is of no use: open
    /// another one, which finds what is on disk.
    pub(crate) fn drive(&mut self, done: &mut Vec<Done>) -> Result<(), StoreError> {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            let committed = ready.take_committed_entries();
            self.apply(&committed, done)?;
            if ready.must_sync() {
                self.node.mut_store().persist(ready.entries(), ready.hs())?;
            } else if let Some(hard_state) = ready.hs() {
                self.node.mut_store().set_commit(hard_state.commit);
            }
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().set_commit(commit);
            }
            let committed = light.take_committed_entries();
            self.apply(&committed, done)?;
            self.node.advance_apply();
        }
        self.compact()
    }

    /// Whether this node leads.
    pub(crate) fn leads(&self) -> bool {
        self.node.raft.state == raft::StateRole::Leader
    }

    fn apply(&mut self, entries: &[Entry], done: &mut Vec<Done>) -> Result<(), StoreError> {
        apply(&mut self.state, entries, done, self.node.store().file())
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        let applied = self.state.revision();
        if applied.saturating_sub(self.node.store().snapshot_index()) < self.snapshot_every {
            return Ok(());
        }
        let snapshot = self.state.to_snapshot().map_err(|e| StoreError::Defect(e.to_string()))?;
        self.node.mut_store().compact(applied, &snapshot)
    }
}

fn apply(state: &mut State, entries: &[Entry], done: &mut Vec<Done>, file: &Path) -> Result<(), StoreError> {
    for entry in entries {
        if entry.data.is_empty() {
            // A leader begins its term with an entry of nothing.
            state.skip(entry.index);
            continue;
        }
        let proposal = proposal::decode(&entry.data).map_err(|error| {
            let (file, what) = (file.to_owned(), format!("entry {} of the log: {error}", entry.index));
            match error {
                DecodeError::Newer(_) => StoreError::Newer { file, what },
                DecodeError::Malformed(_) => StoreError::Corrupt { file, what },
            }
        })?;
        let result = state.apply(entry.index, &proposal);
        done.push(Done { index: entry.index, term: entry.term, result });
    }
    Ok(())
}

fn defect(error: raft::Error) -> StoreError {
    StoreError::Defect(error.to_string())
}
