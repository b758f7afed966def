//! `meadow token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use meadow_model::Name;

use super::{LsArgs, OutputArgs, Risk};
use crate::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for `meadow join`; its text is shown only once.
    Create(CreateTokenArgs),
    /// List tokens, without their secrets.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show one, without its secret.
    Show {
        /// Id of the token.
        name: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take a token back.
    Revoke(RevokeArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CreateTokenArgs {
    /// How long it is valid.
    #[arg(long = "for", default_value = "10m", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) ttl: u32,
    /// How many machines may use it.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) uses: u32,
    /// Write the text to this file, mode 0600, in place of stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeArgs {
    /// Id of the token.
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
