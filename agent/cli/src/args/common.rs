//! What many commands share.

use std::path::PathBuf;

use clap::Args;
use meadow_model::Name;

use crate::output::Format;

/// Which cluster to talk to.
#[derive(Args, Debug)]
pub(crate) struct Connection {
    /// Name of a context, or path of its file, as in MEADOW_CONTEXT; not needed where there is only one.
    #[arg(long, global = true, value_name = "NAME|FILE")]
    pub(crate) context: Option<String>,
    /// Talk to the agent of this computer through its Unix socket, as root.
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "context")]
    pub(crate) socket: Option<PathBuf>,
}

/// In which form to print.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    /// table, wide, json, yaml, name, csv, or jsonpath=EXPRESSION such as `jsonpath={.items[*].metadata.name}`.
    #[arg(short, long, default_value = "table", value_name = "FORM", value_parser = Format::parse)]
    pub(crate) output: Format,
}

/// Which items of a list.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ListArgs {
    /// Only those of which all of these hold: field=value, with commas between.
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// The field to sort by; descending with a minus before it.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
}

/// Whether to wait for work that takes a while.
#[derive(Args, Clone, Debug)]
pub(crate) struct WaitArgs {
    /// Do not wait until it is done; print the operation.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Wait no longer than this, such as 90s or 10m.
    #[arg(long, default_value = "15m", value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) timeout: u32,
}

/// How work that takes a while is followed.
#[derive(Args, Clone, Debug)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which node works.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeOrder {
    /// Name of the node.
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// An order that somebody has to mean.
#[derive(Args, Clone, Debug)]
pub(crate) struct RiskyOrder {
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// What every list takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How a person says that a destructive command is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Risk {
    /// Do not ask; needs --accept-risk too.
    #[arg(long, requires = "accept_risk")]
    pub(crate) yes: bool,
    /// The code of the risk, as the question names it.
    #[arg(long, value_name = "CODE")]
    pub(crate) accept_risk: Option<String>,
}

impl LsArgs {
    /// Which items to ask for.
    pub(crate) fn which(&self) -> meadow_client::ListAll {
        meadow_client::ListAll { filter: self.list.filter.clone(), sort: self.list.sort.clone() }
    }

    /// In which form to print them.
    pub(crate) fn format(&self) -> &Format {
        &self.output.output
    }
}
