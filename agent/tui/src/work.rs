//! Does what somebody at the console wants, through the agent's public routes.

use meadow_client::{Client, ClientError};
use meadow_host::SystemEntropy;
use meadow_host::wireguard::PrivateKey;
use meadow_model::install::{InstallPlan, InstallRequest};
use meadow_model::operation::Operation;
use meadow_model::reset::ResetRequest;
use meadow_model::work::{answer_purpose, passphrase_purpose};
use meadow_model::{Name, Problem, ProblemCode, Secret};
use meadow_pki::sealed;

use crate::app::{App, Wish};

/// Carries out a wish and tells the console how it went.
pub async fn carry_out(wish: Wish, app: &mut App, client: &Client) {
    let done = match wish {
        Wish::Try(change) => client.try_network(&change).await.map(|view| app.network_is(view)),
        Wish::EndTrial { keep } => end_trial(keep, app, client).await,
        Wish::Plan { serial, mode } => plan(app, client, request(serial, mode)).await,
        Wish::Install { plan, passphrase } => install(app, client, *plan, &passphrase).await,
        Wish::Restart => restart(app, client).await,
        Wish::LookAtDisks => client.own_disks().await.map(|disks| app.disks_are(disks)),
        Wish::PlanReset { disks } => {
            let request = ResetRequest { disks, consent: None };
            client.plan_own_reset(&request).await.map(|plan| app.reset_planned(plan))
        }
        Wish::Reset(request) => client.reset_self(&request).await.map(|done| app.reset.done(done.erased)),
        Wish::Update(update) => client.update_self(&update).await.map(|said| app.sticks.done(said.message)),
        Wish::Support(task) => client.support_self(&task).await.map(|said| app.sticks.done(said.message)),
    };
    if let Err(error) = done {
        app.failed(&error);
    }
}

/// Brings what is shown up to date.
pub async fn follow(app: &mut App, client: &Client) {
    if app.shows_network() {
        match client.network().await {
            Ok(view) => app.network_is(view),
            Err(error) => app.not_told(&error),
        }
    }
    let Some(operation) = app.installation.follows().cloned() else { return };
    let newer = match client.operation(&operation).await {
        Ok(newer) => newer,
        Err(error) => return app.installation.not_followed(&error),
    };
    if app.installation.followed(newer.clone()) {
        match recovery_key(app, client, &newer).await {
            Ok(key) => app.installation.recovery_key(key),
            Err(error) => app.installation.fail(format!(
                "installed, and its recovery key did not arrive ({error}); make another one: meadow node keys recovery {}",
                newer.spec.target
            )),
        }
    }
}

async fn end_trial(keep: bool, app: &mut App, client: &Client) -> Result<(), ClientError> {
    app.network_is(client.end_network_trial(keep).await?);
    app.say(match (keep, app.network.as_ref().is_some_and(|view| view.lasts)) {
        (true, true) => "kept, also for the next start",
        (true, false) => "kept until this machine restarts",
        (false, _) => "the settings before are back",
    });
    Ok(())
}

fn request(serial: String, mode: meadow_model::install::InstallMode) -> InstallRequest {
    InstallRequest { serial, mode, consent: None, passphrase: None, reply_to: None, network: Vec::new(), reboot: false }
}

async fn plan(app: &mut App, client: &Client, request: InstallRequest) -> Result<(), ClientError> {
    let plan = client.plan_install(&own_name(app)?, &request).await?;
    app.planned(plan);
    Ok(())
}

async fn install(
    app: &mut App,
    client: &Client,
    plan: InstallPlan,
    passphrase: &Secret<String>,
) -> Result<(), ClientError> {
    let name = own_name(app)?;
    let node = client.node(&name).await?;
    let answer = PrivateKey::generate(&SystemEntropy).map_err(|error| internal(&error))?;
    let sealed = sealed::seal(&node.spec.wireguard, &passphrase_purpose(&name), passphrase);
    let mut request = request(plan.serial, plan.mode);
    request.consent = Some(plan.hash);
    request.passphrase = Some(sealed.map_err(|error| internal(&error))?);
    request.reply_to = Some(answer.public_key());
    let operation = client.install(&name, &request).await?;
    app.installation.begun(operation, answer);
    Ok(())
}

async fn recovery_key(app: &App, client: &Client, ended: &Operation) -> Result<Secret<String>, ClientError> {
    let gone = || internal(&"the key to open it is gone");
    let sealed = client.operation_answer(&ended.metadata.name).await?;
    let answer = app.installation.answer_key().ok_or_else(gone)?;
    sealed::open(answer.expose(), &answer_purpose(&ended.spec.target), &sealed).map_err(|error| internal(&error))
}

async fn restart(app: &mut App, client: &Client) -> Result<(), ClientError> {
    client.reboot(&own_name(app)?).await?;
    app.say("it restarts");
    Ok(())
}

fn own_name(app: &App) -> Result<Name, ClientError> {
    let view = app.page.view.as_ref().filter(|view| view.voters.is_none() && view.disks.is_some());
    let none = "only a node of a cluster is installed; let this machine in first (meadow machine approve)";
    view.and_then(|view| view.name.clone())
        .ok_or_else(|| ClientError::Problem(Box::new(Problem::new(ProblemCode::Conflict, none))))
}

fn internal(error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Problem(Box::new(Problem::new(ProblemCode::Internal, error.to_string())))
}
