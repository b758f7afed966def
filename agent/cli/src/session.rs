//! Which cluster the command line talks to.

use std::path::{Path, PathBuf};

use meadow_client::{Client, ClientError, Context, ContextError, LOCAL_SOCKET, context_folder};

use crate::args::Connection;

/// The folder of this user's contexts.
pub(crate) fn contexts() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    context_folder(variable("XDG_CONFIG_HOME").as_deref(), variable("HOME").as_deref())
}

/// A client of the cluster that is meant: the socket or context that was named, else the only context, else the agent
/// of this computer.
///
/// # Errors
/// Where there is none, or it cannot be used.
pub(crate) fn connect(connection: &Connection) -> anyhow::Result<Client> {
    Ok(match way(connection)? {
        Way::Socket(path) => Client::unix(path),
        Way::Context(context) => Client::of_context(&context)?,
    })
}

/// The agent of this very computer: the socket that was named, else the usual one.
pub(crate) fn own_agent(connection: &Connection) -> Client {
    Client::unix(connection.socket.clone().unwrap_or_else(|| PathBuf::from(LOCAL_SOCKET)))
}

/// Addresses of that cluster's API for other computers; none where it is reached through this computer's socket.
///
/// # Errors
/// As [`connect`].
pub(crate) fn addresses(connection: &Connection) -> anyhow::Result<Vec<String>> {
    Ok(match way(connection)? {
        Way::Socket(_) => Vec::new(),
        Way::Context(context) => context.api,
    })
}

/// How the cluster is reached.
enum Way {
    Socket(PathBuf),
    Context(Box<Context>),
}

fn way(connection: &Connection) -> anyhow::Result<Way> {
    if let Some(socket) = &connection.socket {
        return Ok(Way::Socket(socket.clone()));
    }
    let folder = contexts();
    let named_in_environment = || std::env::var("MEADOW_CONTEXT").ok();
    let name = connection.context.clone().or_else(named_in_environment).filter(|name| !name.is_empty());
    let context = match name {
        Some(name) => named(&folder, &name)?,
        None => match Context::only(&folder) {
            Err(ContextError::None(_)) if Path::new(LOCAL_SOCKET).exists() => {
                return Ok(Way::Socket(PathBuf::from(LOCAL_SOCKET)));
            }
            other => other.map_err(ClientError::from)?,
        },
    };
    Ok(Way::Context(Box::new(context)))
}

fn named(folder: &Path, name: &str) -> anyhow::Result<Context> {
    let path = Context::path(folder, name);
    if path.exists() || name.contains('/') {
        return Ok(Context::load(&path)?);
    }
    let names = Context::names(folder)?;
    let nearest = crate::suggest::nearest(name, names.iter().map(String::as_str));
    let hint = nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(anyhow::anyhow!("there is no context \"{name}\" in {}{hint}", folder.display()))
}
