//! `meadow image flash`, `meadow image seed`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use meadow_model::Name;
use meadow_model::seed::SeedNetwork;

use super::{OutputArgs, Risk};
use crate::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum StickCommand {
    /// Write the image onto a USB stick, with a seed that tells the computer what to do; needs no cluster.
    Flash(FlashArgs),
    /// Show or change the seed of a stick.
    Seed(SeedArgs),
}

#[derive(Args, Debug)]
pub(crate) struct FlashArgs {
    /// The stick, such as /dev/sdb, or a file for a virtual machine.
    #[arg(long, value_name = "DEVICE|FILE")]
    pub(crate) to: PathBuf,
    /// The image; else the installed one, else target/image/stick.img.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Also write to a disk that is no stick and no card.
    #[arg(long)]
    pub(crate) fixed_disk: bool,
    /// Only show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) seed: SeedOptions,
}

#[derive(Args, Debug)]
pub(crate) struct SeedArgs {
    /// The stick, such as /dev/sdb, or a file.
    #[arg(value_name = "DEVICE|FILE")]
    pub(crate) stick: PathBuf,
    /// Only show it, without its secret.
    #[arg(long)]
    pub(crate) show: bool,
    /// Take the seed away.
    #[arg(long, conflicts_with = "show")]
    pub(crate) clear: bool,
    #[command(flatten)]
    pub(crate) seed: SeedOptions,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What a seed says. What is not given stays as it is on the stick.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Seed")]
pub(crate) struct SeedOptions {
    /// Take from this file (TOML) what no option says; its keys are the options' names, such as `token_file = "token"`.
    #[arg(long, value_name = "FILE")]
    pub(crate) seed: Option<PathBuf>,
    /// File with a join token; `-` for stdin. A token never goes on a command line.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Make a new join token, through the API.
    #[arg(long, value_name = "new")]
    pub(crate) token: Option<NewTokenWish>,
    /// How long the new token is valid.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = duration::parse, requires = "token")]
    pub(crate) expires: u32,
    /// How many computers may use the new token.
    #[arg(long, default_value_t = 1, value_name = "N", requires = "token")]
    pub(crate) uses: u32,
    /// Address of the cluster's API; may be given several times. With a new token by default those of the context.
    #[arg(long, value_name = "HOST")]
    pub(crate) api: Vec<String>,
    /// A network, as CARD=dhcp or CARD=192.0.2.7/24,192.0.2.1 with .VLAN behind CARD where the port is tagged; may be given
    /// several times. CARD is a MAC address, a name such as eth0, or * for all. Cards that are not named ask DHCP.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Vec<SeedNetwork>,
    /// File with admins' public SSH keys; may be given several times. With a new token by default those of the cluster.
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_keys: Vec<PathBuf>,
    /// Name that the computer would like as a node.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// What the computer is to do; by default it runs from the stick and keeps nothing.
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Option<ActionKind>,
    /// Serial number of the disk to install onto, with `--action install`.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) disk: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NewTokenWish {
    /// Make one.
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActionKind {
    /// Run from the stick, and keep nothing.
    Live,
    /// The same, with the image that a boot server has now, if it is of the same builder and not older: the stick may then be pulled.
    Network,
    /// Run from the stick and wait to be installed onto the disk of --disk.
    Install,
}

impl SeedOptions {
    /// Whether anything is said at all.
    pub(crate) fn is_silent(&self) -> bool {
        let lists = self.api.is_empty() && self.network.is_empty() && self.ssh_keys.is_empty();
        let token = self.token_file.is_none() && self.token.is_none();
        lists && token && self.seed.is_none() && self.name.is_none() && self.action.is_none() && self.disk.is_none()
    }
}
