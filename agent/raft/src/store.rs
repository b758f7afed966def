//! The log, the hard state and the snapshot in one database file.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

use crate::StoreError;
use crate::backend::AllocatedFile;
use crate::record::{self, Kind, RecordError, SnapshotMeta};

#[cfg(test)]
mod power_cut;

/// The file of the state, in the folder given to [`crate::Replica::open`].
pub const FILE_NAME: &str = "state.redb";

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// One record of each other kind, under its number.
const META: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("meta");
/// Pages that the database keeps in memory; the whole log between two snapshots fits.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Where a log begins. Not at 0: a voter that joins later is told from this that it needs the snapshot first.
const FIRST: u64 = 1;

/// The log of one replica. Every record is checked when it is read.
pub(crate) struct LogStore {
    database: Database,
    file: PathBuf,
    hard_state: HardState,
    snapshot: SnapshotMeta,
    last_index: u64,
}

impl LogStore {
    /// Opens the store in `dir`, or makes a new one for the only voter `id`, with `state` as the snapshot it begins
    /// with. Reads and checks every record.
    pub(crate) fn open(dir: &Path, id: u64, empty: &[u8]) -> Result<Self, StoreError> {
        let file = dir.join(FILE_NAME);
        let backend = open_file(dir, &file)?;
        Self::open_on(backend, file, id, empty)
    }

