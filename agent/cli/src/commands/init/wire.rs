//! What is found on the wires of this computer, before anybody is asked.

use meadow_host::links::Link;
use meadow_pxe::{HeardServer, SURVEY, Survey};
use tokio::task::JoinSet;

use super::defaults;
use crate::output::say;

/// Most interfaces that are asked on; who has more knows which one is meant.
const MOST: usize = 16;

/// An interface, and who serves there.
pub(super) struct Found {
    pub(super) link: Link,
    /// `None` where it cannot be looked at, with the reason; or where nothing is plugged in.
    pub(super) survey: Result<Survey, Option<String>>,
}

/// Looks at all interfaces at once.
pub(super) async fn look() -> Vec<Found> {
    let links = defaults::links().await;
    let has_wire = |link: &&Link| link.up && link.carrier && link.mac.is_some() && defaults::is_wired(link);
    let asked: Vec<String> = links.iter().filter(has_wire).take(MOST).map(|link| link.name.clone()).collect();
    if !asked.is_empty() {
        let seconds = SURVEY.as_secs();
        say(&format!("Looking for {seconds} s who gives out addresses and boots machines on {} ...", asked.join(", ")));
    }
    let mut surveys = JoinSet::new();
    for name in asked {
        surveys.spawn(async move {
            let survey = meadow_pxe::survey(&name).await;
            (name, survey)
        });
    }
    let mut found: Vec<Found> = links.into_iter().map(|link| Found { link, survey: Err(None) }).collect();
    while let Some(ended) = surveys.join_next().await {
        let Ok((name, survey)) = ended else { continue };
        if let Some(found) = found.iter_mut().find(|found| found.link.name == name) {
            found.survey = survey.map_err(|error| Some(error.to_string()));
        }
    }
    found
}

/// Tells a person.
pub(super) fn tell(found: &[Found]) {
    say("Interfaces of this computer:");
    for Found { link, survey } in found {
        let addresses: Vec<String> = link.addresses.iter().map(|cidr| cidr.address().to_string()).collect();
        let state = if link.carrier { "link" } else { "no link" };
        say(&format!("  {:12}  {state:7}  {}", link.name, addresses.join(", ")));
        match survey {
            Ok(survey) => lines(survey).iter().for_each(|line| say(&format!("      {line}"))),
            Err(Some(why)) => say(&format!("      who serves there is not known: {why}")),
            Err(None) => {}
        }
    }
    if let Some(firewall) = meadow_pxe::firewall() {
        say(&format!("  {firewall}"));
    }
}

fn lines(survey: &Survey) -> Vec<String> {
    let name = |server: &HeardServer| match server.mac {
        Some(mac) => format!("{} ({mac})", server.address),
        None => server.address.to_string(),
    };
    let mut lines: Vec<String> = survey
        .servers
        .iter()
        .filter(|server| server.leases)
        .map(|server| format!("{} gives out addresses; Meadow adds the boot files beside it", name(server)))
        .collect();
    if lines.is_empty() {
        lines.push("nobody gives out addresses".to_owned());
    }
    lines.extend(survey.servers.iter().filter(|server| server.boots).map(|server| {
        format!(
            "{} boots machines over the network: switch that off, or chance decides which of the two a machine takes",
            name(server)
        )
    }));
    lines.extend(survey.problems.iter().map(|problem| problem.text.clone()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_and_other_boot_servers_are_named() {
        let server = |last, leases, boots| HeardServer { address: [192, 0, 2, last].into(), mac: None, leases, boots };
        assert_eq!(lines(&Survey::default()), ["nobody gives out addresses"]);
        let survey = Survey { servers: vec![server(1, true, false), server(9, false, true)], problems: Vec::new() };
        let lines = lines(&survey);
        assert!(lines[0].starts_with("192.0.2.1 gives out addresses"), "{lines:?}");
        assert!(lines[1].starts_with("192.0.2.9 boots machines") && lines[1].contains("switch that off"), "{lines:?}");
    }
}
