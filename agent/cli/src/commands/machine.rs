//! `meadow machine`.

use anyhow::Context as _;
use meadow_api::wire::{ArmRequest, MachinePatch, MachineSpecPatch, NewMachine};
use meadow_client::{Client, ListAll};
use meadow_host::files;
use meadow_model::boot::{BootOptions, BootPolicy, MAX_SCRIPT};
use meadow_model::machine::{Decision, Machine};
use meadow_model::{MacAddress, Name};

use super::{Context, approve, confirm_risk};
use crate::args::{ArmArgs, BootArgs, LsArgs, MachineCommand, OutputArgs, Policy, RejectArgs};
use crate::exit::{Exit, Failure};
use crate::output::{print_changed, print_list, print_one, say};
use crate::reference;

/// What `--image` calls the boot server's own image.
const INSTALLED: &str = "installed";

pub(super) async fn run(context: &Context, command: MachineCommand) -> anyhow::Result<()> {
    match command {
        MachineCommand::Ls(args) => ls(context, &args).await,
        MachineCommand::Show { machine, output } => {
            print_one(&output.output, &reference::machine(&context.connect()?, &machine).await?)
        }
        MachineCommand::Approve(args) => approve::run(context, &args).await,
        MachineCommand::Reject(args) => reject(context, &args).await,
        MachineCommand::Arm(args) => arm(context, args).await,
        MachineCommand::Boot(args) => boot(context, &args).await,
        MachineCommand::Wake { machine, output } => wake(context, &machine, &output).await,
    }
}

pub(super) async fn ls(context: &Context, args: &LsArgs) -> anyhow::Result<()> {
    let machines = context.connect()?.machines(&args.which()).await?;
    if machines.items.is_empty() && args.format().is_for_people() {
        say(
            "No machine was seen. Open the window with `meadow pxe open --for 1h`, or name one with `meadow machine arm MAC`.",
        );
        return Ok(());
    }
    print_list(args.format(), &machines)
}

async fn wake(context: &Context, text: &str, output: &OutputArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let is_node =
        |machine: &Machine| matches!(&machine.spec.decision, Decision::Approved { node, .. } if node.as_str() == text);
    let of_node = client.machines(&ListAll::default()).await?.items.into_iter().find(is_node);
    let machine = match of_node {
        Some(machine) => machine,
        None => match (reference::machine(&client, text).await, text.parse::<MacAddress>()) {
            // One that is off was not seen yet; from now on it has a name.
            (Err(error), Ok(mac)) if is_missing(&error) => client.create_machine(&unseen(mac)).await?,
            (machine, _) => machine?,
        },
    };
    let name = &machine.metadata.name;
    client.wake(name).await?;
    say(&format!(
        "The packet that wakes {name} is sent; nobody acknowledges it. If it stays off: is Wake-on-LAN on in its firmware, and is it on the interface that `meadow pxe status` names?"
    ));
    print_changed(&output.output, &machine)
}

async fn reject(context: &Context, args: &RejectArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let machine = reference::machine(&client, &args.machine).await?;
    let name = &machine.metadata.name;
    let consequence = format!("{name} will be turned away whenever it asks to enrol.");
    confirm_risk(context, &args.risk, "reject-machine", name.as_str(), &consequence)?;
    let rejected = client.reject(name, Some(machine.metadata.revision)).await?;
    say(&format!("{name} is rejected. If that was a mistake: meadow machine approve {name}"));
    print_changed(&args.output.output, &rejected)
}

async fn arm(context: &Context, args: ArmArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    // A name must exist, so that a slip of the finger is told with what may have been meant.
    let machine = match args.machine.parse::<MacAddress>() {
        Ok(mac) => mac.to_string(),
        Err(_) => reference::machine(&client, &args.machine).await?.metadata.name.to_string(),
    };
    let request = ArmRequest { machine, node: args.node, replaces: args.replaces, ttl_s: Some(args.ttl) };
    let armed = client.arm(&request).await?;
    let name = &armed.metadata.name;
    let until = armed.spec.armed.as_ref().map(|armed| armed.expires.to_string()).unwrap_or_default();
    say(&format!("{name} is armed until {until}: switch it on, and follow it with `meadow pxe events`."));
    print_changed(&args.output.output, &armed)
}

