//! `meadow image`.

use std::path::Path;

use anyhow::Context as _;
use data_encoding::BASE64;
use meadow_client::{Client, ClientError, ListAll};
use meadow_host::files;
use meadow_model::ProblemCode;
use meadow_model::image::{Image, IncomingArtifact, IncomingImage, OfferedImage, RolloutRequest};
use meadow_model::operation::Operation;

use super::{Context, confirm_risk, disks, flash, seed};
use crate::args::{
    AddArgs, CourseArgs, ImageCommand, LsArgs, RemoveImageArgs, RollbackArgs, RolloutArgs, StickCommand,
};
use crate::output::{print_changed, print_list, print_one, say};
use crate::reference;

/// Bytes that are sent at a time.
const PIECE: u64 = 512 << 10;
const LARGEST_MANIFEST: u64 = 512 << 10;

pub(super) async fn run(context: &Context, command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Ls(args) => ls(context, &args).await,
        ImageCommand::Show { image, output } => {
            print_one(&output.output, &reference::image(&context.connect()?, &image).await?)
        }
        ImageCommand::Add(args) => add(context, &args).await,
        ImageCommand::Rollout(args) => rollout(context, &args).await,
        ImageCommand::Rollback(args) => rollback(context, &args).await,
        ImageCommand::Remove(args) => remove(context, &args).await,
        ImageCommand::Stick(StickCommand::Flash(args)) => flash::run(context, args).await,
        ImageCommand::Stick(StickCommand::Seed(args)) => seed::run(context, &args).await,
    }
}

pub(super) async fn ls(context: &Context, args: &LsArgs) -> anyhow::Result<()> {
    print_list(args.format(), &context.connect()?.images(&args.which()).await?)
}

async fn add(context: &Context, args: &AddArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let offered = offer_of(&args.folder)?;
    let mut incoming = client.offer_image(&offered).await?;
    while let Some(part) = incoming.missing.first() {
        let whole = |part: &&IncomingArtifact| part.size - part.have;
        let left: u64 = incoming.missing.iter().map(|part| whole(&part)).sum();
        say(&format!("  {}: {} bytes, of {left} that are left", part.name, part.size));
        match send(&client, &args.folder, &incoming, part).await {
            Ok(()) => {}
            // An answer was lost, and the piece had come: the next offer says where to go on.
            Err(error) if is_conflict(&error) => say("  going on where the cluster has come to"),
            Err(error) => return Err(error),
        }
        incoming = client.offer_image(&offered).await?;
    }
    let image = client.adopt_image(&incoming.digest).await?;
    let name = &image.metadata.name;
    say(&match newer_than(&client, &image).await? {
        None => format!("The cluster has the image {name}. Update the nodes with: meadow image rollout {name}"),
        Some(newer) => format!(
            "The cluster has the image {name}, which is older than {}, which was rolled out. An older image brings back mended \
             faults; if that is meant: meadow image rollout {name} --allow-older",
            newer.spec.version
        ),
    });
    print_changed(&args.output.output, &image)
}

/// An image that was rolled out and is newer than this one.
async fn newer_than(client: &Client, image: &Image) -> anyhow::Result<Option<Image>> {
    let rolled_out = client.images(&ListAll::default()).await?.items.into_iter();
    let mut newer = rolled_out.filter(|other| other.status.rolled_out.is_some() && other.spec.age() > image.spec.age());
    Ok(newer.next())
}

fn offer_of(folder: &Path) -> anyhow::Result<OfferedImage> {
    let missing = || format!("{} holds no image; `make image` puts one into target/image", folder.display());
    let manifest = files::read(&folder.join("manifest.json"), LARGEST_MANIFEST).with_context(missing)?;
    let signature = files::read(&folder.join("manifest.json.sig"), 64 << 10).with_context(missing)?;
    let manifest = String::from_utf8(manifest).context("the manifest is no text; build the image again")?;
    Ok(OfferedImage { manifest, signature: BASE64.encode(&signature) })
}

async fn send(client: &Client, folder: &Path, image: &IncomingImage, part: &IncomingArtifact) -> anyhow::Result<()> {
    let path = folder.join(&part.name);
    let mut offset = part.have;
    while offset < part.size {
        let piece = files::read_piece(&path, offset, PIECE).context("build the image again")?;
        anyhow::ensure!(
            !piece.is_empty(),
            "{} is shorter than its manifest says; build the image again",
            path.display()
        );
        offset = client.put_image_piece(&image.digest, &part.name, offset, piece.into()).await?;
    }
    Ok(())
}

fn is_conflict(error: &anyhow::Error) -> bool {
    let problem = error.downcast_ref::<ClientError>().and_then(ClientError::problem);
    problem.is_some_and(|problem| problem.code == ProblemCode::Conflict)
}

async fn rollout(context: &Context, args: &RolloutArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let Some(image) = &args.image else { return call_off(&client, &args.course).await };
    let image = reference::image(&client, image).await?;
    let name = &image.metadata.name;
    confirm(context, &args.course, name.as_str(), &format!("The nodes restart into {}", image.spec.version))?;
    let without_majority = args.course.without_majority;
    let request = RolloutRequest { allow_older: args.allow_older, without_majority };
    follow(&client, client.rollout(name, &request).await?, &args.course).await
}

async fn call_off(client: &Client, course: &CourseArgs) -> anyhow::Result<()> {
    let ended = client.call_off_rollout().await?;
    let why = ended.status.error.as_deref().unwrap_or("the rollout had ended");
    say(&format!("The rollout {} is over: {why}.", ended.metadata.name));
    say("A node that tries the image now goes back by itself. Those left out take it with: meadow image rollout IMAGE");
    print_changed(&course.follow.output.output, &ended)
}

async fn rollback(context: &Context, args: &RollbackArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    confirm(context, &args.course, "rollback", "The nodes restart into the image that they ran before")?;
    let request = RolloutRequest { allow_older: true, without_majority: args.course.without_majority };
    follow(&client, client.rollback(&request).await?, &args.course).await
}

fn confirm(context: &Context, course: &CourseArgs, name: &str, what: &str) -> anyhow::Result<()> {
    let consequence = format!(
        "{what}, one after the other. Each one waits until its state is opened (`meadow unlock`), and one that is not well \
         with it goes back by itself."
    );
    confirm_risk(context, &course.risk, "restart-nodes", name, &consequence)
}

async fn follow(client: &Client, operation: Operation, course: &CourseArgs) -> anyhow::Result<()> {
    match disks::end(client, operation, &course.follow).await? {
        Some(ended) => print_changed(&course.follow.output.output, &ended),
        None => Ok(()),
    }
}

async fn remove(context: &Context, args: &RemoveImageArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let image = reference::image(&client, &args.image).await?;
    let name = &image.metadata.name;
    let consequence = format!("{name} cannot be rolled out any more until it is added again.");
    confirm_risk(context, &args.risk, "remove-image", name.as_str(), &consequence)?;
    client.remove_image(name, image.metadata.revision).await?;
    say(&format!("{name} is forgotten."));
    print_changed(&args.output.output, &image)
}
