//! `meadow machine`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use meadow_model::Name;
use meadow_model::boot::BootPolicy;

use super::{LsArgs, OutputArgs, Risk};
use crate::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum MachineCommand {
    /// List machines.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show one with its hardware, fingerprint and code.
    Show {
        /// Name or MAC address of the machine.
        machine: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Let a machine become a node, after comparing its fingerprint and code with its console.
    Approve(ApproveArgs),
    /// Turn a machine away.
    Reject(RejectArgs),
    /// Arm the next boot of a machine: the first key that comes with its ticket is approved by itself.
    ///
    /// This trusts the LAN: the ticket travels over plain HTTP, and MAC addresses can be forged.
    Arm(ArmArgs),
    /// Set what the PXE server does with a machine.
    Boot(BootArgs),
    /// Switch on a machine that is off, if its firmware lets its network card wake it (Wake-on-LAN).
    Wake {
        /// Name or MAC address of the machine, or name of the node that it is; a MAC address may be unknown so far.
        machine: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ApproveArgs {
    /// Name or MAC address of the machine.
    pub(crate) machine: String,
    /// The name of the node; chosen by the cluster where absent.
    #[arg(long, value_name = "NAME", conflicts_with = "replaces")]
    pub(crate) node: Option<Name>,
    /// The lost node whose name and address it takes over.
    #[arg(long, value_name = "NODE")]
    pub(crate) replaces: Option<Name>,
    /// The code on the machine's console; approves without asking if it matches.
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Do not ask; you have compared the fingerprint yourself.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) install: ApproveInstallArgs,
    #[command(flatten)]
    pub(crate) consent: ApproveConsentArgs,
    /// Do not wait until the node has joined; print the operation.
    #[arg(long, conflicts_with = "ApproveInstallArgs")]
    pub(crate) no_wait: bool,
    /// How long to wait.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) timeout: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What happens to a disk of the machine once it is a node. What would be wiped is shown before the approval, and asked for.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct ApproveInstallArgs {
    /// Install it onto the disk with this serial number.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) install: Option<String>,
    /// Install it onto its smallest disk on which nothing lies; refused where there is none.
    #[arg(long)]
    pub(crate) install_blank: bool,
    /// Keep only its state on the disk with this serial number; it goes on booting over the network.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) state_disk: Option<String>,
}

/// How it is installed.
#[derive(Args, Debug)]
pub(crate) struct ApproveConsentArgs {
    /// File whose first line is the passphrase of the state; asked for where absent.
    #[arg(long, value_name = "FILE", requires = "ApproveInstallArgs")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// With --yes or --code: wipe the disk without asking; the code is `wipe-disk`.
    #[arg(long, value_name = "CODE", requires = "ApproveInstallArgs")]
    pub(crate) accept_risk: Option<String>,
    /// Do not restart the node after it was installed; what it learns until it is restarted is not on its disk.
    #[arg(long, requires = "ApproveInstallArgs")]
    pub(crate) no_reboot: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RejectArgs {
    /// Name or MAC address of the machine.
    pub(crate) machine: String,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ArmArgs {
    /// Name of the machine, or a MAC address that may be unknown so far.
    pub(crate) machine: String,
    /// The name of the node; chosen by the cluster where absent.
    #[arg(long, value_name = "NAME", conflicts_with = "replaces")]
    pub(crate) node: Option<Name>,
    /// The lost node whose name and address it takes over.
    #[arg(long, value_name = "NODE")]
    pub(crate) replaces: Option<Name>,
    /// How long the ticket is valid.
    #[arg(long = "for", default_value = "1h", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) ttl: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct BootArgs {
    /// Name of the machine, or a MAC address that may be unknown so far.
    pub(crate) machine: String,
    /// What the PXE server does with it from its next boot on.
    #[arg(required_unless_present_any = ["plain_pxe", "kernel_arguments"])]
    pub(crate) policy: Option<Policy>,
    /// Only at its next boot; after that it gets what it got before.
    #[arg(long, requires = "policy")]
    pub(crate) once: bool,
    /// The adopted image that it boots: a version, name or digest of `meadow image ls`; `installed` for the boot
    /// server's own, which it also is where absent.
    #[arg(long, value_name = "IMAGE", requires = "policy")]
    pub(crate) image: Option<String>,
    /// Added to the kernel's command line of the image from now on; empty for none.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) kernel_arguments: Option<String>,
    /// File with the iPXE script that `script` boots; ${files} in it is the URL of the server's own files.
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// Treat an iPXE in the machine's ROM as if it were plain PXE.
    #[arg(long, value_name = "BOOL")]
    pub(crate) plain_pxe: Option<bool>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What the PXE server does with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Leave it alone: its own disk boots.
    Ignore,
    /// Boot our image.
    Image,
    /// Tell it to boot its own disk.
    LocalDisk,
    /// Boot our initramfs and stay there, reachable over SSH.
    Hold,
    /// Boot an iPXE script of your own: an installer, or any other system.
    Script,
}

impl From<Policy> for BootPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Ignore => Self::Ignore,
            Policy::Image => Self::Image,
            Policy::LocalDisk => Self::LocalDisk,
            Policy::Hold => Self::Hold,
            Policy::Script => Self::Script,
        }
    }
}
