//! Finds the resource that a person means, or the one that they may have meant.

use meadow_client::{Client, ClientError, ListAll};
use meadow_model::image::Image;
use meadow_model::machine::Machine;
use meadow_model::node::Node;
use meadow_model::operation::Operation;
use meadow_model::resource::List;
use meadow_model::token::Token;
use meadow_model::{MacAddress, Name, ProblemCode, Resource};

use crate::exit::{Exit, Failure};
use crate::suggest;

/// Characters of a digest that a person has to write at least.
const SHORTEST_DIGEST: usize = 6;

/// The machine with this name or MAC address.
///
/// # Errors
/// Where there is none, with the name that may have been meant.
pub(crate) async fn machine(client: &Client, text: &str) -> anyhow::Result<Machine> {
    if let Ok(mac) = text.parse::<MacAddress>() {
        let which = ListAll { filter: Some(format!("mac={mac}")), sort: None };
        let found = client.machines(&which).await?.items.into_iter().next();
        return found.ok_or_else(|| {
            let message =
                format!("no machine with {mac} was seen; did it boot from the network? `meadow pxe events` tells");
            Failure::new(Exit::NotFound, message).into()
        });
    }
    let found = match text.parse::<Name>() {
        Ok(name) => client.machine(&name).await,
        Err(_) => return Err(missing("machine", text, machine_names(client).await)),
    };
    match found {
        Err(error) if is_missing(&error) => Err(missing("machine", text, machine_names(client).await)),
        other => Ok(other?),
    }
}

/// The node with this name.
///
/// # Errors
/// As [`machine`].
pub(crate) async fn node(client: &Client, name: &Name) -> anyhow::Result<Node> {
    named("node", name, client.node(name), client.nodes(&ListAll::default())).await
}

/// The image with this name.
///
/// # Errors
/// As [`machine`].
pub(crate) async fn image(client: &Client, name: &Name) -> anyhow::Result<Image> {
    named("image", name, client.image(name), client.images(&ListAll::default())).await
}

/// The image with this version, name, or digest or beginning of one.
///
/// # Errors
/// Where there is none, or where several begin so.
pub(crate) async fn image_by_text(client: &Client, text: &str) -> anyhow::Result<Image> {
    let images = client.images(&ListAll::default()).await?.items;
    let is_exact = |image: &&Image| image.spec.version == text || image.metadata.name.as_str() == text;
    if let Some(image) = images.iter().find(is_exact) {
        return Ok(image.clone());
    }
    let begins = text.len() >= SHORTEST_DIGEST;
    let found: Vec<&Image> = images.iter().filter(|image| begins && image.spec.digest.starts_with(text)).collect();
    match found.as_slice() {
        [image] => Ok((*image).clone()),
        [] => Err(missing("image", text, images.into_iter().map(|image| image.metadata.name).collect())),
        _ => Err(Failure::usage(format!("several images begin with {text}; write more of the digest")).into()),
    }
}

/// The token with this id.
///
/// # Errors
/// As [`machine`].
pub(crate) async fn token(client: &Client, name: &Name) -> anyhow::Result<Token> {
    named("token", name, client.token(name), client.tokens(&ListAll::default())).await
}

/// The operation with this name.
///
/// # Errors
/// As [`machine`].
pub(crate) async fn operation(client: &Client, name: &Name) -> anyhow::Result<Operation> {
    named("operation", name, client.operation(name), client.operations(&ListAll::default())).await
}

/// What `one` finds; where there is none, `all` are asked for and the nearest name is told.
async fn named<S, T>(
    kind: &str,
    name: &Name,
    one: impl Future<Output = Result<Resource<S, T>, ClientError>>,
    all: impl Future<Output = Result<List<Resource<S, T>>, ClientError>>,
) -> anyhow::Result<Resource<S, T>> {
    match one.await {
        Err(error) if is_missing(&error) => Err(missing(kind, name.as_str(), names(all).await)),
        other => Ok(other?),
    }
}

async fn names<S, T>(all: impl Future<Output = Result<List<Resource<S, T>>, ClientError>>) -> Vec<Name> {
    let all = all.await.map(|list| list.items).unwrap_or_default();
    all.into_iter().map(|resource| resource.metadata.name).collect()
}

async fn machine_names(client: &Client) -> Vec<Name> {
    names(client.machines(&ListAll::default())).await
}

fn is_missing(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.code == ProblemCode::NotFound)
}

fn missing(kind: &str, typed: &str, names: Vec<Name>) -> anyhow::Error {
    let hint = match suggest::nearest(typed, names.iter().map(Name::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("list them with `meadow {kind} ls`"),
    };
    Failure::new(Exit::NotFound, format!("there is no {kind} \"{typed}\"; {hint}")).into()
}
