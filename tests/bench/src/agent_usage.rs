//! What `meadowd` needs as a seed: idle, and with three nodes that report.

use std::time::Duration;

use anyhow::Result;
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site};

use crate::boot::LIMIT;
use crate::measure::Measure;
use crate::process_usage::Process;

/// How long it is watched.
const WINDOW: Duration = Duration::from_secs(30);
/// Goals of an idle member (docs/specification.md).
const RESIDENT_MIB: f64 = 20.0;
const ANONYMOUS_MIB: f64 = 10.0;
const PROCESSOR_PERCENT: f64 = 0.3;
const WAKEUPS: f64 = 10.0;
const SYNCS: f64 = 1.0;

/// Starts a seed and watches it alone, then lets three machines become nodes and watches it again.
///
/// # Errors
/// When a program or a machine fails.
pub(crate) fn measure(progress: &mut Progress) -> Result<Vec<Measure>> {
    let mut site = Site::build(&RackConfig::cycled(3, &[Firmware::BiosPxe]), &SeedConfig::default(), progress)?;
    let agent = Process::find(site.seed().namespace(), "meadowd")?;
    progress.line(&format!("the seed's agent alone, for {} s", WINDOW.as_secs()));
    let mut measures = watch(&site, agent, "alone")?;
    site.arm_all()?;
    site.rack_mut().power_on_all()?;
    site.wait_ready(LIMIT, progress)?;
    progress.line(&format!("the seed's agent with three nodes, for {} s", WINDOW.as_secs()));
    measures.extend(watch(&site, agent, "with 3 nodes")?.into_iter().map(without_goal));
    Ok(measures)
}

fn watch(site: &Site, agent: Process, when: &str) -> Result<Vec<Measure>> {
    let activity = agent.watch(WINDOW)?;
    let memory = agent.memory()?;
    // Watched apart: strace slows a process down.
    let syncs = agent.syncs(WINDOW, &site.rack().run().file("strace.log"))?;
    let name = |what: &str| format!("meadowd {when}: {what}");
    Ok(vec![
        Measure::single(name("resident (VmRSS)"), "MiB", memory.resident).at_most(RESIDENT_MIB),
        Measure::single(name("of it anonymous (RssAnon)"), "MiB", memory.anonymous).at_most(ANONYMOUS_MIB),
        Measure::single(name("peak since its start (VmHWM)"), "MiB", memory.peak),
        Measure::single(name("of one processor"), "%", activity.processor_percent).at_most(PROCESSOR_PERCENT),
        Measure::single(name("wake-ups"), "/s", activity.wakeups).at_most(WAKEUPS),
        Measure::single(name("syncs to disk"), "/s", syncs).at_most(SYNCS),
        Measure::single(name("written to disk"), "KiB/s", activity.written / 1024.0),
    ])
}

/// The goals are those of an idle member.
fn without_goal(measure: Measure) -> Measure {
    Measure { at_most: None, ..measure }
}
