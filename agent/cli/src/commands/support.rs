//! `meadow support bundle`.

use std::fs::OpenOptions;
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use meadow_client::{Client, ListAll};
use meadow_controllers::paths::Paths;
use meadow_controllers::support::{self, entry, file_name, json};
use meadow_host::{Clock, SystemClock};
use meadow_model::work::SupportTask;

use super::{Context, wait};
use crate::args::BundleArgs;
use crate::exit::Failure;
use crate::output::{put, say};
use crate::{reference, session};

/// An agent that hangs is one of the reasons to make a bundle.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) async fn bundle(context: &Context, args: &BundleArgs) -> anyhow::Result<()> {
    match (&args.node, &args.to, &args.stick) {
        (Some(node), _, Some(stick)) => {
            let client = context.connect()?;
            let node = reference::node(&client, node).await?;
            let task = SupportTask { stick: stick.clone() };
            let operation = client.support(&node.metadata.name, &task).await?;
            if args.wait.no_wait {
                return put(&format!("{}\n", operation.metadata.name));
            }
            wait::until_done(&client, operation, args.wait.timeout).await?;
            say(&format!(
                "meadow-support-{}-….tar.gz is on the stick {stick}; it is safe to pull.",
                node.metadata.name
            ));
            Ok(())
        }
        (None, _, Some(stick)) => {
            let task = SupportTask { stick: stick.clone() };
            let said = session::own_agent(&context.connection).support_self(&task).await?;
            put(&format!("{}\n", said.message))
        }
        (None, Some(file), None) => here(context, file).await,
        (_, None, None) | (Some(_), _, None) => Err(Failure::usage("say --to FILE or --stick SERIAL").into()),
    }
}

/// Of this computer, without an agent where there is none.
async fn here(context: &Context, file: &Path) -> anyhow::Result<()> {
    let client = session::own_agent(&context.connection);
    let agent = tokio::time::timeout(ANSWER, asked(&client)).await.unwrap_or_default();
    let (paths, path) = (Paths::below("/"), file.to_owned());
    let made = tokio::task::spawn_blocking(move || {
        let bundle = support::bundle(&paths, agent);
        let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let seconds = u64::try_from(SystemClock.wall().as_millis() / 1000).unwrap_or(0);
        bundle.pack(file_name("here").trim_end_matches(".tar.gz"), seconds, BufWriter::new(to))
    });
    made.await?.with_context(|| format!("cannot write {}; name a file that is not there yet", file.display()))?;
    say("No key, token or passphrase of this computer is in it; read it before you give it away all the same.");
    put(&format!("{}\n", file.display()))
}

/// What the agent of this computer tells, of itself and on a voter of the cluster.
async fn asked(client: &Client) -> Vec<support::Entry> {
    let all = ListAll::default();
    let mut entries = Vec::new();
    entries.extend(client.self_view().await.ok().map(|told| entry("agent/self.json", json(&told))));
    entries.extend(client.health().await.ok().map(|told| entry("agent/health.json", json(&told))));
    entries.extend(client.cluster().await.ok().map(|told| entry("cluster/cluster.json", json(&told))));
    entries.extend(client.nodes(&all).await.ok().map(|told| entry("cluster/nodes.json", json(&told))));
    entries.extend(client.machines(&all).await.ok().map(|told| entry("cluster/machines.json", json(&told))));
    entries.extend(client.images(&all).await.ok().map(|told| entry("cluster/images.json", json(&told))));
    entries.extend(client.operations(&all).await.ok().map(|told| entry("cluster/operations.json", json(&told))));
    entries.extend(client.events(&all, 0).await.ok().map(|told| entry("cluster/events.json", json(&told))));
    entries.extend(client.pxe().await.ok().map(|told| entry("cluster/pxe.json", json(&told))));
    entries
}
