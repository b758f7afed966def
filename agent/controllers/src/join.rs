//! Joins a cluster by token: what `meadow join` asks the agent of this computer to do.

use std::path::Path;
use std::time::Duration;

use meadow_client::API_PORT;
use meadow_host::files::{self, Access, FileError};
use meadow_model::{Name, Secret};
use serde::{Deserialize, Serialize};

use crate::paths::Paths;
use crate::stored::{self, StoredError};

/// How often the result is looked for.
const POLL: Duration = Duration::from_millis(200);

/// The wish, as `meadow join` leaves it for the agent: mode 0600, removed when it is fulfilled or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Base URLs of the API.
    pub api: Vec<String>,
    /// The token's text.
    pub token: Secret<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum JoinResult {
    /// This computer is a node.
    Joined {
        /// Its name.
        node: Name,
        /// Its cluster.
        cluster: String,
    },
    /// It was refused.
    Refused {
        /// Why, with the next step.
        why: String,
    },
}

/// The wish cannot be left for the agent.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] meadow_enroll::InvalidToken),
    /// The computer is a node already.
    #[error("this computer is already a node of the cluster \"{0}\"; remove it there first")]
    Member(String),
    /// The computer has made a cluster of its own.
    #[error("this computer has made a cluster of its own with `meadow init`; it cannot join another one")]
    Founder,
    /// A file.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The base URL of a host given as `host`, `host:port`, `[v6]` or `[v6]:port`.
#[must_use]
pub fn base_url(host: &str) -> String {
    let has_port = match host.rsplit_once(':') {
        Some((before, port)) => port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')),
        None => false,
    };
    let bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    match (has_port, bare_v6) {
        (_, true) => format!("https://[{host}]:{API_PORT}"),
        (true, _) => format!("https://{host}"),
        (false, _) => format!("https://{host}:{API_PORT}"),
    }
}

/// Leaves the wish for the agent, which may be running or be started later.
///
/// # Errors
/// [`JoinError`] where this computer cannot join anything, or a file cannot be written.
pub fn request(root: &Path, host: &str, token: Secret<String>) -> Result<(), JoinError> {
    token.expose().parse::<meadow_enroll::JoinToken>()?;
    let paths = Paths::below(root);
    if let Some(membership) = stored::load::<crate::membership::Membership>(&paths.state().membership())? {
        return Err(JoinError::Member(membership.cluster));
    }
    if files::read_optional(&paths.state().bootstrap(), 4 << 20)?.is_some() {
        return Err(JoinError::Founder);
    }
    files::make_folder(&paths.state_dir(), Access::Private)?;
    files::remove(&paths.join_result())?;
    Ok(stored::save(&paths.join_request(), &JoinRequest { api: vec![base_url(host)], token })?)
}

/// Waits until the agent has fulfilled the wish or was refused.
///
/// # Errors
/// [`JoinError`] where the result cannot be read.
pub async fn wait(root: &Path) -> Result<JoinResult, JoinError> {
    let paths = Paths::below(root);
    loop {
        if let Some(result) = stored::load(&paths.join_result())? {
            return Ok(result);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Notes that `request` was refused, unless `meadow join` has left another wish by now.
///
/// # Errors
/// [`JoinError`] where a file cannot be read or written.
pub fn refuse(paths: &Paths, request: &JoinRequest, why: String) -> Result<(), JoinError> {
    match stored::load::<JoinRequest>(&paths.join_request())? {
        Some(newer) if newer != *request => Ok(()),
        _ => conclude(paths, &JoinResult::Refused { why }),
    }
}

/// Notes how a wish ended, and takes the wish with its token away.
///
/// # Errors
/// [`JoinError`] where a file cannot be written.
pub fn conclude(paths: &Paths, result: &JoinResult) -> Result<(), JoinError> {
    stored::save(&paths.join_result(), result)?;
    Ok(files::remove(&paths.join_request())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_all_their_forms() {
        for (host, url) in [
            ("seed", "https://seed:7443"),
            ("seed:1234", "https://seed:1234"),
            ("192.0.2.1", "https://192.0.2.1:7443"),
            ("192.0.2.1:1234", "https://192.0.2.1:1234"),
            ("fd00::1", "https://[fd00::1]:7443"),
            ("[fd00::1]", "https://[fd00::1]:7443"),
            ("[fd00::1]:1234", "https://[fd00::1]:1234"),
        ] {
            assert_eq!(base_url(host), url);
        }
    }

    #[test]
    fn a_wish_is_private_and_only_for_those_who_belong_nowhere() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("folder");
        let paths = Paths::below(root.path());
        let id = Name::new("t-1").expect("valid");
        let token = meadow_enroll::JoinToken::from_random(id, meadow_model::Fingerprint([1; 32]), [2; 20]).text();
        request(root.path(), "seed", token.clone()).expect("left");
        let mode = std::fs::metadata(paths.join_request()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let nonsense = request(root.path(), "seed", Secret::new("nonsense".to_owned()));
        assert!(matches!(nonsense, Err(JoinError::Token(_))));
        std::fs::write(paths.state().bootstrap(), "{}").expect("written");
        assert!(matches!(request(root.path(), "seed", token), Err(JoinError::Founder)));
    }
}
