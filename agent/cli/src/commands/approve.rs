//! `meadow machine approve`.

use std::time::Duration;

use meadow_api::wire::{ApproveRequest, DiskChoice, PlanMachineRequest};
use meadow_client::Client;
use meadow_model::install::InstallMode;
use meadow_model::machine::{Decision, Machine, MachinePhase};
use meadow_model::node::{Node, NodeState};
use meadow_model::operation::Operation;
use meadow_model::{Name, ProblemCode};

use super::install::{self, Consented};
use super::{Context, wait};
use crate::args::{ApproveArgs, ApproveConsentArgs, ApproveInstallArgs, FollowArgs, Risk, WaitArgs};
use crate::exit::{Exit, Failure};
use crate::output::{View, print_changed, print_one, say};
use crate::reference;

/// How often an approval is tried again while the machine keeps changing.
const TRIES: usize = 5;
/// How often a node that has joined is looked at.
const POLL: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context, args: &ApproveArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let machine = reference::machine(&client, &args.machine).await?;
    let consented = wanted_installation(context, &client, args, &machine).await?;
    agree(context, args, &machine)?;
    let operation = approve(&client, args, machine.clone()).await?;
    let name = &operation.metadata.name;
    if args.no_wait {
        say(&format!("Approved. Follow it with: meadow operation show {name}"));
        return print_one(&args.output.output, &operation);
    }
    say(&format!("Approved. Waiting until the node has joined (Ctrl-C leaves operation {name} running)."));
    let ended = wait::until_done(&client, operation.clone(), args.timeout).await?;
    let Some(consented) = consented else {
        say("The node has joined. See it with: meadow node ls");
        return print_changed(&args.output.output, &ended);
    };
    let node = wait_ready(&client, &machine.metadata.name, args.timeout).await?;
    let wait = WaitArgs { no_wait: false, timeout: args.timeout };
    consented.carry_out(&client, &node, &FollowArgs { wait, output: args.output.clone() }).await
}

/// What is to be installed once the machine is a node. A person sees what would be wiped before anything is decided.
async fn wanted_installation(
    context: &Context,
    client: &Client,
    args: &ApproveArgs,
    machine: &Machine,
) -> anyhow::Result<Option<Consented>> {
    let Some(request) = plan_request(&args.install) else { return Ok(None) };
    let plan = client.plan_machine(&machine.metadata.name, &request).await?;
    install::show(&plan);
    install::warn_of_no_ssh(client, &plan.node).await?;
    let ApproveConsentArgs { passphrase_file, accept_risk, no_reboot } = &args.consent;
    let risk = Risk { yes: args.yes || args.code.is_some(), accept_risk: accept_risk.clone() };
    Consented::ask(context, plan, &risk, passphrase_file.as_deref(), !no_reboot).map(Some)
}

fn plan_request(args: &ApproveInstallArgs) -> Option<PlanMachineRequest> {
    let ApproveInstallArgs { install, install_blank, state_disk } = args;
    let (disk, mode) = match (install, state_disk, install_blank) {
        (Some(serial), ..) => (DiskChoice::Serial(serial.clone()), InstallMode::System),
        (_, Some(serial), _) => (DiskChoice::Serial(serial.clone()), InstallMode::StateOnly),
        (.., true) => (DiskChoice::SmallestBlank, InstallMode::System),
        _ => return None,
    };
    Some(PlanMachineRequest { disk, mode })
}

