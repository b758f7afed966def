//! `meadow support`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use meadow_model::Name;

use super::WaitArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum SupportCommand {
    /// Write versions, logs, disks, network and the cluster's state into one file; no secret is in it.
    ///
    /// Without NODE it is made of this very computer, as root, also where no agent runs and no cluster is reached.
    Bundle(BundleArgs),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("target").required(true).args(["to", "stick"]))]
pub(crate) struct BundleArgs {
    /// The node that it is of; its bundle goes onto a stick that is plugged in there.
    #[arg(requires = "stick")]
    pub(crate) node: Option<Name>,
    /// New file to write on this computer.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Serial number of the stick; the file goes onto its first FAT file system.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) stick: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}
