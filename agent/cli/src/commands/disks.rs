//! `meadow node keys`, `reboot`.

use meadow_client::Client;
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::Node;
use meadow_model::operation::Operation;
use meadow_model::work::{KeyTask, passphrase_purpose};
use meadow_model::{Name, Secret};
use meadow_pki::sealed;

use super::{Context, confirm_risk, header_backup, passphrase, recovery, wait};
use crate::args::{FollowArgs, KeyChangeArgs, KeysCommand, RebootArgs};
use crate::exit::{Exit, Failure};
use crate::output::{print_changed, print_one, say};
use crate::reference;

pub(super) async fn keys(context: &Context, command: KeysCommand) -> anyhow::Result<()> {
    let client = context.connect()?;
    match command {
        KeysCommand::Ls { name, output } => {
            let node = reference::node(&client, &name).await?;
            let disk = node.status.installed.ok_or_else(|| stateless(&name))?;
            print_one(&output.output, &disk)
        }
        KeysCommand::Add { label, change, new_passphrase_file, tpm } => {
            let node = reference::node(&client, &change.order.name).await?;
            let existing = sealed_to(&node, &opened_by(context, &change)?)?;
            let task = if tpm.tpm {
                let pin = if tpm.pin || tpm.pin_file.is_some() {
                    let pin = passphrase::pin(context.prompt, tpm.pin_file.as_deref())?;
                    Some(sealed_to(&node, &pin)?)
                } else {
                    None
                };
                warn_of_tpm(&node, pin.is_some());
                let default = if pin.is_some() { "with PIN" } else { "by itself" };
                KeyTask::AddTpm { existing, pin, label: label.unwrap_or_else(|| default.to_owned()) }
            } else {
                let text = passphrase::new(context.prompt, new_passphrase_file.as_deref(), "--new-passphrase-file")?;
                let label = label.unwrap_or_else(|| "passphrase".to_owned());
                KeyTask::AddPassphrase { existing, new: sealed_to(&node, &text)?, label }
            };
            changed(&client, &node, &task, &change.order.follow).await
        }
        KeysCommand::Backup { change, to } => header_backup::run(context, &client, &change, &to).await,
        KeysCommand::Recovery { change, yes } => recovery::run(context, &client, &change, yes).await,
        KeysCommand::Remove { name, slot, order } => {
            let node = reference::node(&client, &name).await?;
            let consequence = format!("What opened slot {slot} of {name} opens it no more.");
            confirm_risk(context, &order.risk, "remove-key", name.as_str(), &consequence)?;
            changed(&client, &node, &KeyTask::Remove { slot }, &order.follow).await
        }
    }
}

pub(super) async fn reboot(context: &Context, args: &RebootArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let node = reference::node(&client, &args.name).await?;
    let name = &node.metadata.name;
    let consequence = match (&node.status.installed, node.spec.ephemeral) {
        (Some(_), _) => {
            format!("{name} restarts and then waits until its state is opened with `meadow unlock {name}`.")
        }
        (None, true) => format!("{name} keeps nothing: it comes back as a new machine that waits for approval."),
        (None, false) => format!("{name} restarts."),
    };
    confirm_risk(context, &args.order.risk, "reboot", name.as_str(), &consequence)?;
    let operation = client.reboot(name).await?;
    match end(&client, operation, &args.order.follow).await? {
        Some(ended) => print_changed(&args.order.follow.output.output, &ended),
        None => Ok(()),
    }
}

async fn changed(client: &Client, node: &Node, task: &KeyTask, follow: &FollowArgs) -> anyhow::Result<()> {
    let operation = client.change_keys(&node.metadata.name, task).await?;
    match end(client, operation, follow).await? {
        Some(ended) => print_changed(&follow.output.output, &ended),
        None => Ok(()),
    }
}

/// What a person should know who trusts a TPM.
fn warn_of_tpm(node: &Node, with_pin: bool) {
    let secure_boot = node.status.hardware.as_ref().and_then(|hardware| hardware.secure_boot);
    if secure_boot != Some(true) {
        say(
            "Secure Boot is off: the TPM slot protects a disk that leaves this machine, not from who starts another system on it.",
        );
    } else if !with_pin {
        say(
            "The state opens by itself on this machine; who steals the whole machine has one that runs. --pin asks for more.",
        );
    }
}

/// The ended operation; `None` where it is not waited for.
pub(super) async fn end(
    client: &Client,
    operation: Operation,
    follow: &FollowArgs,
) -> anyhow::Result<Option<Operation>> {
    let name = operation.metadata.name.clone();
    if follow.wait.no_wait {
        say(&format!("Begun. Follow it with: meadow operation show {name}"));
        print_one(&follow.output.output, &operation)?;
        return Ok(None);
    }
    say(&format!("Begun (Ctrl-C leaves operation {name} running)."));
    wait::until_done(client, operation, follow.wait.timeout).await.map(Some)
}

pub(super) fn opened_by(context: &Context, change: &KeyChangeArgs) -> anyhow::Result<Secret<String>> {
    passphrase::existing(context.prompt, change.passphrase_file.as_deref(), "Passphrase or recovery key now:")
}

pub(super) fn sealed_to(node: &Node, text: &Secret<String>) -> anyhow::Result<meadow_model::install::Sealed> {
    let to: &WireGuardKey = &node.spec.wireguard;
    Ok(sealed::seal(to, &passphrase_purpose(&node.metadata.name), text)?)
}

fn stateless(name: &Name) -> Failure {
    let message = format!("{name} has no state on a disk; install it with `meadow node install {name}`");
    Failure::new(Exit::Conflict, message)
}
