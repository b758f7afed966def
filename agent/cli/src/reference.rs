//! Finds the resource that a person means, or the one that they may have meant.

use meadow_client::{Client, ClientError, ListAll};
use meadow_model::machine::Machine;
use meadow_model::node::Node;
use meadow_model::operation::Operation;
use meadow_model::token::Token;
use meadow_model::{MacAddress, Name, ProblemCode};

use crate::exit::{Exit, Failure};
use crate::suggest;

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
    match client.node(name).await {
        Err(error) if is_missing(&error) => {
            let nodes = client.nodes(&ListAll::default()).await.map(|list| list.items).unwrap_or_default();
            Err(missing("node", name.as_str(), nodes.into_iter().map(|node| node.metadata.name).collect()))
        }
        other => Ok(other?),
    }
}

/// The token with this id.
///
/// # Errors
/// As [`machine`].
pub(crate) async fn token(client: &Client, name: &Name) -> anyhow::Result<Token> {
    match client.token(name).await {
        Err(error) if is_missing(&error) => {
            let tokens = client.tokens(&ListAll::default()).await.map(|list| list.items).unwrap_or_default();
            Err(missing("token", name.as_str(), tokens.into_iter().map(|token| token.metadata.name).collect()))
        }
        other => Ok(other?),
    }
}

/// The operation with this name.
///
/// # Errors
/// As [`machine`].
pub(crate) async fn operation(client: &Client, name: &Name) -> anyhow::Result<Operation> {
    match client.operation(name).await {
        Err(error) if is_missing(&error) => {
            let all = client.operations(&ListAll::default()).await.map(|list| list.items).unwrap_or_default();
            Err(missing("operation", name.as_str(), all.into_iter().map(|o| o.metadata.name).collect()))
        }
        other => Ok(other?),
    }
}

async fn machine_names(client: &Client) -> Vec<Name> {
    let machines = client.machines(&ListAll::default()).await.map(|list| list.items).unwrap_or_default();
    machines.into_iter().map(|machine| machine.metadata.name).collect()
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
