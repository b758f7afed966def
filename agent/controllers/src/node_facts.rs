//! What a node tells of its disks in its reports.

use meadow_model::hardware::Disk;
use meadow_model::install::InstalledDisk;
use meadow_model::node::NodeReport;

/// The newest look at the disks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// The disks.
    pub disks: Vec<Disk>,
    /// The node's own one.
    pub installed: Option<InstalledDisk>,
    /// Whether the state survives a restart.
    pub durable: bool,
}

impl NodeFacts {
    /// Puts them into a report.
    pub fn add_to(self, report: &mut NodeReport) {
        report.disks = self.disks;
        report.installed = self.installed;
        report.durable = self.durable;
    }
}
