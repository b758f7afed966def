//! The command line.

mod cluster;
mod common;
mod image;
mod machine;
mod node;
mod other;
mod pxe;
mod setup;
mod ssh_keys;
mod stick;
mod support;
mod token;

use clap::{Parser, Subcommand};

pub(crate) use cluster::{ClusterCommand, EventCommand, OperationCommand, StatusArgs};
pub(crate) use common::{Connection, FollowArgs, LsArgs, NodeOrder, OutputArgs, Risk, RiskyOrder, WaitArgs};
pub(crate) use image::{AddArgs, CourseArgs, ImageCommand, RemoveImageArgs, RollbackArgs, RolloutArgs};
pub(crate) use machine::{
    ApproveArgs, ApproveConsentArgs, ApproveInstallArgs, ArmArgs, BootArgs, MachineCommand, Policy, RejectArgs,
};
pub(crate) use node::{
    InstallArgs, InstallTarget, KeyChangeArgs, KeysCommand, NetworkCommand, NetworkTryArgs, NodeCommand, RebootArgs,
    ReinstallArgs, RemoveArgs, ResetArgs, UnlockArgs, UpdateArgs,
};
pub(crate) use other::{CompletionArgs, ExplainArgs, GetArgs, Kind, ManArgs};
pub(crate) use pxe::{CaptureArgs, LeasesArgs, LeasesCommand, PxeArgs, PxeCommand, PxeEventsArgs, WatchArgs};
pub(crate) use setup::{InitArgs, JoinArgs};
pub(crate) use ssh_keys::{AddKeyArgs, RemoveKeyArgs, SshKeysCommand};
pub(crate) use stick::{ActionKind, FlashArgs, SeedArgs, SeedOptions, StickCommand};
pub(crate) use support::{BundleArgs, SupportCommand};
pub(crate) use token::{CreateTokenArgs, RevokeArgs, TokenCommand};

/// Meadow turns unequal, cheap machines into one platform.
///
/// Begin with `meadow init` on the first computer. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict,
/// 5 not allowed, 6 timed out, 7 unreachable or no quorum, 8 unhealthy, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "meadow", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Never ask; fail where an answer would be needed.
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a cluster, with this computer as its first node.
    Init(InitArgs),
    /// Make this computer a node of an existing cluster.
    Join(JoinArgs),
    /// How the cluster is.
    Status(StatusArgs),
    /// What holds for the whole cluster: the admins' SSH keys.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Computers that were seen and are not, or not yet, nodes.
    #[command(subcommand, visible_alias = "machines")]
    Machine(MachineCommand),
    /// Computers that belong to the cluster.
    #[command(subcommand, visible_alias = "nodes")]
    Node(NodeCommand),
    /// Open the encrypted state of nodes that wait for it after a restart, over SSH.
    Unlock(UnlockArgs),
    /// Images of the system: sticks, and updates of nodes that boot from their own disk.
    #[command(subcommand, visible_alias = "images")]
    Image(ImageCommand),
    /// Join tokens.
    #[command(subcommand, visible_alias = "tokens")]
    Token(TokenCommand),
    /// The server that boots machines over the network.
    Pxe(PxeArgs),
    /// What somebody who helps has to know of a computer.
    #[command(subcommand)]
    Support(SupportCommand),
    /// Work that takes a while, and its history.
    #[command(subcommand, visible_alias = "operations")]
    Operation(OperationCommand),
    /// What happened.
    #[command(subcommand, visible_alias = "events")]
    Event(EventCommand),
    /// List resources of any kind, or show one.
    Get(GetArgs),
    /// What a code of a problem means and what to do.
    Explain(ExplainArgs),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
    /// Print the manual page, or write those of all commands into a folder.
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::CommandFactory;

    use super::*;
    use crate::output::Format;

    /// Commands that give out no resources.
    const WITHOUT_OUTPUT: &[&str] = &[
        "init",
        "join",
        "unlock",
        "image flash",
        "support bundle",
        "completion",
        "man",
        "pxe watch",
        "pxe capture",
        "pxe leases release",
    ];

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() { leaves(sub, &path, found) } else { found.push((path, sub.clone())) }
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_that_gives_out_resources_takes_all_output_forms() {
        let mut commands = Vec::new();
        leaves(&Arguments::command(), "", &mut commands);
        assert!(commands.len() > 20, "{}", commands.len());
        for (path, command) in commands {
            let path = path.trim();
            let output = command.get_arguments().find(|a| a.get_id() == "output");
            assert_eq!(output.is_some(), !WITHOUT_OUTPUT.contains(&path), "{path}");
            if let Some(output) = output {
                // One type for all, whose forms are tested where it is.
                assert!(output.get_value_parser().type_id() == TypeId::of::<Format>(), "{path}");
            }
        }
    }

    #[test]
    fn every_command_and_every_option_is_explained() {
        let mut commands = Vec::new();
        leaves(&Arguments::command(), "", &mut commands);
        for (path, command) in commands {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
            }
        }
    }
}
