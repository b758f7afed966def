//! `meadow init`, `meadow join`.

use std::path::PathBuf;

use clap::Args;

use crate::duration;

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// Take the answers from this file in place of asking; `--dump` shows its form.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Boot machines over the network on this interface; may be given several times. In place of what the file says.
    #[arg(long = "pxe-interface", value_name = "NAME")]
    pub(crate) pxe_interfaces: Vec<String>,
    /// Print the answers as a file for `--file`, and make nothing.
    #[arg(long)]
    pub(crate) dump: bool,
    /// Prefix of all files, for tests.
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) root: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct JoinArgs {
    /// Address of a node that serves the API, with its port where that is not 7443.
    pub(crate) host: String,
    /// The file with the token, mode 0600; `-` for stdin. A token never goes on a command line.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// Do not wait until this computer has joined.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait.
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) timeout: u32,
    /// Prefix of all files, for tests.
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
}
