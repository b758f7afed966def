//! `meadow node reset`.

use meadow_model::reset::{ResetPlan, ResetRequest};

use super::{Context, confirm_risk, disks};
use crate::args::ResetArgs;
use crate::output::{print_changed, print_one, say};
use crate::session;
use crate::views::decimal_bytes;

const RISK: &str = "erase-state";

pub(super) async fn run(context: &Context, args: &ResetArgs) -> anyhow::Result<()> {
    let mut request = ResetRequest { disks: args.disk.clone(), consent: None };
    let Some(name) = &args.name else { return here(context, args, request).await };
    let client = context.connect()?;
    let plan = client.plan_reset(name, &request).await?;
    if !agreed(context, args, &plan)? {
        return print_one(&args.order.follow.output.output, &plan);
    }
    request.consent = Some(plan.hash);
    let operation = client.reset(name, &request).await?;
    let Some(ended) = disks::end(&client, operation, &args.order.follow).await? else { return Ok(()) };
    say(&format!("{name} is no node any more. Its computer restarts and asks to enrol as a new machine."));
    print_changed(&args.order.follow.output.output, &ended)
}

async fn here(context: &Context, args: &ResetArgs, mut request: ResetRequest) -> anyhow::Result<()> {
    let client = session::own_agent(&context.connection);
    let plan = client.plan_own_reset(&request).await?;
    if !agreed(context, args, &plan)? {
        return print_one(&args.order.follow.output.output, &plan);
    }
    request.consent = Some(plan.hash);
    let done = client.reset_self(&request).await?;
    say("This computer restarts as a new machine. If its cluster was not reached, take the node out there.");
    done.erased.iter().for_each(|disk| say(&disk.to_string()));
    print_one(&args.order.follow.output.output, &done)
}

/// Shows the plan and asks: for the node, and for each further disk by its own serial number. False for a dry run.
fn agreed(context: &Context, args: &ResetArgs, plan: &ResetPlan) -> anyhow::Result<bool> {
    show(plan);
    if args.dry_run {
        return Ok(false);
    }
    let name = &plan.node;
    for wiped in &plan.wipes {
        let lost =
            if wiped.loses.is_empty() { "nothing that is recognised".to_owned() } else { wiped.loses.join(", ") };
        let consequence = format!(
            "On the disk {} of {name} nothing is recognised any more, for ever. Lost: {lost}. All of it is discarded where \
             the disk can do that. Where it cannot, tools can still recover the content; how it went is said at the end.",
            wiped.serial
        );
        confirm_risk(context, &args.order.risk, RISK, &wiped.serial, &consequence)?;
    }
    let consequence = format!(
        "{name} forgets who it is and all that it keeps, for ever: no passphrase and no recovery key opens its state \
         again. Its key is refused from then on."
    );
    confirm_risk(context, &args.order.risk, RISK, name.as_str(), &consequence)?;
    Ok(true)
}

fn show(plan: &ResetPlan) {
    match &plan.own {
        Some(own) => say(&format!("ERASED: the state of {} on the disk {}, now {}", plan.node, own.serial, own.disk)),
        None => say(&format!("{} keeps no state on a disk; it only leaves its cluster and restarts", plan.node)),
    }
    for wiped in &plan.wipes {
        let model = wiped.model.as_deref().unwrap_or("disk");
        say(&format!("WIPED: {}, {model} of {}, now {}", wiped.serial, decimal_bytes(wiped.size_bytes), wiped.disk));
        wiped.loses.iter().for_each(|lost| say(&format!("  LOST: {lost}")));
    }
    plan.keeps.iter().for_each(|kept| say(&format!("left alone: {kept}")));
}
