//! `meadow pxe`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use meadow_model::MacAddress;

use super::{LsArgs, OutputArgs};
use crate::duration;

#[derive(Args, Debug)]
pub(crate) struct PxeArgs {
    /// Without one: `watch`.
    #[command(subcommand)]
    pub(crate) command: Option<PxeCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PxeCommand {
    /// Show each machine's boot as it happens, until Ctrl-C.
    Watch(WatchArgs),
    /// List how far each machine's boot is, and what to do where it goes on no more.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// What it serves, and what keeps it from serving.
    Status {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The boot log of the machines, oldest first.
    Events(PxeEventsArgs),
    /// The addresses that it gives out; without a command: list them.
    Leases(LeasesArgs),
    /// Look at everything that a boot over the network needs; ends with 1 where something is wrong.
    Doctor(LsArgs),
    /// Write what a machine and this server say to each other into a file, for a bug report.
    ///
    /// It is a pcap file. What TCP carries is left out, so that no ticket is in it. Behind a relay the machine's address is
    /// followed, which is named as soon as it is known.
    Capture(CaptureArgs),
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
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LeasesArgs {
    #[command(flatten)]
    pub(crate) ls: LsArgs,
    #[command(subcommand)]
    pub(crate) command: Option<LeasesCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeasesCommand {
    /// List the addresses with who has them.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// End the lease of an address, or take one back that was set aside.
    ///
    /// Its client does not hear of it, and may use the address until it asks again. Others get it only when
    /// there is no address that nobody ever had.
    Release {
        /// The address.
        address: IpAddr,
    },
}

#[derive(Args, Debug, Default)]
pub(crate) struct WatchArgs {
    /// Only this machine.
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<MacAddress>,
}

#[derive(Args, Debug)]
pub(crate) struct CaptureArgs {
    /// Name or MAC address of the machine; a MAC address may be unknown so far.
    pub(crate) machine: String,
    /// The file; else `MAC.pcap` here.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// For how long; Ctrl-C ends it earlier.
    #[arg(long = "for", default_value = "5m", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) duration: u32,
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
