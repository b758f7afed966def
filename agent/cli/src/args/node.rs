//! `meadow node`.

use clap::{Args, Subcommand};
use meadow_model::Name;

use super::{ListArgs, OutputArgs, Risk};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List nodes.
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one with its hardware and why it is not ready.
    Show {
        /// Name of the node.
        name: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
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
