//! The forms of offer that worked, on disk: firmware that was booted before a restart is offered the right one at once.
//!
//! They are a hint, and may be a few seconds old: firmware that is offered another form asks again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meadow_netboot::dhcp::{MAX_WINNERS, ProxyDhcp, Winner};
use serde::{Deserialize, Serialize};

use crate::durable_file;

/// A longer file was not written here.
const MAX_FILE: u64 = 1 << 20;

/// How often the file is written at most, whatever happens on the wire.
const EVERY: Duration = Duration::from_secs(10);

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Forms {
    version: u32,
    winners: Vec<Winner>,
}

/// The file, or none.
#[derive(Debug)]
pub(crate) struct FormStore {
    path: Option<PathBuf>,
    /// Held while it is written.
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// When it was tried last.
    at: Option<Duration>,
    /// The count of changes that it has.
    changes: u64,
    has_failed: bool,
}

impl FormStore {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path, written: Mutex::default() }
    }

    /// Takes over what an earlier server has learnt. A sentence for the log where the file cannot be used; it is written
    /// anew then.
    pub(crate) fn restore(&self, engine: &mut ProxyDhcp) -> Option<String> {
        let path = self.path.as_ref()?;
        match self.read() {
            Ok(winners) => {
                engine.restore(&winners);
                self.written.lock().unwrap_or_else(PoisonError::into_inner).changes = engine.winner_changes();
                None
            }
            Err(error) => Some(format!("what firmware took before is not known: {}: {error}", path.display())),
        }
    }

    fn read(&self) -> io::Result<Vec<Winner>> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {MAX_FILE} bytes")));
        }
        let forms: Forms = serde_json::from_slice(&bytes)?;
        if forms.version != 1 || forms.winners.len() > MAX_WINNERS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it was written by another program"));
        }
        Ok(forms.winners)
    }

    /// Writes the file if something is new, and not too soon after the last time; at the end, `now` is `None`. Blocks. A
    /// sentence for the log where that fails for the first time.
    pub(crate) fn keep(&self, now: Option<Duration>, learnt: impl FnOnce() -> (u64, Vec<Winner>)) -> Option<String> {
        let path = self.path.as_ref()?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = now.zip(written.at).is_some_and(|(now, at)| now.saturating_sub(at) < EVERY);
        if is_soon {
            return None;
        }
        let (changes, winners) = learnt();
        if changes == written.changes {
            return None;
        }
        written.at = now;
        let result = serde_json::to_vec(&Forms { version: 1, winners }).map_err(io::Error::from).and_then(|bytes| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            durable_file::replace(path, &[&bytes])
        });
        match result {
            Ok(_) => {
                (written.changes, written.has_failed) = (changes, false);
                None
            }
            Err(error) => {
                let had_failed = std::mem::replace(&mut written.has_failed, true);
                let path = path.display();
                (!had_failed).then(|| format!("what firmware takes is not kept for a restart: {path}: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use meadow_model::MacAddress;
    use meadow_netboot::Firmware;
    use meadow_netboot::dhcp::ServerConfig;
    use meadow_netboot::event::OfferForm;

    use super::*;

    fn winner(last: u8) -> Winner {
        let form = if last.is_multiple_of(2) { OfferForm::Direct } else { OfferForm::BootServer };
        Winner { mac: MacAddress([2, 0, 0, 0, 0, last]), firmware: Firmware::Other(last.into()), form }
    }

    fn engine() -> ProxyDhcp {
        ProxyDhcp::new(ServerConfig { http_port: 7480 })
    }

    /// What a server that starts now knows.
    fn restored(store: &FormStore) -> (Vec<Winner>, Option<String>) {
        let mut engine = engine();
        let said = store.restore(&mut engine);
        (engine.winners(), said)
    }

    #[test]
    fn what_was_learnt_is_there_after_a_restart_and_written_only_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/forms.json");
        let store = FormStore::new(Some(path.clone()));
        assert_eq!(restored(&store), (vec![], None));
        let mut engine = engine();
        let keep = |engine: &ProxyDhcp, now| store.keep(now, || (engine.winner_changes(), engine.winners()));
        let at = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(keep(&engine, at(1)), None);
        assert!(!path.exists(), "nothing was learnt");
        engine.restore(&[winner(1), winner(2)]);
        assert_eq!(keep(&engine, at(2)), None);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(restored(&FormStore::new(Some(path.clone()))), (vec![winner(1), winner(2)], None));

        engine.restore(&[winner(3)]);
        keep(&engine, at(11));
        assert_eq!(restored(&FormStore::new(Some(path.clone()))).0.len(), 2, "not too often");
        keep(&engine, None);
        assert_eq!(restored(&FormStore::new(Some(path.clone()))).0.len(), 3, "but at the end");
        fs::remove_file(&path).unwrap();
        keep(&engine, at(100));
        assert!(!path.exists(), "nothing is new");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_said_and_costs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forms.json");
        let store = FormStore::new(Some(path.clone()));
        let many: Vec<_> = (0..=MAX_WINNERS).map(|_| winner(1)).collect();
        let many = serde_json::to_vec(&Forms { version: 1, winners: many }).unwrap();
        for bytes in [&b"{"[..], br#"{"version":2,"winners":[]}"#, &many, &vec![b' '; 2 << 20]] {
            fs::write(&path, bytes).unwrap();
            let (winners, said) = restored(&store);
            assert!(winners.is_empty() && said.is_some_and(|said| said.contains("forms.json")));
        }
        let mut engine = engine();
        engine.restore(&[winner(1)]);
        let keep = |now| store.keep(Some(Duration::from_secs(now)), || (engine.winner_changes(), engine.winners()));
        fs::create_dir(folder.path().join("forms.json.new")).unwrap();
        assert!(keep(1).is_some_and(|said| said.contains("not kept for a restart")));
        assert_eq!(keep(20), None, "said once");
        fs::remove_dir(folder.path().join("forms.json.new")).unwrap();
        assert_eq!(keep(40), None);
        assert_eq!(restored(&store).0, [winner(1)]);
    }
}
