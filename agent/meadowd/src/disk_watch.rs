//! Keeps what a node tells of its disks up to date.

use std::time::Duration;

use meadow_controllers::disk_helper::DiskHelper;
use meadow_controllers::paths::Paths;
use meadow_controllers::stored;
use meadow_model::boot::BootReport;
use meadow_model::install::{DiskRequest, InstalledDisk};
use meadow_model::node::NodeDisks;
use tokio::sync::watch;
use tracing::warn;

/// A disk that was plugged in is seen after this time at the latest.
const PERIOD: Duration = Duration::from_secs(60);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Whether the state survives a restart: the initramfs said so. An ordinary host keeps its `/var`.
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

/// Looks at the disks now and then, for ever. What could not be looked at stays as it was known.
pub(crate) async fn run(paths: &Paths, helper: &DiskHelper, known: &watch::Sender<Option<NodeDisks>>) {
    let durable = is_durable(paths);
    loop {
        let pause = match look(paths, helper).await {
            Ok((hardware, installed)) => {
                let firmware = Some(hardware.firmware_state());
                let newest = Some(NodeDisks { disks: hardware.disks, installed, durable, firmware });
                known.send_if_modified(|known| {
                    let changed = *known != newest;
                    *known = newest;
                    changed
                });
                PERIOD
            }
            Err(error) => {
                warn!("the disks cannot be looked at: {error:#}");
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

type Look = (meadow_model::hardware::Hardware, Option<InstalledDisk>);

async fn look(paths: &Paths, helper: &DiskHelper) -> anyhow::Result<Look> {
    let hardware = crate::seed::inventory().await?;
    // An ordinary host has neither a report of an initramfs nor a helper, and needs none.
    let installed = match stored::load::<BootReport>(&paths.boot_report())? {
        Some(_) => helper.ask(&DiskRequest::Look, |_, _| {}).await?.disk,
        None => None,
    };
    Ok((hardware, installed))
}
