//! Keeps what a node tells of its disks up to date.

use std::time::Duration;

use meadow_controllers::disk_helper::DiskHelper;
use meadow_controllers::node_facts::NodeFacts;
use meadow_controllers::paths::Paths;
use meadow_controllers::stored;
use meadow_model::boot::BootReport;
use meadow_model::install::DiskRequest;
use tokio::sync::watch;
use tracing::{info, warn};

/// A disk that was plugged in is seen after this time at the latest.
const PERIOD: Duration = Duration::from_secs(60);

/// What the initramfs said of this boot: whether the state survives a restart. An ordinary host keeps its `/var`.
pub(crate) fn is_durable(paths: &Paths) -> bool {
    match stored::load::<BootReport>(&paths.boot_report()) {
        Ok(Some(report)) => report.state.is_some(),
        Ok(None) => true,
        Err(error) => {
            warn!("how this computer booted is not known: {error}");
            false
        }
    }
}

/// Looks at the disks now and then, for ever.
pub(crate) async fn run(paths: &Paths, helper: &DiskHelper, facts: &watch::Sender<NodeFacts>) {
    let durable = is_durable(paths);
    let mut told = false;
    loop {
        let disks = match crate::seed::inventory().await {
            Ok(hardware) => hardware.disks,
            Err(error) => {
                warn!("the disks cannot be listed: {error:#}");
                Vec::new()
            }
        };
        // An ordinary host has no helper, and needs none.
        let installed = match helper.ask(&DiskRequest::Look, |_, _| {}).await {
            Ok(work) => work.disk,
            Err(error) => {
                if !told {
                    info!("{error}");
                    told = true;
                }
                facts.borrow().installed.clone()
            }
        };
        facts.send_if_modified(|facts| {
            let newest = NodeFacts { disks, installed, durable };
            let changed = *facts != newest;
            *facts = newest;
            changed
        });
        tokio::time::sleep(PERIOD).await;
    }
}