    /// As [`LogStore::open`], on any storage; `file` is what errors call it.
    fn open_on(backend: impl StorageBackend, file: PathBuf, id: u64, empty: &[u8]) -> Result<Self, StoreError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|e| StoreError::from_redb(&file, e.into()))?;
        let mut store =
            Self { database, file, hard_state: HardState::default(), snapshot: SnapshotMeta::default(), last_index: 0 };
        if store.is_new()? {
            store.initialise(id, empty)?;
        }
        store.load(id)?;
        Ok(store)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.index
    }

    /// The state of the snapshot, as it was given to [`LogStore::compact`].
    pub(crate) fn snapshot_state(&self) -> Result<Vec<u8>, StoreError> {
        let record = self.meta(Kind::Snapshot)?;
        let payload = record::unseal(Kind::Snapshot, Kind::Snapshot as u64, &record);
        let (_, state) = payload.and_then(record::snapshot_from).map_err(|e| self.damaged("the snapshot", &e))?;
        Ok(state.to_vec())
    }

    /// Notes how far the log is committed. Goes to disk with the next batch: with one voter everything on disk is
    /// committed.
    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = self.hard_state.commit.max(commit);
    }

    /// Appends entries and notes the hard state, in one transaction that is synced when this returns.
    pub(crate) fn persist(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), StoreError> {
        let next = self.last_index + 1;
        if let Some(entry) = entries.first().filter(|entry| entry.index != next) {
            return Err(StoreError::Defect(format!("entry {} was to follow {}", entry.index, self.last_index)));
        }
        if entries.iter().any(|e| e.get_entry_type() != EntryType::EntryNormal || !e.context.is_empty()) {
            return Err(StoreError::Defect("an entry is of a kind that the log has no record for".to_owned()));
        }
        let hard_state = hard_state.unwrap_or(&self.hard_state).clone();
        self.transact(|meta, log| {
            for entry in entries {
                let record = record::seal(Kind::Entry, entry.index, &record::entry_payload(entry));
                log.insert(entry.index, record.as_slice())?;
            }
            put(meta, Kind::HardState, &record::hard_state_payload(&hard_state))
        })?;
        self.hard_state = hard_state;
        self.last_index = entries.last().map_or(self.last_index, |entry| entry.index);
        Ok(())
    }

    /// Folds the log up to `index` into a snapshot.
    pub(crate) fn compact(&mut self, index: u64, state: &[u8]) -> Result<(), StoreError> {
        let term = self.term_of(index)?;
        let meta = SnapshotMeta { index, term, voters: self.snapshot.voters.clone() };
        let hard_state = self.hard_state.clone();
        self.transact(|table, log| {
            put(table, Kind::Snapshot, &record::snapshot_payload(&meta, state))?;
            put(table, Kind::HardState, &record::hard_state_payload(&hard_state))?;
            log.retain_in(..=index, |_, _| false)
        })?;
        self.snapshot = meta;
        Ok(())
    }

    /// The entries from `from` to before `to`.
    pub(crate) fn range(&self, from: u64, to: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(LOG)?;
            let mut bytes = 0;
            let mut records = Vec::new();
            for item in table.range(from..to)? {
                let (index, record) = item?;
                let record = record.value().to_vec();
                bytes += u64::try_from(record.len()).unwrap_or(u64::MAX);
                if bytes > max_bytes && !records.is_empty() {
                    break;
                }
                records.push((index.value(), record));
            }
            Ok(records)
        };
        let records = read().map_err(|e| self.redb(e))?;
        let mut entries = Vec::with_capacity(records.len());
        for (expected, (index, record)) in (from..).zip(records) {
            if index != expected {
                return Err(self.corrupt(format!("entry {expected} of the log is missing")));
            }
            let entry = record::unseal(Kind::Entry, index, &record).and_then(|p| record::entry_from(index, p));
            entries.push(entry.map_err(|e| self.damaged(&format!("entry {index} of the log"), &e))?);
        }
        Ok(entries)
    }

    fn term_of(&self, index: u64) -> Result<u64, StoreError> {
        if index == self.snapshot.index {
            return Ok(self.snapshot.term);
        }
        let entries = self.range(index, index + 1, u64::MAX)?;
        let missing = || self.corrupt(format!("entry {index} of the log is missing"));
        entries.first().map(|entry| entry.term).ok_or_else(missing)
    }

    fn is_new(&self) -> Result<bool, StoreError> {
        let read = || -> Result<bool, redb::Error> {
            let tables = self.database.begin_read()?;
            Ok(tables.list_tables()?.next().is_none())
        };
        read().map_err(|e| self.redb(e))
    }

    fn initialise(&mut self, id: u64, empty: &[u8]) -> Result<(), StoreError> {
        let meta = SnapshotMeta { index: FIRST, term: FIRST, voters: vec![id] };
        let hard_state = HardState { term: FIRST, vote: 0, commit: FIRST };
        self.transact(|table, _| {
            put(table, Kind::Identity, &id.to_le_bytes())?;
            put(table, Kind::Snapshot, &record::snapshot_payload(&meta, empty))?;
            put(table, Kind::HardState, &record::hard_state_payload(&hard_state))
        })
    }

    /// Reads everything and checks it.
    fn load(&mut self, id: u64) -> Result<(), StoreError> {
        let identity = self.payload(Kind::Identity, "the identity", |p| record::take_u64(p).map(|(id, _)| id))?;
        if identity != id {
            return Err(StoreError::OtherReplica { file: self.file.clone(), found: identity, expected: id });
        }
        self.hard_state = self.payload(Kind::HardState, "the hard state", record::hard_state_from)?;
        self.snapshot = self.payload(Kind::Snapshot, "the snapshot", |p| record::snapshot_from(p).map(|(m, _)| m))?;
        if self.snapshot.voters != [id] {
            let what = format!("{} voters", self.snapshot.voters.len());
            return Err(StoreError::Newer { file: self.file.clone(), what });
        }
        let log = self.range(self.snapshot.index + 1, u64::MAX, u64::MAX)?;
        self.last_index = log.last().map_or(self.snapshot.index, |entry| entry.index);
        if self.hard_state.commit > self.last_index {
            let (commit, last) = (self.hard_state.commit, self.last_index);
            return Err(self.corrupt(format!("the log ends at entry {last}, and {commit} entries were committed")));
        }
        // The only voter: what it has on disk is on a majority of the voters.
        self.hard_state.commit = self.last_index;
        Ok(())
    }

    fn payload<T>(
        &self,
        kind: Kind,
        name: &str,
        decode: impl FnOnce(&[u8]) -> Result<T, RecordError>,
    ) -> Result<T, StoreError> {
        let record = self.meta(kind)?;
        record::unseal(kind, kind as u64, &record).and_then(decode).map_err(|e| self.damaged(name, &e))
    }

    fn meta(&self, kind: Kind) -> Result<Vec<u8>, StoreError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(META)?;
            Ok(table.get(kind as u64)?.map(|record| record.value().to_vec()))
        };
        let record = read().map_err(|e| self.redb(e))?;
        record.ok_or_else(|| self.corrupt(format!("there is no record of the kind {kind:?}")))
    }

    /// Runs one transaction; synced when this returns.
    fn transact(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, u64, &[u8]>, &mut redb::Table<'_, u64, &[u8]>) -> redb::Result<()>,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            // `Durability::Immediate` is the default: the commit is one write of pages and header and one sync.
            let transaction = self.database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                let mut log = transaction.open_table(LOG)?;
                change(&mut meta, &mut log)?;
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|e| self.redb(e))
    }

    fn redb(&self, error: redb::Error) -> StoreError {
        StoreError::from_redb(&self.file, error)
    }

    pub(crate) fn corrupt(&self, what: String) -> StoreError {
        StoreError::Corrupt { file: self.file.clone(), what }
    }

    fn damaged(&self, record: &str, error: &RecordError) -> StoreError {
        match error {
            RecordError::Newer(_) => {
                StoreError::Newer { file: self.file.clone(), what: format!("{record} has {error}") }
            }
            _ => self.corrupt(format!("{record} is not what was written: {error}")),
        }
    }
}

fn put(table: &mut redb::Table<'_, u64, &[u8]>, kind: Kind, payload: &[u8]) -> redb::Result<()> {
    let record = record::seal(kind, kind as u64, payload);
    table.insert(kind as u64, record.as_slice()).map(|_| ())
}

fn open_file(dir: &Path, path: &Path) -> Result<AllocatedFile, StoreError> {
    let io = |error| StoreError::from_io(path.to_owned(), error);
    // The log holds the keys of join tokens.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(AllocatedFile::new(file))
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let voters = ConfState { voters: self.snapshot.voters.clone(), ..ConfState::default() };
        Ok(RaftState::new(self.hard_state.clone(), voters))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.snapshot.index {
            return Err(StorageError::Compacted.into());
        }
        self.range(low, high, max_size.into().unwrap_or(u64::MAX)).map_err(to_raft)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.snapshot.index {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last_index {
            return Err(StorageError::Unavailable.into());
        }
        self.term_of(index).map_err(to_raft)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.snapshot.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    /// Only a leader with followers asks for it, and there is one voter.
    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

fn to_raft(error: StoreError) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}
