//! `meadow image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use meadow_model::Name;

use super::stick::StickCommand;
use super::{FollowArgs, LsArgs, OutputArgs, Risk};

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List the images that the cluster adopted, and which nodes run them.
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show one.
    Show {
        /// Name or version of the image.
        #[arg(value_parser = name)]
        image: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Bring an image to the cluster, which checks it, signs it and keeps it.
    Add(AddArgs),
    /// Update all nodes that boot from their own disk, one after the other; stops at the first that is not well.
    Rollout(RolloutArgs),
    /// Bring all nodes back to the image that they ran before.
    Rollback(RollbackArgs),
    /// Forget an image; nodes that run it go on.
    Remove(RemoveImageArgs),
    #[command(flatten)]
    Stick(StickCommand),
}

#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// Folder with the image, as `make image` leaves it in target/image.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RolloutArgs {
    /// Name or version of the image.
    #[arg(value_parser = name, required_unless_present = "call_off")]
    pub(crate) image: Option<Name>,
    /// End the rollout that runs where it is, and tell which nodes were left out, such as one that is switched off.
    #[arg(long, conflicts_with_all = ["image", "allow_older", "without_majority"])]
    pub(crate) call_off: bool,
    /// Also where a newer image was rolled out before, or a node runs a newer one.
    #[arg(long)]
    pub(crate) allow_older: bool,
    #[command(flatten)]
    pub(crate) course: CourseArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) course: CourseArgs,
}

/// How nodes are taken through their restarts.
#[derive(Args, Debug)]
pub(crate) struct CourseArgs {
    /// Also restart a voter without which no majority is left meanwhile.
    #[arg(long)]
    pub(crate) without_majority: bool,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RemoveImageArgs {
    /// Name or version of the image.
    #[arg(value_parser = name)]
    pub(crate) image: Name,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A name, or the version that it is made from.
fn name(text: &str) -> Result<Name, String> {
    Name::new(text.replace('.', "-")).map_err(|error| error.to_string())
}
