//! `meadow node keys recovery`, and the recovery key that an installation makes.

use anyhow::Context as _;
use meadow_client::{Client, ClientError};
use meadow_host::SystemEntropy;
use meadow_host::wireguard::PrivateKey;
use meadow_model::operation::Operation;
use meadow_model::work::{KeyTask, answer_purpose};
use meadow_model::{Name, ProblemCode, Secret};
use meadow_pki::sealed;

use super::disks::{opened_by, sealed_to};
use super::{Context, wait};
use crate::args::KeyChangeArgs;
use crate::exit::{Exit, Failure};
use crate::output::{put, say};
use crate::prompt::Prompt;
use crate::reference;

/// In two steps: the older keys open until a person has the new one, so that nothing that breaks off in between leaves none.
pub(super) async fn run(context: &Context, client: &Client, change: &KeyChangeArgs, yes: bool) -> anyhow::Result<()> {
    let follow = &change.order.follow;
    if follow.wait.no_wait {
        let message = "a recovery key is shown to whoever waits for it: leave --no-wait out; nothing was done";
        return Err(Failure::usage(message).into());
    }
    if !yes && !context.prompt.is_allowed() {
        let message = "somebody has to say that the new recovery key is written down, and there is nobody to ask; --yes removes the older ones as soon as it is on standard output; nothing was done";
        return Err(Failure::usage(message).into());
    }
    let node = reference::node(client, &change.order.name).await?;
    let name = &node.metadata.name;
    let existing = sealed_to(&node, &opened_by(context, change)?)?;
    let reply_to = PrivateKey::generate(&SystemEntropy)?;
    let task = KeyTask::NewRecoveryKey { existing, reply_to: reply_to.public_key() };
    let added = ordered(client, name, &task, follow.wait.timeout).await?;
    let prompt = (!yes).then_some(context.prompt);
    let key = shown(client, &added, &reply_to, prompt).await.inspect_err(|_| {
        say(&format!("The older recovery keys of {name} open as before. Ask again: meadow node keys recovery {name}"));
    })?;
    let kept = sealed_to(&node, &key)?;
    let ended = ordered(client, name, &KeyTask::EndOlderRecoveryKeys { kept }, follow.wait.timeout).await;
    ended.inspect_err(|_| {
        say(&format!("The new recovery key opens, and older ones may do so too: meadow node keys ls {name}"));
    })?;
    say(&format!("This is the one recovery key of {name} now; older ones open nothing any more."));
    Ok(())
}

/// The new key, once a person has it: told by `prompt`, or written where nobody is to be asked.
async fn shown(
    client: &Client,
    added: &Operation,
    reply_to: &PrivateKey,
    prompt: Option<Prompt>,
) -> anyhow::Result<Secret<String>> {
    let lost = || Failure::new(Exit::Failed, "the answer with the new recovery key is lost: nobody has it");
    let key = answer(client, added, &added.spec.target, reply_to).await?.ok_or_else(lost)?;
    show(&key)?;
    if let Some(prompt) = prompt {
        confirm(prompt, &key)?;
    }
    Ok(key)
}

async fn ordered(client: &Client, node: &Name, task: &KeyTask, timeout_s: u32) -> anyhow::Result<Operation> {
    let operation = client.change_keys(node, task).await?;
    wait::until_done(client, operation, timeout_s).await
}

/// Lets a person type the end of the key, until it is right.
fn confirm(prompt: Prompt, key: &Secret<String>) -> anyhow::Result<()> {
    let last = key.expose().rsplit('-').next().unwrap_or_default();
    let question = "The older recovery key opens the state until you have this one on paper. Type its last group to remove the older one (nothing to keep both):";
    loop {
        let typed = Secret::new(prompt.ask(question, "use --yes")?);
        if typed.expose().eq_ignore_ascii_case(last) && !last.is_empty() {
            return Ok(());
        }
        if typed.expose().is_empty() {
            return Err(Failure::usage("the older recovery key was not removed: both open the state").into());
        }
        say("That is not its last group.");
    }
}

