//! `meadow node update`.

use meadow_model::work::StickUpdate;

use super::{Context, confirm_risk, disks};
use crate::args::UpdateArgs;
use crate::output::{print_changed, print_one, say};
use crate::{reference, session};

const RISK: &str = "restart-node";

pub(super) async fn run(context: &Context, args: &UpdateArgs) -> anyhow::Result<()> {
    let update = StickUpdate { stick: args.stick.clone(), allow_older: args.allow_older };
    let Some(name) = &args.name else {
        let client = session::own_agent(&context.connection);
        let consequence = "This computer restarts into the image of the stick, and waits for its passphrase then.";
        confirm_risk(context, &args.order.risk, RISK, &args.stick, consequence)?;
        say("Writes the image (this takes a while) …");
        return print_one(&args.order.follow.output.output, &client.update_self(&update).await?);
    };
    let client = context.connect()?;
    let node = reference::node(&client, name).await?;
    let name = &node.metadata.name;
    let consequence = format!(
        "{name} restarts once into the image of the stick {}, and waits for its passphrase then: meadow unlock {name}",
        args.stick
    );
    confirm_risk(context, &args.order.risk, RISK, name.as_str(), &consequence)?;
    let operation = client.update_from_stick(name, &update).await?;
    let Some(ended) = disks::end(&client, operation, &args.order.follow).await? else { return Ok(()) };
    say(&format!("{name} restarts into the image now and keeps it when it is Ready; `meadow node show {name}` tells."));
    say("Pull the stick.");
    print_changed(&args.order.follow.output.output, &ended)
}
