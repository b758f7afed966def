//! The smallest memory with which a blank machine becomes a ready node.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site, interrupt};

use crate::boot::LIMIT;
use crate::cluster_state::ReadyNode;
use crate::measure::Measure;

/// Memory that is tried, in MiB, downwards.
const SIZES: [u32; 8] = [1024, 768, 640, 512, 448, 384, 320, 256];
/// Every machine has this much (docs/specification.md).
const GOAL_MIB: f64 = 1024.0;
/// So the initramfs says that the root does not fit.
const REFUSAL: &str = "too little memory";
/// A machine that takes this many times as long as the first one is held to have too little.
const PATIENCE: u32 = 4;

/// Boots BIOS PXE machines with less and less memory until one does not become ready.
///
/// # Errors
/// When not even the first one does.
pub(crate) fn measure(progress: &mut Progress) -> Result<Vec<Measure>> {
    let mut limit = LIMIT;
    let mut smallest = None;
    let mut failed = None;
    for memory_mib in SIZES {
        let begun = Instant::now();
        match try_with(memory_mib, limit, progress) {
            Ok(()) => smallest = Some(memory_mib),
            Err(error) if smallest.is_none() || error.is::<interrupt::Interrupted>() => return Err(error),
            Err(error) => {
                progress.line(&format!("{memory_mib} MiB are too little: {error:#}"));
                failed = Some(memory_mib);
                break;
            }
        }
        limit = limit.min(begun.elapsed() * PATIENCE).max(Duration::from_secs(60));
    }
    let smallest = smallest.unwrap_or_default();
    let mut measures = vec![
        Measure::single("smallest memory with which a machine became Ready", "MiB", f64::from(smallest))
            .at_most(GOAL_MIB),
    ];
    measures.extend(failed.map(|size| Measure::single("memory with which none did", "MiB", f64::from(size))));
    Ok(measures)
}

fn try_with(memory_mib: u32, limit: Duration, progress: &mut Progress) -> Result<()> {
    progress.line(&format!("a machine with {memory_mib} MiB"));
    let mut site =
        Site::build(&RackConfig { firmware: vec![Firmware::BiosPxe], memory_mib }, &SeedConfig::default(), progress)?;
    site.arm_all()?;
    site.rack_mut().power_on(1)?;
    let mut node = ReadyNode::new("node-1");
    site.until("a ready node", limit, |site| {
        let milestones = site.rack_mut().machine(1)?.milestones()?;
        if let Some(refusal) = milestones.into_iter().find(|milestone| milestone.contains(REFUSAL)) {
            bail!("it says: {refusal}");
        }
        Ok(node.look(site.cluster())?.map(drop))
    })
}
