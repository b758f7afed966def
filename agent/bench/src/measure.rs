//! First measures, in under ten seconds, each repeated so that its spread shows how far to trust it.

mod cpu;
mod fsync;
mod memory;

use std::path::Path;
use std::time::Duration;

use meadow_host::Clock;
use meadow_model::hardware::{Measure, Measures};

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Length of one sample of the processor or the memory.
    pub sample: Duration,
    /// Samples of each.
    pub repetitions: usize,
    /// Most synced writes.
    pub writes: usize,
    /// Most time for all synced writes together.
    pub write_budget: Duration,
}

impl Default for Effort {
    /// Nine samples of 0.4 s (one core, all cores, memory) and at most 2 s of writes.
    fn default() -> Self {
        Self { sample: Duration::from_millis(400), repetitions: 3, writes: 64, write_budget: Duration::from_secs(2) }
    }
}

/// Measures this machine; call it on a thread that may block. `state` is the folder that the agent keeps its state in.
#[must_use]
pub fn measure(state: &Path, effort: Effort, clock: &dyn Clock) -> Measures {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // In turns, so that a disturbance or a thermal limit does not fall on one kind alone.
    let pairs: Vec<(f64, f64)> = (0..effort.repetitions)
        .map(|_| (cpu::units_per_second(1, effort.sample, clock), cpu::units_per_second(threads, effort.sample, clock)))
        .collect();
    let of = |value: fn(&(f64, f64)) -> f64| Measure::of_samples(&pairs.iter().map(value).collect::<Vec<_>>());
    Measures {
        cpu_single: of(|(single, _)| *single),
        cpu_all: of(|(_, all)| *all),
        effective_cores: of(|(single, all)| all / single),
        memory_mb_s: memory::bandwidth(threads, effort, clock),
        fsync_us: fsync::latency(state, effort, clock),
    }
}

#[cfg(test)]
mod tests {
    use meadow_host::SystemClock;

    use super::*;

    /// Rates themselves depend on the machine and its load; what holds everywhere is tested.
    #[test]
    fn a_short_measure_is_complete() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let effort = Effort { sample: Duration::from_millis(20), writes: 3, ..Effort::default() };
        let measures = measure(folder.path(), effort, &SystemClock);
        for (name, measure) in [
            ("cpu_single", &measures.cpu_single),
            ("cpu_all", &measures.cpu_all),
            ("effective_cores", &measures.effective_cores),
            ("memory_mb_s", &measures.memory_mb_s),
            ("fsync_us", &measures.fsync_us),
        ] {
            match (measure.value, measure.spread, &measure.reason) {
                (Some(value), Some(spread), None) => assert!(value > 0.0 && spread >= 0.0, "{name}: {measure:?}"),
                (None, None, Some(reason)) => assert!(!reason.is_empty(), "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(measures.cpu_single.value.is_some() && measures.cpu_all.value.is_some());
    }
}
