//! What the commands do.

mod approve;
mod capture;
mod cluster;
mod disks;
mod flash;
mod header_backup;
mod image;
mod init;
mod install;
mod join;
mod machine;
mod network;
mod node;
mod other;
mod passphrase;
mod pxe;
mod recovery;
mod reset;
mod seed;
mod seed_file;
mod ssh_keys;
mod support;
mod token;
mod unlock;
mod update;
mod wait;

use crate::args::{Arguments, ClusterCommand, Command, Connection, SupportCommand};
use crate::exit::Failure;
use crate::prompt::Prompt;
use crate::session;

/// What every command has at hand.
struct Context {
    connection: Connection,
    prompt: Prompt,
}

impl Context {
    fn connect(&self) -> anyhow::Result<meadow_client::Client> {
        session::connect(&self.connection)
    }
}

/// Runs the command that was typed.
///
/// # Errors
/// What [`crate::exit::report`] tells.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let context = Context { connection: arguments.connection, prompt: Prompt::new(arguments.no_input) };
    match arguments.command {
        Command::Init(args) => init::run(&context, &args).await,
        Command::Join(args) => join::run(&args).await,
        Command::Status(args) => cluster::status(&context, &args).await,
        Command::Cluster(ClusterCommand::SshKeys(command)) => ssh_keys::run(&context, command).await,
        Command::Machine(command) => machine::run(&context, command).await,
        Command::Node(command) => node::run(&context, command).await,
        Command::Unlock(args) => unlock::run(&context, &args).await,
        Command::Image(command) => image::run(&context, command).await,
        Command::Token(command) => token::run(&context, command).await,
        Command::Pxe(args) => pxe::run(&context, args).await,
        Command::Support(SupportCommand::Bundle(args)) => support::bundle(&context, &args).await,
        Command::Operation(command) => cluster::operation(&context, command).await,
        Command::Event(command) => cluster::event(&context, command).await,
        Command::Get(args) => other::get(&context, args).await,
        Command::Explain(args) => other::explain(&args),
        Command::Completion(args) => other::completion(&args),
        Command::Man(args) => other::man(&args),
    }
}

/// Lets a destructive command through only if it is meant: the name is typed again, or `--yes` comes with the code of
/// this very risk.
fn confirm_risk(
    context: &Context,
    risk: &crate::args::Risk,
    code: &str,
    name: &str,
    consequence: &str,
) -> anyhow::Result<()> {
    let instead = format!("use --yes --accept-risk={code}");
    match &risk.accept_risk {
        Some(accepted) if accepted != code => {
            return Err(Failure::usage(format!("the risk of this is {code}, not {accepted}: {consequence}")).into());
        }
        Some(_) if risk.yes => return Ok(()),
        _ => {}
    }
    let typed = context.prompt.ask(&format!("{consequence}\nType {name} to go on:"), &instead)?;
    if typed == name {
        return Ok(());
    }
    Err(Failure::usage(format!("\"{typed}\" is not {name}; nothing was done")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Risk;

    #[test]
    fn only_the_code_of_this_very_risk_is_a_yes() {
        let connection = Connection { context: None, socket: None };
        let context = Context { connection, prompt: Prompt::new(true) };
        let run = |yes, accept: Option<&str>| {
            let risk = Risk { yes, accept_risk: accept.map(ToOwned::to_owned) };
            confirm_risk(&context, &risk, "remove-node", "node-1", "node-1 leaves").is_ok()
        };
        assert!(run(true, Some("remove-node")));
        assert!(!run(true, Some("revoke-token")));
        assert!(!run(false, Some("remove-node")));
        assert!(!run(false, None));
    }
}
