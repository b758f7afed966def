//! `meadow cluster ssh-keys`.

use std::io::Read;
use std::path::Path;

use meadow_client::Client;
use meadow_host::files;
use meadow_model::Name;
use meadow_model::cluster::Cluster;
use meadow_model::resource::List;
use meadow_model::ssh_key::{InvalidSshKey, SshKey, is_private};

use super::{Context, confirm_risk};
use crate::args::{AddKeyArgs, RemoveKeyArgs, SshKeysCommand};
use crate::exit::{Exit, Failure};
use crate::output::{Format, print_list, say};
use crate::suggest;
use crate::views::ShownSshKey;

/// Longest file of public keys, in bytes: more than a cluster may have.
const MAX_FILE: u64 = 256 * 1024;

pub(super) async fn run(context: &Context, command: SshKeysCommand) -> anyhow::Result<()> {
    match command {
        SshKeysCommand::Ls { output } => ls(context, &output.output).await,
        SshKeysCommand::Add(args) => add(context, &args).await,
        SshKeysCommand::Remove(args) => remove(context, &args).await,
    }
}

async fn ls(context: &Context, format: &Format) -> anyhow::Result<()> {
    let cluster = context.connect()?.cluster().await?;
    print_list(format, &list(&cluster))?;
    if format.is_for_people() {
        if cluster.spec.authorized_keys.is_empty() {
            say("There is none, so `meadow unlock` reaches no node. Add one with: meadow cluster ssh-keys add FILE");
        }
        tell_behind(&cluster);
    }
    Ok(())
}

async fn add(context: &Context, args: &AddKeyArgs) -> anyhow::Result<()> {
    let added = read(&args.file)?;
    let client = context.connect()?;
    let cluster = client.cluster().await?;
    let mut keys = cluster.spec.authorized_keys.clone();
    let mut known: Vec<ShownSshKey> = keys.iter().map(|key| ShownSshKey::of(key)).collect();
    for key in &added {
        let new = ShownSshKey::of(&key.to_string());
        if let Some(there) = known.iter().find(|there| there.fingerprint == new.fingerprint) {
            let message = format!("{} is there already; nothing was changed", there.in_words());
            return Err(Failure::new(Exit::Conflict, message).into());
        }
        keys.push(key.to_string());
        known.push(new);
    }
    put(&client, &cluster, keys, &args.output.output).await
}

async fn remove(context: &Context, args: &RemoveKeyArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let cluster = client.cluster().await?;
    let key = choose(&cluster.spec.authorized_keys, &args.key)?;
    let keys: Vec<String> = cluster.spec.authorized_keys.iter().filter(|other| **other != key).cloned().collect();
    if keys.is_empty() {
        let name = cluster.metadata.name.as_str();
        let consequence = format!(
            "{} is the last SSH key of the cluster. Once its nodes have heard of it, `meadow unlock` reaches none: after a restart somebody types the passphrase or the recovery key at the node's own keyboard or serial line.",
            ShownSshKey::of(&key).in_words()
        );
        confirm_risk(context, &args.risk, "last-ssh-key", name, &consequence)?;
    }
    put(&client, &cluster, keys, &args.output.output).await
}

/// Makes these the cluster's keys, if nobody has changed it since it was read.
async fn put(client: &Client, before: &Cluster, keys: Vec<String>, format: &Format) -> anyhow::Result<()> {
    let after = client.set_ssh_keys(keys, before.metadata.revision).await?;
    let (old, new) = (&before.spec.authorized_keys, &after.spec.authorized_keys);
    for (sign, keys, others) in [("-", old, new), ("+", new, old)] {
        for key in keys.iter().filter(|key| !others.contains(key)) {
            say(&format!("{sign} {}", ShownSshKey::of(key).in_words()));
        }
    }
    tell_behind(&after);
    if *format == Format::Table { Ok(()) } else { print_list(format, &list(&after)) }
}

