//! `meadow pxe`.

use std::collections::HashMap;
use std::time::Duration;

use meadow_client::{Client, ListAll};
use meadow_model::boot::{MachineBoot, PxeStatus};

use super::{Context, capture};
use crate::args::{LeasesArgs, LeasesCommand, LsArgs, OutputArgs, PxeArgs, PxeCommand, PxeEventsArgs, WatchArgs};
use crate::exit::{Exit, Failure};
use crate::output::{clean, print_changed, print_list, print_one, put, say};

/// How often the boots are looked at.
const LOOK: Duration = Duration::from_millis(500);
const NOBODY: &str = "No machine asked to boot. Is network boot on in its firmware, and is it on an interface that `meadow pxe status` names?";

pub(super) async fn run(context: &Context, args: PxeArgs) -> anyhow::Result<()> {
    match args.command.unwrap_or(PxeCommand::Watch(WatchArgs::default())) {
        PxeCommand::Watch(args) => watch(&context.connect()?, &args).await,
        PxeCommand::Ls(args) => {
            let boots = context.connect()?.pxe_boots(&args.which()).await?;
            if boots.items.is_empty() && args.format().is_for_people() {
                say(NOBODY);
                return Ok(());
            }
            print_list(args.format(), &boots)
        }
        PxeCommand::Leases(args) => leases(context, args).await,
        PxeCommand::Doctor(args) => doctor(context, &args).await,
        PxeCommand::Capture(args) => capture::run(context, &args).await,
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

async fn leases(context: &Context, args: LeasesArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let ls = match args.command {
        Some(LeasesCommand::Release { address }) => {
            client.release_lease(address).await?;
            say(&format!("The lease of {address} is ended. Its client may use the address until it asks again."));
            return Ok(());
        }
        Some(LeasesCommand::Ls(ls)) => ls,
        None => args.ls,
    };
    let leases = client.pxe_leases(&ls.which()).await?;
    if leases.items.is_empty() && ls.format().is_for_people() {
        say(
            "No address was given out. Addresses are given out only where the settings have pxe_dhcp and nobody else does; `meadow pxe doctor` tells.",
        );
        return Ok(());
    }
    print_list(ls.format(), &leases)
}

async fn doctor(context: &Context, args: &LsArgs) -> anyhow::Result<()> {
    let checks = context.connect()?.pxe_checks(&args.which()).await?;
    print_list(args.format(), &checks)?;
    let wrong: Vec<&str> = checks.items.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("not as it should be: {}", wrong.join(", "))).into())
}

/// Tells each change of each machine, a line each.
async fn watch(client: &Client, args: &WatchArgs) -> anyhow::Result<()> {
    let filter = args.mac.map(|mac| format!("mac={mac}"));
    let which = ListAll { filter, sort: None };
    let mut told: HashMap<_, MachineBoot> = HashMap::new();
    // Who cannot be asked at all is told at once; an agent that is restarted comes back.
    let mut boots = client.pxe_boots(&which).await?.items;
    let mut is_away = false;
    say("Waiting for machines to boot (Ctrl-C ends).");
    loop {
        boots.reverse();
        for boot in boots {
            let before = told.get(&boot.mac);
            let news = before.is_none_or(|before| MachineBoot { last_seen: boot.last_seen, ..before.clone() } != boot);
            if news {
                put(&line(&boot))?;
                told.insert(boot.mac, boot);
            }
        }
        boots = loop {
            tokio::time::sleep(LOOK).await;
            match client.pxe_boots(&which).await {
                Ok(list) => break list.items,
                Err(error) if !is_away => {
                    say(&format!("The agent does not answer, it is asked again until it does: {error}"));
                    is_away = true;
                }
                Err(_) => {}
            }
        };
        if std::mem::take(&mut is_away) {
            say("The agent answers again.");
        }
    }
}

fn line(boot: &MachineBoot) -> String {
    let percent = boot.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let firmware = boot.firmware.as_deref().map(|firmware| format!(" [{firmware}]")).unwrap_or_default();
    let failed = if boot.failed { " FAILED" } else { "" };
    let mut line =
        format!("{} {}{firmware}{failed} {}{percent}: {}", boot.last_seen, boot.mac, boot.stage, boot.message);
    for (label, text) in [("waits: ", &boot.waits_for), ("NEXT: ", &boot.next_step)] {
        if let Some(text) = text {
            line.push_str(&format!("; {label}{text}"));
        }
    }
    clean(&line) + "\n"
}

fn changed(status: &PxeStatus, output: &OutputArgs) -> anyhow::Result<()> {
    for problem in status.all_problems() {
        say(&format!("warning: {problem}"));
    }
    print_changed(&output.output, status)
}

async fn events(context: &Context, args: &PxeEventsArgs) -> anyhow::Result<()> {
    let events = context.connect()?.pxe_events(args.mac, args.since).await?;
    if events.items.is_empty() && args.output.output.is_for_people() {
        say(NOBODY);
        return Ok(());
    }
    print_list(&args.output.output, &events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_in_words_with_its_next_step() {
        let boot: MachineBoot = serde_json::from_value(serde_json::json!({
            "mac": "52:54:00:00:00:01", "under_way": true, "stage": "fetches kernel and initrd", "percent": 25,
            "message": "failed initrd: the machine fell silent", "failed": true, "next_step": "start it again",
            "last_seen": "2026-11-28T00:00:00Z",
        }))
        .expect("a boot");
        let told = line(&boot);
        assert!(
            told.contains(" FAILED fetches kernel and initrd 25 %: ") && told.contains("; NEXT: start it"),
            "{told}"
        );
        assert!(!line(&MachineBoot { failed: false, ..boot }).contains("FAILED"));
    }
}
