//! `meadow status`, `meadow cluster`, `meadow operation`, `meadow event`.

use clap::{Args, Subcommand};
use meadow_model::Name;

use super::{LsArgs, OutputArgs, SshKeysCommand};

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Admins' public SSH keys, by which `meadow unlock` reaches nodes that wait for their passphrase.
    #[command(subcommand)]
    SshKeys(SshKeysCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List operations.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show one with its steps.
    Show {
        /// Name of the operation.
        name: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// List events, oldest first.
    #[command(visible_alias = "list")]
    Ls {
        /// Only what came after the event with this number.
        #[arg(long, default_value_t = 0)]
        since: u64,
        #[command(flatten)]
        ls: LsArgs,
    },
}
