//! `meadow node network`.

use meadow_model::network::{NetworkChange, NetworkWish, TRIAL_SECONDS};
use meadow_model::operation::Operation;

use super::{Context, disks};
use crate::args::{NetworkCommand, NetworkTryArgs, NodeOrder};
use crate::exit::{Exit, Failure};
use crate::output::{print_changed, print_one, say};
use crate::reference;

pub(super) async fn run(context: &Context, command: NetworkCommand) -> anyhow::Result<()> {
    match command {
        NetworkCommand::Show { name, output } => {
            let node = reference::node(&context.connect()?, &name).await?;
            let untold = || {
                let why = node.status.reason.as_deref().unwrap_or("it has not told its network cards");
                Failure::new(Exit::Unhealthy, format!("{name}: {why}; `meadow node show {name}` says more"))
            };
            print_one(&output.output, node.status.network.as_ref().ok_or_else(untold)?)
        }
        NetworkCommand::Try(args) => begin(context, args).await,
        NetworkCommand::Confirm(args) => end(context, &args, true).await,
        NetworkCommand::Back(args) => end(context, &args, false).await,
    }
}

async fn begin(context: &Context, args: NetworkTryArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let name = reference::node(&client, &args.order.name).await?.metadata.name;
    let wish =
        NetworkWish { card: args.card, vlan: args.vlan, address: args.address, gateway: args.gateway, dns: args.dns };
    let operation = client.try_node_network(&name, &NetworkChange { networks: vec![wish] }).await?;
    let Some(ended) = disks::end(&client, operation, &args.order.follow).await? else { return Ok(()) };
    say(&format!("{name} tries it for {TRIAL_SECONDS} s. Keep it with: meadow node network confirm {name}"));
    print_changed(&args.order.follow.output.output, &ended)
}

async fn end(context: &Context, args: &NodeOrder, keep: bool) -> anyhow::Result<()> {
    let client = context.connect()?;
    let name = reference::node(&client, &args.name).await?.metadata.name;
    let operation = client.end_node_network_trial(&name, keep).await?;
    let ended: Option<Operation> = disks::end(&client, operation, &args.follow).await?;
    match ended {
        Some(ended) => print_changed(&args.follow.output.output, &ended),
        None => Ok(()),
    }
}
