//! `meadow cluster ssh-keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OutputArgs, Risk};

#[derive(Debug, Subcommand)]
pub(crate) enum SshKeysCommand {
    /// List them with their fingerprints, and tell which nodes do not have them yet.
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Add the public keys of a file.
    Add(AddKeyArgs),
    /// Remove one; asks before the last one goes.
    Remove(RemoveKeyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct AddKeyArgs {
    /// File with public keys, one a line, such as ~/.ssh/id_ed25519.pub; - for stdin.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RemoveKeyArgs {
    /// Its fingerprint or its comment, as `meadow cluster ssh-keys ls` shows them.
    #[arg(value_name = "FINGERPRINT|COMMENT")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