/// The recovery key that a node answered with; `None` where it sent none, or the voter has it no more.
///
/// # Errors
/// Where the cluster does not answer, or the answer is not for `reply_to`.
pub(super) async fn answer(
    client: &Client,
    operation: &Operation,
    node: &Name,
    reply_to: &PrivateKey,
) -> anyhow::Result<Option<Secret<String>>> {
    let sealed = match client.operation_answer(&operation.metadata.name).await {
        Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => return Ok(None),
        sealed => sealed?,
    };
    let key = sealed::open(reply_to.expose(), &answer_purpose(node), &sealed);
    key.map(Some).context("the recovery key cannot be read")
}

/// The key goes to stdout: it is the one thing that can be lost.
///
/// # Errors
/// Where stdout takes nothing. A reader that is gone is no success here: nobody has the key then.
pub(super) fn show(key: &Secret<String>) -> Result<(), Failure> {
    say("The recovery key opens the state when the passphrase is lost. It is shown this once; keep it on paper:");
    written(put(&format!("{}\n", key.expose())))
}

/// What it means that the key was `put` or not, as no error of reading and writing, which would end as one of those do.
fn written(put: anyhow::Result<()>) -> Result<(), Failure> {
    put.map_err(|error| Failure::new(Exit::Failed, format!("nobody has the new recovery key: {error:#}")))
}

/// Hands over the recovery key that the installation of `node` made; says so where there is none, which is no error: an
/// earlier try made it.
///
/// # Errors
/// Where there may be one and nobody has it, with what to type.
pub(super) async fn hand_over(
    client: &Client,
    ended: &Operation,
    node: &Name,
    reply_to: &PrivateKey,
) -> anyhow::Result<()> {
    handed_over(answer(client, ended, node, reply_to).await, node, show)
}

fn handed_over(
    answered: anyhow::Result<Option<Secret<String>>>,
    node: &Name,
    show: impl FnOnce(&Secret<String>) -> Result<(), Failure>,
) -> anyhow::Result<()> {
    let shown = match answered {
        Ok(Some(key)) => show(&key),
        Ok(None) => {
            say(&format!(
                "{node} is installed, and nobody has its recovery key: an earlier try made it, or its answer was lost. Make one: meadow node keys recovery {node}"
            ));
            return Ok(());
        }
        Err(error) => {
            Err(Failure::new(Exit::Failed, format!("the recovery key did not arrive, so nobody has it: {error:#}")))
        }
    };
    shown.map_err(|Failure { exit, message }| {
        let message = format!(
            "{message}\n{node} is installed, and its passphrase opens its state. Make another recovery key: meadow node keys recovery {node}"
        );
        Failure::new(exit, message).into()
    })
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use meadow_model::Problem;

    use super::*;
    use crate::exit::{exit_of, is_broken_pipe};

    fn key() -> Secret<String> {
        Secret::new("AAAA-BBBB".to_owned())
    }

    /// The key written to a pipe that nobody reads any more.
    fn to_nobody(key: &Secret<String>) -> Result<(), Failure> {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        drop(reader);
        written(writer.write_all(key.expose().as_bytes()).context("writing to stdout"))
    }

    #[test]
    fn an_installation_whose_key_nobody_read_is_no_success() {
        let node = Name::new("node-1").expect("a name");
        let no_answer = ClientError::Problem(Box::new(Problem::new(ProblemCode::NoQuorum, "two of three are off")));
        for error in [
            handed_over(Ok(Some(key())), &node, to_nobody),
            handed_over(Err(no_answer.into()), &node, |_| Ok(())),
            handed_over(Err(io::Error::from(io::ErrorKind::BrokenPipe).into()), &node, |_| Ok(())),
        ] {
            let error = error.expect_err("nobody has the key");
            let told = format!("{error:#}");
            assert!(told.contains("nobody has") && told.contains("node-1 is installed"), "{told}");
            assert!(told.ends_with("meadow node keys recovery node-1"), "{told}");
            assert!(exit_of(&error) == Exit::Failed && !is_broken_pipe(&error), "the exit code is not 0");
        }
    }

    #[test]
    fn a_key_that_was_read_and_one_of_an_earlier_try_are_no_errors() {
        let node = Name::new("node-1").expect("a name");
        handed_over(Ok(Some(key())), &node, |shown| {
            assert_eq!(shown.expose(), "AAAA-BBBB");
            Ok(())
        })
        .expect("read");
        handed_over(Ok(None), &node, |_| unreachable!("there is none")).expect("an earlier one's");
    }
}
