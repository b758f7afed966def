//! `meadow node install`, and what an approval installs.

use meadow_client::Client;
use meadow_host::SystemEntropy;
use meadow_host::wireguard::PrivateKey;
use meadow_model::install::{InstallMode, InstallPlan, InstallRequest};
use meadow_model::node::Node;
use meadow_model::{Name, Secret};

use super::disks::{end, sealed_to};
use super::{Context, confirm_risk, passphrase, recovery};
use crate::args::{FollowArgs, InstallArgs, InstallTarget, Risk};
use crate::exit::{Exit, Failure};
use crate::output::{print_changed, print_one, say};
use crate::reference;
use crate::views::decimal_bytes;

/// An installation that a person has seen the plan of and wants.
pub(super) struct Consented {
    plan: InstallPlan,
    passphrase: Secret<String>,
    reboot: bool,
}

pub(super) async fn run(context: &Context, args: &InstallArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let node = reference::node(&client, &args.name).await?;
    let request = request(&args.target);
    let plan = client.plan_install(&node.metadata.name, &request).await?;
    show(&plan);
    warn_of_no_ssh(&client, &plan.node).await?;
    if args.dry_run {
        return print_one(&args.order.follow.output.output, &plan);
    }
    let consented = Consented::ask(context, plan, &args.order.risk, args.passphrase_file.as_deref(), !args.no_reboot)?;
    consented.carry_out(&client, &node, &args.order.follow).await
}

impl Consented {
    /// Lets a person consent to `plan`, which was shown, and takes a passphrase.
    ///
    /// # Errors
    /// Where it is not wanted, or there is no passphrase.
    pub(super) fn ask(
        context: &Context,
        plan: InstallPlan,
        risk: &Risk,
        passphrase_file: Option<&std::path::Path>,
        reboot: bool,
    ) -> anyhow::Result<Self> {
        let (node, serial) = (&plan.node, &plan.serial);
        let consequence = match plan.loses.as_slice() {
            [] => format!("The disk {serial} of {node} becomes Meadow's."),
            loses => format!("The disk {serial} of {node} is wiped. Lost for ever: {}.", loses.join(", ")),
        };
        confirm_risk(context, risk, "wipe-disk", serial, &consequence)?;
        let passphrase = passphrase::new(context.prompt, passphrase_file, "--passphrase-file")?;
        Ok(Self { plan, passphrase, reboot })
    }

    /// Installs `node`, unless its disk is another one than was consented to by now.
    ///
    /// # Errors
    /// With what the node says where it fails.
    pub(super) async fn carry_out(self, client: &Client, node: &Node, follow: &FollowArgs) -> anyhow::Result<()> {
        let name = &node.metadata.name;
        let mut request = bare(&self.plan.serial, self.plan.mode);
        let plan = client.plan_install(name, &request).await?;
        if !meadow_plan::install::same_consent(&self.plan, &plan) {
            show(&plan);
            let message = format!(
                "the disk {} is not as it was shown before, see above; nothing was wiped: `meadow node install {name}` asks again",
                plan.serial
            );
            return Err(Failure::new(Exit::Conflict, message).into());
        }
        let answer = PrivateKey::generate(&SystemEntropy)?;
        request.consent = Some(plan.hash);
        request.passphrase = Some(sealed_to(node, &self.passphrase)?);
        request.reply_to = Some(answer.public_key());
        request.reboot = self.reboot;
        let operation = client.install(name, &request).await?;
        if !follow.wait.no_wait {
            say("Stay until it has ended: its recovery key is shown here, once, and to nobody who left.");
        }
        let lost = |_: &anyhow::Error| {
            say(&format!(
                "Nobody gets the recovery key of this installation. Once it has ended, make one: meadow node keys recovery {name}"
            ));
        };
        let Some(ended) = end(client, operation, follow).await.inspect_err(lost)? else {
            say(&format!(
                "The recovery key is shown to whoever waits; make a new one with: meadow node keys recovery {name}"
            ));
            return Ok(());
        };
        let handed_over = recovery::hand_over(client, &ended, name, &answer).await;
        if self.reboot {
            say(&format!("{name} restarts now. When its console asks, open its state with: meadow unlock {name}"));
            say("If it ran from a stick whose seed does not say `install`, pull the stick now.");
        } else {
            say(&format!(
                "{name} goes on in memory. Its disk has it as it was a moment ago, and gets nothing of what it learns from now \
                 on: restart it soon, with: meadow node reboot {name}"
            ));
        }
        handed_over?;
        print_changed(&follow.output.output, &ended)
    }
}

/// Says whether the node can be opened over the network at all, before somebody consents.
///
/// # Errors
/// Where the cluster does not answer.
pub(super) async fn warn_of_no_ssh(client: &Client, node: &Name) -> anyhow::Result<()> {
    if client.cluster().await?.spec.authorized_keys.is_empty() {
        say(&format!(
            "WARNING: the cluster has no admin's SSH key, so `meadow unlock {node}` will not reach it: after each restart somebody types its passphrase at its own keyboard or serial line. Add one with: meadow cluster ssh-keys add FILE"
        ));
    }
    Ok(())
}

/// Shows a plan to a person.
pub(super) fn show(plan: &InstallPlan) {
    let model = plan.model.as_deref().unwrap_or("disk");
    say(&format!("{}: {model} of {}, now {}", plan.serial, decimal_bytes(plan.size_bytes), plan.disk));
    say(&match plan.loses.as_slice() {
        [] => "  It is blank: nothing is lost.".to_owned(),
        loses => format!("  LOST: {}", loses.join(", ")),
    });
    for partition in &plan.partitions {
        say(&format!("  {:>2}  {:16} {:>10}", partition.number, partition.name, decimal_bytes(partition.size)));
    }
    say(&format!("      {:16} {:>10}", "free for storage", decimal_bytes(plan.free_bytes)));
}

fn request(target: &InstallTarget) -> InstallRequest {
    match (&target.disk, &target.state_disk) {
        (_, Some(serial)) => bare(serial, InstallMode::StateOnly),
        (serial, None) => bare(serial.as_deref().unwrap_or_default(), InstallMode::System),
    }
}

/// Without consent: only the plan is made.
fn bare(serial: &str, mode: InstallMode) -> InstallRequest {
    InstallRequest {
        serial: serial.to_owned(),
        mode,
        consent: None,
        passphrase: None,
        reply_to: None,
        network: Vec::new(),
        reboot: false,
    }
}
