//! `meadow pxe`.

use meadow_model::boot::PxeStatus;

use super::Context;
use crate::args::{OutputArgs, PxeCommand, PxeEventsArgs};
use crate::output::{print_changed, print_list, print_one, say};

pub(super) async fn run(context: &Context, command: PxeCommand) -> anyhow::Result<()> {
    match command {
        PxeCommand::Status { output } => print_one(&output.output, &context.connect()?.pxe().await?),
        PxeCommand::Events(args) => events(context, &args).await,
        PxeCommand::Open { duration, output } => {
            let status = context.connect()?.open_pxe(duration).await?;
            let until = status.open_until.map(|until| until.to_string()).unwrap_or_default();
            say(&format!(
                "Every machine that asks is booted until {until}. Follow them with `meadow pxe events`; close with `meadow pxe close`."
            ));
            changed(&status, &output)
        }
        PxeCommand::Close { output } => {
            let status = context.connect()?.close_pxe().await?;
            say("Only machines that were named are booted.");
            changed(&status, &output)
        }
    }
}

fn changed(status: &PxeStatus, output: &OutputArgs) -> anyhow::Result<()> {
    for problem in &status.problems {
        say(&format!("warning: {problem}"));
    }
    print_changed(&output.output, status)
}

async fn events(context: &Context, args: &PxeEventsArgs) -> anyhow::Result<()> {
    let events = context.connect()?.pxe_events(args.mac, args.since).await?;
    if events.items.is_empty() && args.output.output.is_for_people() {
        say(
            "No machine asked to boot. Is network boot on in its firmware, and is it on the interface that `meadow pxe status` names?",
        );
        return Ok(());
    }
    print_list(&args.output.output, &events)
}
