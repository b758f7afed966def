//! `meadow get`, `explain`, `completion`, `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::{LsArgs, OutputArgs};

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The kind of resource.
    pub(crate) kind: Kind,
    /// The name of one.
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) ls: LsArgs,
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The cluster.
    Cluster,
    /// Machines.
    #[value(alias = "machines")]
    Machine,
    /// Nodes.
    #[value(alias = "nodes")]
    Node,
    /// Images.
    #[value(alias = "images")]
    Image,
    /// Join tokens.
    #[value(alias = "tokens")]
    Token,
    /// Operations.
    #[value(alias = "operations")]
    Operation,
    /// Events.
    #[value(alias = "events")]
    Event,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The code, as it stands in brackets below an error; all codes where absent.
    pub(crate) code: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
}
