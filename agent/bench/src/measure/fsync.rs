//! The disk under the state folder: how long a small write takes until it is safe.

use std::path::Path;

use meadow_host::Clock;
use meadow_host::storage::{self, FileSystem};
use meadow_model::hardware::Measure;

use super::Effort;

/// What an entry of the replicated log is padded to.
const BLOCK: [u8; 4096] = [0x6d; 4096];

/// Median microseconds, where the folder lies on a disk. Nothing else of the machine is written, for nobody gave leave.
pub(super) fn latency(state: &Path, effort: Effort, clock: &dyn Clock) -> Measure {
    match storage::file_system(state) {
        Ok(FileSystem::Disk(_)) => {}
        Ok(FileSystem::Other(name)) => {
            return Measure::missing(format!("the state folder {} is on {name}, not on a disk", state.display()));
        }
        Err(error) => return Measure::missing(format!("cannot look at the state folder {}: {error}", state.display())),
    }
    match storage::synced_write_times(state, &BLOCK, effort.writes, effort.write_budget, clock) {
        Ok(times) => Measure::of_samples(&times.iter().map(|time| time.as_secs_f64() * 1e6).collect::<Vec<_>>()),
        Err(error) => Measure::missing(format!("cannot write to the state folder {}: {error}", state.display())),
    }
}

#[cfg(test)]
mod tests {
    use meadow_host::SystemClock;

    use super::*;

    #[test]
    fn where_there_is_no_disk_there_is_a_reason() {
        for path in ["/proc", "/no/such/folder"] {
            let measure = latency(Path::new(path), Effort::default(), &SystemClock);
            assert_eq!(measure.value, None);
            assert!(measure.reason.is_some_and(|reason| reason.contains(path)), "{path}");
        }
    }
}
