//! `meadow join`.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use meadow_client::Client;
use meadow_controllers::join::{self, JoinResult};
use meadow_controllers::paths::Paths;
use meadow_host::files;
use meadow_model::Secret;

use crate::args::JoinArgs;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::output::say;

/// Longest token file, in bytes.
const MAX_TOKEN: u64 = 4096;

pub(super) async fn run(args: &JoinArgs) -> anyhow::Result<()> {
    let token = read_token(&args.token_file)?;
    join::request(&args.root, &args.host, token)?;
    if args.no_wait {
        say("The agent of this computer will join. Start it with: systemctl enable --now meadowd");
        return Ok(());
    }
    say("Waiting for the agent of this computer; if it is not running: systemctl enable --now meadowd");
    let limit = Duration::from_secs(args.timeout.into());
    let Ok(result) = tokio::time::timeout(limit, join::wait(&args.root)).await else {
        return Err(late(args).await.into());
    };
    match result? {
        JoinResult::Joined { node, cluster } => {
            say(&format!(
                "This computer is the node {node} of the cluster {cluster}. See it there with: meadow node ls"
            ));
            Ok(())
        }
        JoinResult::Refused { why } => Err(Failure::new(Exit::NotAllowed, why).into()),
    }
}

/// What the agent was waiting for when the time was over.
async fn late(args: &JoinArgs) -> Failure {
    let waited = duration::short(args.timeout.into());
    let agent = Client::unix(Paths::below(&args.root).socket());
    let message = match agent.self_view().await {
        Ok(view) => format!(
            "this computer has not joined in {waited}, and its agent keeps trying: {}\nTo try something else, run `meadow join` again",
            view.detail
        ),
        Err(error) => format!(
            "this computer has not joined in {waited}: {error}\nStart its agent with: systemctl enable --now meadowd"
        ),
    };
    Failure::new(Exit::TimedOut, message)
}

pub(super) fn read_token(path: &Path) -> anyhow::Result<Secret<String>> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut text)?;
        text
    } else {
        let contents = files::read(path, MAX_TOKEN)?;
        let mode = path.metadata()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let shown = path.display();
            say(&format!("warning: {shown} can be read by others (mode {mode:04o}); run `chmod 600 {shown}`"));
        }
        String::from_utf8(contents).map_err(|_| Failure::usage(format!("{} holds no token", path.display())))?
    };
    let token = text.trim().to_owned();
    if token.is_empty() {
        return Err(Failure::usage(
            "the token file is empty; write the line that `meadow token create` printed into it",
        )
        .into());
    }
    Ok(Secret::new(token))
}
