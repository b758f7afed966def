//! Full DHCP: the lease engine with its file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meadow_netboot::dhcp::{LeaseConfig, LeaseConfigError, LeaseRecord, LeaseServer};
use tokio::sync::watch;

use crate::lease_store::LeaseStore;
use crate::problem::Problem;

/// A clock that moves this much against the monotonic one was set.
const CLOCK_SET: u64 = 60;

/// The DHCP server, with one file of leases for all interfaces.
#[derive(Debug)]
pub(crate) struct FullDhcp {
    path: PathBuf,
    server: Mutex<LeaseServer>,
    store: Mutex<Option<Store>>,
    is_open: AtomicBool,
    /// The disk took no leases when it was tried last: no address is offered that nobody would get.
    is_refused: AtomicBool,
    /// Each that writes leases holds a receiver.
    writers: watch::Sender<()>,
}

#[derive(Debug)]
struct Store {
    file: LeaseStore,
    /// Wall clock minus monotonic clock when the file was last written anew.
    offset: u64,
}

impl FullDhcp {
    pub(crate) fn new(configs: &[LeaseConfig], path: &Path) -> Result<Self, LeaseConfigError> {
        Ok(Self {
            path: path.to_owned(),
            server: Mutex::new(LeaseServer::new(configs)?),
            store: Mutex::new(None),
            is_open: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            writers: watch::Sender::new(()),
        })
    }

    /// The engine. Never held across an await.
    pub(crate) fn server(&self) -> MutexGuard<'_, LeaseServer> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held by whoever writes leases on another thread, until it has ended.
    pub(crate) fn writes(&self) -> watch::Receiver<()> {
        self.writers.subscribe()
    }

    /// Waits until nobody writes leases any more.
    pub(crate) async fn written(&self) {
        self.writers.closed().await;
    }

    /// As a disk that does not come back: nothing is written while this is held.
    #[cfg(test)]
    pub(crate) fn hold_disk(&self) -> impl Sized + '_ {
        self.store.lock().unwrap()
    }

    /// Whether the file was read, so that nobody gets an address that another has, and takes what is written.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed) && !self.is_refused.load(Ordering::Relaxed)
    }

    /// Reads the file, if that is still to be done, and looks at the clock. Blocks. A sentence for the log if there is
    /// one.
    pub(crate) fn look_after(&self, now: Duration) -> Result<Option<String>, Problem> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = |error: std::io::Error| Problem::lease_file(&self.path, &error);
        let wall = wall();
        if let Some(store) = store.as_mut() {
            let is_set = wall.wrapping_sub(now.as_secs()).abs_diff(store.offset) > CLOCK_SET;
            let is_refused = self.is_refused.load(Ordering::Relaxed);
            if !is_set && !is_refused {
                return Ok(None);
            }
            self.write_anew(store, now).map_err(problem)?;
            self.is_refused.store(false, Ordering::Relaxed);
            let message = match is_refused {
                true => "the disk takes leases again: addresses are given out",
                false => "the clock was set; the leases were written again with its time",
            };
            return Ok(Some(message.to_owned()));
        }
        let (file, found) = LeaseStore::open(&self.path, wall).map_err(problem)?;
        let count = found.records.len();
        let mut server = self.server();
        for record in found.records {
            server.restore(now, record);
        }
        drop(server);
        let mut opened = Store { file, offset: wall.wrapping_sub(now.as_secs()) };
        self.write_anew(&mut opened, now).map_err(problem)?;
        *store = Some(opened);
        self.is_open.store(true, Ordering::Relaxed);
        let skipped = match found.skipped {
            0 => String::new(),
            bytes => format!("; {bytes} bytes of an unfinished or damaged record were left out"),
        };
        Ok(Some(format!("{count} records of leases read from {}{skipped}", self.path.display())))
    }

    /// Writes records to the disk. Blocks; when it returns they are there.
    pub(crate) fn commit(&self, now: Duration, records: &[LeaseRecord]) -> Result<(), Problem> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = store.as_mut() else {
            return Err(Problem::lease_file(&self.path, &std::io::Error::other("it is not open")));
        };
        if let Err(error) = store.file.append(wall(), records) {
            self.is_refused.store(true, Ordering::Relaxed);
            return Err(Problem::lease_file(&self.path, &error));
        }
        // The records are on the disk, so that their clients are answered whatever becomes of this.
        if store.file.is_long()
            && let Err(error) = self.write_anew(store, now)
        {
            store.file.put_off();
            tracing::warn!(%error, "the file of leases grows, since it could not be written anew");
        }
        Ok(())
    }

    fn write_anew(&self, store: &mut Store, now: Duration) -> std::io::Result<()> {
        let (records, wall) = (self.server().records(now), wall());
        store.file.replace(wall, &records)?;
        store.offset = wall.wrapping_sub(now.as_secs());
        Ok(())
    }
}

/// Seconds since 1970, zero before.
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use meadow_model::MacAddress;
    use meadow_netboot::dhcp::ClientKey;

    use super::*;

    const BEGIN: Duration = Duration::from_secs(1000);

    fn full(folder: &Path) -> FullDhcp {
        let config: LeaseConfig = serde_json::from_value(serde_json::json!({
            "subnet": "192.0.2.0/24", "pool": "192.0.2.100-192.0.2.199"
        }))
        .unwrap();
        FullDhcp::new(&[config], &folder.join("leases")).unwrap()
    }

    fn record() -> LeaseRecord {
        let client = Some(ClientKey::new(MacAddress([2, 0, 0, 0, 0, 1]), &[]));
        LeaseRecord { address: Ipv4Addr::new(192, 0, 2, 100), client, remaining: Duration::from_secs(3600) }
    }

    #[test]
    fn a_clock_that_is_set_while_it_runs_changes_no_lease() {
        let folder = tempfile::tempdir().unwrap();
        let first = full(folder.path());
        first.look_after(BEGIN).unwrap();
        first.server().restore(BEGIN, record());
        first.commit(BEGIN, &[record()]).unwrap();
        assert_eq!(first.look_after(BEGIN + Duration::from_secs(2)).unwrap(), None);
        // Ten minutes pass by the monotonic clock and none by the other one: it was set back by ten minutes.
        let later = BEGIN + Duration::from_secs(600);
        let said = first.look_after(later).unwrap().expect("a sentence");
        assert!(said.contains("the clock was set"), "{said}");
        assert_eq!(first.look_after(later).unwrap(), None, "once");
        drop(first);
        let second = full(folder.path());
        second.look_after(Duration::ZERO).unwrap();
        let left = second.server().records(Duration::ZERO)[0].remaining.as_secs();
        assert!((2990..=3000).contains(&left), "{left} s are left, as before the clock was set");
    }

    #[test]
    fn a_disk_that_takes_no_leases_ends_full_dhcp_until_it_takes_them_again() {
        let folder = tempfile::tempdir().unwrap();
        let full = full(folder.path());
        assert!(!full.is_open() && full.commit(BEGIN, &[record()]).is_err(), "before the file was read");
        full.look_after(BEGIN).unwrap();
        full.commit(BEGIN, &[record()]).unwrap();
        full.store.lock().unwrap().as_mut().unwrap().file.break_disk();
        assert!(full.commit(BEGIN, &[record()]).is_err());
        assert!(!full.is_open(), "nobody is offered an address that he would not get");
        let said = full.look_after(BEGIN).unwrap().expect("a sentence");
        assert!(said.contains("takes leases again") && full.is_open(), "{said}");
        full.commit(BEGIN, &[record()]).unwrap();
    }
}