fn list(cluster: &Cluster) -> List<ShownSshKey> {
    let items = cluster.spec.authorized_keys.iter().map(|key| ShownSshKey::of(key)).collect();
    List { version: meadow_api::FORM_VERSION, revision: cluster.metadata.revision, items, next_page: None }
}

/// Which nodes still let in whoever had a key before, and no other.
fn tell_behind(cluster: &Cluster) {
    let behind: Vec<&str> = cluster.status.ssh_keys_behind.iter().map(Name::as_str).collect();
    if !behind.is_empty() {
        say(&format!(
            "Not yet on the disks of: {}. A node writes them within seconds once it runs and reports; until then it is unlocked with the keys of before.",
            behind.join(", ")
        ));
    }
}

/// The public keys of a file, one a line; lines that begin with # are left out.
fn read(path: &Path) -> anyhow::Result<Vec<SshKey>> {
    let shown = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_FILE).read_to_end(&mut bytes)?;
        bytes
    } else {
        files::read(path, MAX_FILE)?
    };
    let wrong = |why: &str| Failure::usage(format!("{shown}: {why}"));
    let text = String::from_utf8(bytes).map_err(|_| wrong(&InvalidSshKey::NoPublicKey.to_string()))?;
    // Nothing of such a file goes anywhere, whatever else is in it.
    if is_private(&text) {
        return Err(wrong(&InvalidSshKey::Private.to_string()).into());
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let keys =
        lines.map(|(number, line)| line.parse::<SshKey>().map_err(|why| wrong(&format!("line {number}: {why}"))));
    let keys = keys.collect::<Result<Vec<_>, Failure>>()?;
    if keys.is_empty() { Err(wrong("there is no public key in it").into()) } else { Ok(keys) }
}

/// The one key that is meant.
fn choose(keys: &[String], wanted: &str) -> anyhow::Result<String> {
    let shown: Vec<(&String, ShownSshKey)> = keys.iter().map(|key| (key, ShownSshKey::of(key))).collect();
    let by_fingerprint = shown.iter().find(|(_, key)| key.fingerprint.as_deref() == Some(wanted));
    if let Some((key, _)) = by_fingerprint {
        return Ok((*key).clone());
    }
    let mut by_comment = shown.iter().filter(|(_, key)| !wanted.is_empty() && key.comment == wanted);
    match (by_comment.next(), by_comment.next()) {
        (Some((key, _)), None) => Ok((*key).clone()),
        (Some(_), Some(_)) => {
            let message = format!(
                "several keys have the comment {wanted}; name the fingerprint, as `meadow cluster ssh-keys ls` shows it"
            );
            Err(Failure::new(Exit::Conflict, message).into())
        }
        (None, _) => Err(nobody(&shown, wanted).into()),
    }
}

fn nobody(shown: &[(&String, ShownSshKey)], wanted: &str) -> Failure {
    let names =
        shown.iter().flat_map(|(_, key)| [key.fingerprint.as_deref().unwrap_or_default(), key.comment.as_str()]);
    let hint = match suggest::nearest(wanted, names) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "`meadow cluster ssh-keys ls` shows them".to_owned(),
    };
    Failure::new(
        Exit::NotFound,
        format!("no SSH key of the cluster has the fingerprint or the comment {wanted}; {hint}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home";

    #[test]
    fn a_key_is_named_by_its_fingerprint_or_a_comment_that_no_other_has() {
        let bob = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA bob".to_owned();
        let old = "ssh-dss AAAA bob".to_owned();
        let keys = [ANN.to_owned(), bob.clone(), old];
        let exit = |wanted: &str| crate::exit::exit_of(&choose(&keys, wanted).expect_err(wanted)) as u8;
        assert_eq!(choose(&keys, "ann@home").expect("one"), ANN);
        let fingerprint = bob.parse::<SshKey>().expect("a key").fingerprint().to_string();
        assert_eq!(choose(&keys, &fingerprint).expect("one"), bob);
        assert_eq!((exit("bob"), exit("carol"), exit("")), (4, 3, 3));
        assert!(choose(&keys, "ann@hom").is_err_and(|why| why.to_string().contains("did you mean ann@home?")));
    }
}