async fn boot(context: &Context, args: &BootArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let image = image(&client, args).await?;
    let machine: Machine = match (reference::machine(&client, &args.machine).await, args.machine.parse::<MacAddress>())
    {
        (Ok(machine), _) => {
            let spec = MachineSpecPatch {
                boot: policy(args).filter(|_| !args.once),
                plain_pxe: args.plain_pxe,
                boot_options: Some(options(args, image, machine.spec.boot_options)?),
            };
            let revision = machine.metadata.revision;
            client.patch_machine(&machine.metadata.name, &MachinePatch { spec }, revision).await?
        }
        (Err(error), Ok(mac)) if is_missing(&error) => {
            let new = NewMachine {
                mac,
                boot: policy(args).filter(|_| !args.once).unwrap_or_default(),
                plain_pxe: args.plain_pxe.unwrap_or_default(),
                boot_options: options(args, image, BootOptions::default())?,
            };
            client.create_machine(&new).await?
        }
        (Err(error), _) => return Err(error),
    };
    say(&promise(&machine));
    print_changed(&args.output.output, &machine)
}

/// A machine that nobody has seen, for which nothing is ordered.
fn unseen(mac: MacAddress) -> NewMachine {
    NewMachine { mac, boot: BootPolicy::default(), plain_pxe: false, boot_options: BootOptions::default() }
}

fn policy(args: &BootArgs) -> Option<BootPolicy> {
    args.policy.map(Into::into)
}

/// The adopted image that was asked for; `None` for the installed one.
async fn image(client: &Client, args: &BootArgs) -> anyhow::Result<Option<Name>> {
    let Some(text) = args.image.as_deref() else { return Ok(None) };
    if !matches!(args.policy, Some(Policy::Image | Policy::Hold)) {
        return Err(Failure::usage("--image goes with the policies image and hold, which boot one").into());
    }
    match text {
        INSTALLED => Ok(None),
        text => Ok(Some(reference::image_by_text(client, text).await?.metadata.name)),
    }
}

/// What it had, with what was asked for. Another policy ends what was wanted once, and the image goes with the policy.
fn options(args: &BootArgs, image: Option<Name>, before: BootOptions) -> anyhow::Result<BootOptions> {
    let script = args.script.as_ref().map(|path| {
        let bytes = files::read(path, MAX_SCRIPT as u64)?;
        String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))
    });
    let once = if args.once { policy(args) } else { before.once.filter(|_| args.policy.is_none()) };
    let (once_image, image) = match args.policy {
        Some(_) if args.once => (image, before.image),
        Some(_) => (None, image),
        None => (before.once_image, before.image),
    };
    Ok(BootOptions {
        once,
        once_image,
        image,
        kernel_arguments: args.kernel_arguments.clone().unwrap_or(before.kernel_arguments),
        script: script.transpose()?.or(before.script),
    })
}

fn promise(machine: &Machine) -> String {
    let name = &machine.metadata.name;
    let options = &machine.spec.boot_options;
    let (policy, image, when) = match options.once {
        Some(once) => (once, &options.once_image, "at its next boot, this once"),
        None => (machine.spec.boot, &options.image, "from its next boot on"),
    };
    match policy {
        BootPolicy::Ignore => format!("{name} is left alone {when}."),
        BootPolicy::Image => match image {
            Some(image) => format!("{name} boots the image {image} {when}; follow it with `meadow pxe`."),
            None => format!("{name} boots the image {when}; follow it with `meadow pxe`."),
        },
        BootPolicy::LocalDisk => format!("{name} boots its own disk {when}."),
        BootPolicy::Hold => {
            format!("{name} stays in the initramfs {when}; its console shows how to reach it by ssh.")
        }
        BootPolicy::Script => format!("{name} boots its own script {when}; follow it with `meadow pxe`."),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == Exit::NotFound)
}
