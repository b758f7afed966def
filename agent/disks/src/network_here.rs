//! The network cards of this computer, through systemd.

use std::any::Any;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use meadow_host::{Clock, SystemClock};
use rustix::fs::{FlockOperation, flock};

use crate::network::NetworkHost;
use crate::{DiskError, program};

const LOCK: &str = "/run/meadow-disks/network.lock";
const TIMER: &str = "meadow-network-back.timer";
const NETWORKD: &str = "systemd-networkd.service";

/// The computer that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkHere;

impl NetworkHost for NetworkHere {
    fn folder(&self) -> PathBuf {
        PathBuf::from("/run/systemd/network")
    }

    fn state(&self) -> PathBuf {
        PathBuf::from("/run/meadow-disks/network.json")
    }

    fn lock(&self) -> Result<Box<dyn Any>, DiskError> {
        let path = Path::new(LOCK);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = opened.map_err(DiskError::io("open", path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(DiskError::io("lock", path))?;
        Ok(Box::new(file))
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(SystemClock.boottime().as_millis()).unwrap_or(u64::MAX)
    }

    fn arm(&self, armed: bool) -> Result<(), DiskError> {
        let verb = if armed { "restart" } else { "stop" };
        program::run("systemctl", &[verb.as_ref(), TIMER.as_ref()])
    }

    fn reload(&self) -> Result<(), DiskError> {
        // Not reloaded where it still starts: it reads the files anyway then.
        program::run("systemctl", &["reload-or-restart".as_ref(), NETWORKD.as_ref()])
    }
}
