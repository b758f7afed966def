//! `meadow node`.

use super::{Context, confirm_risk, disks, install, network, reset, update};
use crate::args::{LsArgs, NodeCommand, ReinstallArgs, RemoveArgs};
use crate::output::{print_changed, print_list, print_one, say};
use crate::reference;
use meadow_model::work::Reinstall;

pub(super) async fn run(context: &Context, command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::Ls(args) => ls(context, &args).await,
        NodeCommand::Show { name, output } => {
            print_one(&output.output, &reference::node(&context.connect()?, &name).await?)
        }
        NodeCommand::Install(args) => install::run(context, &args).await,
        NodeCommand::Network(command) => network::run(context, command).await,
        NodeCommand::Keys(command) => disks::keys(context, command).await,
        NodeCommand::Reboot(args) => disks::reboot(context, &args).await,
        NodeCommand::Update(args) => update::run(context, &args).await,
        NodeCommand::Reinstall(args) => reinstall(context, &args).await,
        NodeCommand::Reset(args) => reset::run(context, &args).await,
        NodeCommand::Remove(args) => remove(context, &args).await,
    }
}

pub(super) async fn ls(context: &Context, args: &LsArgs) -> anyhow::Result<()> {
    print_list(args.format(), &context.connect()?.nodes(&args.which()).await?)
}

async fn remove(context: &Context, args: &RemoveArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let node = reference::node(&client, &args.name).await?;
    let name = &node.metadata.name;
    let consequence = format!("{name} leaves the mesh, its key is refused for ever, and what it runs is out of reach.");
    confirm_risk(context, &args.risk, "remove-node", name.as_str(), &consequence)?;
    client.remove_node(name, node.metadata.revision).await?;
    say(&format!("{name} is no node any more. Its computer comes back as a new machine if it boots the image again."));
    print_changed(&args.output.output, &node)
}

async fn reinstall(context: &Context, args: &ReinstallArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let node = reference::node(&client, &args.name).await?;
    let name = &node.metadata.name;
    if args.call_off {
        client.call_reinstall_off(name).await?;
        say(&format!("{name} is left to its own disk."));
        return print_changed(&args.order.follow.output.output, &node);
    }
    let consequence = format!(
        "All that {name} boots from is written anew by the image of the boot server. Its state and its keys stay."
    );
    confirm_risk(context, &args.order.risk, "reinstall", name.as_str(), &consequence)?;
    let operation = client.reinstall(name, Reinstall { allow_older: args.allow_older }).await?;
    say(&format!("Start {name} over the network now; when it asks, open its state with: meadow unlock {name}"));
    match disks::end(&client, operation, &args.order.follow).await? {
        Some(ended) => {
            say(&format!("{name} restarts from its own disk."));
            print_changed(&args.order.follow.output.output, &ended)
        }
        None => Ok(()),
    }
}