/// The node that the machine became, once it takes work.
async fn wait_ready(client: &Client, machine: &Name, timeout_s: u32) -> anyhow::Result<Node> {
    let Decision::Approved { node, .. } = client.machine(machine).await?.spec.decision else {
        return Err(Failure::new(Exit::Conflict, format!("{machine} is no node any more")).into());
    };
    say(&format!("{node} has joined. Waiting until it is ready to be installed."));
    let ready = async {
        loop {
            let found = client.node(&node).await?;
            if found.status.state == NodeState::Ready {
                return Ok(found);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(timeout_s.into()), ready).await.unwrap_or_else(|_| {
        let message = format!(
            "{node} is not ready; `meadow node show {node}` tells why, `meadow node install {node}` installs it then"
        );
        Err(Failure::new(Exit::TimedOut, message).into())
    })
}

/// Makes sure that a person has compared what the machine's console shows.
fn agree(context: &Context, args: &ApproveArgs, machine: &Machine) -> anyhow::Result<()> {
    let name = &machine.metadata.name;
    if machine.status.phase == MachinePhase::Seen {
        let message = format!("{name} has not asked to enrol yet; arm its next boot with `meadow machine arm {name}`");
        return Err(Failure::new(Exit::Conflict, message).into());
    }
    if let Some(typed) = &args.code {
        return check_code(typed, machine);
    }
    if args.yes {
        return Ok(());
    }
    let lines = machine.describe();
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        say(&format!("  {label:width$}  {text}"));
    }
    let question = "Does the machine's console show this fingerprint and this code?";
    if context.prompt.confirm(question, "use --code CODE as its console shows it, or --yes")? {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("{name} was not approved. If the code differs, somebody may sit between the two: look at the cables, then `meadow machine reject {name}`")).into())
}

fn check_code(typed: &str, machine: &Machine) -> anyhow::Result<()> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let name = &machine.metadata.name;
    let Some(code) = &machine.status.code else {
        return Err(Failure::new(Exit::Conflict, format!("{name} has no code to compare")).into());
    };
    if plain(typed) == plain(code.as_str()) {
        return Ok(());
    }
    let message = format!(
        "{name} has the code {code} here, not {typed}; somebody may sit between the two: look at its console again"
    );
    Err(Failure::new(Exit::Conflict, message).into())
}

/// Approves the machine as it was shown: what changed meanwhile may only be what nobody compares.
async fn approve(client: &Client, args: &ApproveArgs, shown: Machine) -> anyhow::Result<Operation> {
    let request = ApproveRequest { node: args.node.clone(), replaces: args.replaces.clone() };
    let mut machine = shown.clone();
    for _ in 0..TRIES {
        let revision = Some(machine.metadata.revision);
        match client.approve(&machine.metadata.name, &request, revision).await {
            Err(error) if error.problem().is_some_and(|p| p.code == ProblemCode::RevisionMismatch) => {
                machine = client.machine(&machine.metadata.name).await?;
                let same =
                    machine.status.fingerprint == shown.status.fingerprint && machine.status.code == shown.status.code;
                if !same {
                    let message = "its fingerprint or code has changed since; compare them again";
                    return Err(Failure::new(Exit::Conflict, format!("{}: {message}", machine.metadata.name)).into());
                }
            }
            other => return Ok(other?),
        }
    }
    Err(Failure::new(Exit::Conflict, "the machine keeps changing; try again in a moment").into())
}

#[cfg(test)]
mod tests {
    use meadow_model::code::VerificationCode;
    use meadow_model::machine::{MachineSpec, MachineStatus};
    use meadow_model::{Fingerprint, Kind, Metadata, Name, Timestamp};

    use super::*;

    fn machine(code: Option<VerificationCode>) -> Machine {
        let created = Timestamp::from_millis(0);
        Machine {
            kind: Kind::Machine,
            metadata: Metadata { name: Name::new("m-1").expect("valid"), revision: 1, created },
            spec: MachineSpec::default(),
            status: MachineStatus { code, ..MachineStatus::default() },
        }
    }

    #[test]
    fn a_code_is_compared_as_people_type_it() {
        let zero = Fingerprint([0; 32]);
        let code = VerificationCode::compute(&zero, &zero, &[0; 32], &[0; 32]);
        let machine = machine(Some(code.clone()));
        let typed = code.as_str().to_lowercase().replace('-', " ");
        assert!(check_code(&typed, &machine).is_ok());
        assert!(check_code(code.as_str(), &machine).is_ok());
        let wrong: String = code.as_str().chars().rev().collect();
        for bad in [wrong.as_str(), "", &code.as_str()[..8]] {
            assert!(check_code(bad, &machine).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_a_code_nothing_matches() {
        assert!(check_code("", &machine(None)).is_err());
    }
}
