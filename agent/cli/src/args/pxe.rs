//! `meadow pxe`.

use clap::{Args, Subcommand};
use meadow_model::MacAddress;

use super::OutputArgs;
use crate::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum PxeCommand {
    /// What it serves, and what keeps it from serving.
    Status {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The boot log of the machines, oldest first.
    Events(PxeEventsArgs),
    /// Boot every machine that asks, for a while.
    Open {
        /// For how long.
        #[arg(long = "for", default_value = "1h", value_name = "TIME", value_parser = duration::parse)]
        duration: u32,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Boot only the machines that were named.
    Close {
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Args, Debug)]
pub(crate) struct PxeEventsArgs {
    /// Only this machine.
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<MacAddress>,
    /// Only what came after the event with this number.
    #[arg(long, default_value_t = 0)]
    pub(crate) since: u64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
