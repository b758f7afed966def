//! `meadow node`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use meadow_model::Name;

use super::{LsArgs, NodeOrder, OutputArgs, Risk, RiskyOrder};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List nodes.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show one with its hardware and why it is not ready.
    Show {
        /// Name of the node.
        name: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Install a node onto one of its disks, encrypted; shows what would be wiped and asks.
    Install(InstallArgs),
    /// What opens a node's state: list, add a passphrase, make a new recovery key, back up, remove.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// How a node's network cards are set: show, try others for a minute, keep them.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Restart a node.
    Reboot(RebootArgs),
    /// Update a node from a stick with a newer image that is plugged in there; needs no rollout and no network.
    Update(UpdateArgs),
    /// Write an installed node's system anew, once, when it boots over the network next; its state stays as it is.
    Reinstall(ReinstallArgs),
    /// Erase a node's state for good; its computer comes back as a new machine. Shows what would be lost and asks.
    Reset(ResetArgs),
    /// Take a node out of the cluster: its key is refused from then on.
    Remove(RemoveArgs),
}

#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    /// Name of the node.
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ResetArgs {
    /// Name of the node.
    #[arg(required_unless_present = "here")]
    pub(crate) name: Option<Name>,
    /// This very computer, through its own agent; its cluster need not be reachable.
    #[arg(long, conflicts_with = "name")]
    pub(crate) here: bool,
    /// Serial number of a further disk to wipe; may be given several times. All others are left alone.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) disk: Vec<String>,
    /// Only show what would be erased.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) order: RiskyOrder,
}

#[derive(Args, Debug)]
pub(crate) struct UpdateArgs {
    /// Name of the node.
    #[arg(required_unless_present = "here")]
    pub(crate) name: Option<Name>,
    /// This very computer, through its own agent; its cluster need not be reachable.
    #[arg(long, conflicts_with = "name")]
    pub(crate) here: bool,
    /// Serial number of the stick, as `meadow node show` lists it.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) stick: String,
    /// Also where the image that runs is newer.
    #[arg(long)]
    pub(crate) allow_older: bool,
    #[command(flatten)]
    pub(crate) order: RiskyOrder,
}

#[derive(Args, Debug)]
pub(crate) struct ReinstallArgs {
    /// Name of the node; it need not be well.
    pub(crate) name: Name,
    /// Call one off that has not begun.
    #[arg(long)]
    pub(crate) call_off: bool,
    /// Also where the boot server's image is older than the one that the node had.
    #[arg(long, conflicts_with = "call_off")]
    pub(crate) allow_older: bool,
    #[command(flatten)]
    pub(crate) order: RiskyOrder,
}

#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// Name of the node.
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) target: InstallTarget,
    /// File whose first line is the passphrase of the state; asked for where absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Only show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not restart into the new system; what the node learns until it is restarted is not on its disk.
    #[arg(long)]
    pub(crate) no_reboot: bool,
    #[command(flatten)]
    pub(crate) order: RiskyOrder,
}

/// Serial numbers are as `meadow node show` and `meadow machine show` list them.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct InstallTarget {
    /// Serial number of the disk that the node is to boot from.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) disk: Option<String>,
    /// Serial number of the disk that only keeps the node's state; the node goes on booting over the network.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) state_disk: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the key slots.
    #[command(visible_alias = "list")]
    Ls {
        /// Name of the node.
        name: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Add a passphrase, or let the node's TPM open its state.
    Add {
        /// For people, such as whose it is.
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        change: KeyChangeArgs,
        /// File whose first line is the new passphrase; asked for where absent.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        tpm: TpmArgs,
    },
    /// Make a new recovery key, show it once, and remove the older ones when you have it.
    ///
    /// Until then the older ones open the state too: whatever breaks off in between, ask again.
    Recovery {
        #[command(flatten)]
        change: KeyChangeArgs,
        /// Remove the older ones without asking, as soon as the new one is written to standard output.
        #[arg(long)]
        yes: bool,
    },
    /// Back up the header of the state, with all key slots, into a new file that only you can read.
    ///
    /// Where the header is damaged, `ssh -p 2222 root@ADDRESS restore-header < FILE` puts it back while the node starts.
    ///
    /// Whoever has the file and the node's disk needs only the weakest passphrase of them all, and guesses at leisure: keep
    /// the file as you keep a key, and not on the node. It opens with the keys of its time, also with those that were
    /// removed since: make a new one after every change of keys, and destroy the old one.
    Backup {
        #[command(flatten)]
        change: KeyChangeArgs,
        /// File to make; one that exists is never overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Remove a key slot.
    Remove {
        /// Name of the node.
        name: Name,
        /// Number of the slot, as `ls` shows it.
        slot: u32,
        #[command(flatten)]
        order: RiskyOrder,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Show the cards, what they are told and what they have.
    Show {
        /// Name of the node.
        name: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Set a card for a minute; the settings before come back by themselves unless you confirm.
    Try(NetworkTryArgs),
    /// Keep what is tried now.
    Confirm(NodeOrder),
    /// Bring the settings from before the trial back at once.
    Back(NodeOrder),
}

#[derive(Args, Debug)]
pub(crate) struct NetworkTryArgs {
    #[command(flatten)]
    pub(crate) order: NodeOrder,
    /// The card: its MAC address or the kernel's name.
    #[arg(long, value_name = "CARD")]
    pub(crate) card: String,
    /// Ask DHCP.
    #[arg(long, required_unless_present = "address", conflicts_with_all = ["address", "gateway"])]
    pub(crate) dhcp: bool,
    /// Address and prefix length, such as 192.0.2.7/24.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
    /// The router.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Option<IpAddr>,
    /// VLAN where the port is tagged, 1 to 4094.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) vlan: Option<u16>,
    /// A DNS server; may be given three times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
}

#[derive(Args, Debug)]
pub(crate) struct TpmArgs {
    /// Let the node's TPM open its state by itself, for images of this build; in place of a TPM slot of before.
    #[arg(long, conflicts_with = "new_passphrase_file")]
    pub(crate) tpm: bool,
    /// With a PIN of 4 to 7 characters that somebody has to type at each start; asked for.
    #[arg(long, requires = "tpm")]
    pub(crate) pin: bool,
    /// File whose first line is that PIN.
    #[arg(long, value_name = "FILE", requires = "tpm")]
    pub(crate) pin_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct KeyChangeArgs {
    #[command(flatten)]
    pub(crate) order: NodeOrder,
    /// File whose first line is a passphrase or recovery key that opens the state; asked for where absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct RebootArgs {
    /// Name of the node.
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) order: RiskyOrder,
}

#[derive(Args, Debug)]
pub(crate) struct UnlockArgs {
    /// Names of the nodes.
    #[arg(required = true)]
    pub(crate) names: Vec<Name>,
    /// File whose first line is the passphrase or recovery key; asked for where absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// What the node's console shows as its host key, `SHA256:…`, where its TPM did not give the known one back.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) host_key: Option<String>,
    /// Where the node is on the LAN; else where it was last seen.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// Wait no longer than this for a node that still starts, such as 90s or 10m.
    #[arg(long, default_value = "3m", value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) timeout: u32,
    /// Private key for ssh(1); else what ssh takes by itself.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}
