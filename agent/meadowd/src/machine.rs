//! The agent of a computer that is to become, or is, a node without the replicated state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::middleware::from_fn_with_state;
use meadow_client::{ARTIFACT_PORT, Client, Endpoint};
use meadow_controllers::disk_helper::DiskHelper;
use meadow_controllers::enrol::{self, Candidate};
use meadow_controllers::image_fetch::ImageFetcher;
use meadow_controllers::image_source::ImageSource;
use meadow_controllers::image_store::ImageStore;
use meadow_controllers::join::{self, JoinRequest, JoinResult};
use meadow_controllers::keys::Keys;
use meadow_controllers::membership::Membership;
use meadow_controllers::mesh::{Mesh, Peers};
use meadow_controllers::network_settings::NetworkSettings;
use meadow_controllers::node_tasks::NodeTasks;
use meadow_controllers::paths::Paths;
use meadow_controllers::report::Reporter;
use meadow_controllers::resolver_file;
use meadow_controllers::self_status::SelfStatus;
use meadow_controllers::settings::Settings;
use meadow_controllers::ssh_keys;
use meadow_controllers::stored;
use meadow_controllers::work::{Work, Worker};
use meadow_enroll::JoinToken;
use meadow_host::files;
use meadow_host::hosts;
use meadow_model::boot::{BootCluster, BootConfig, BootReport, LostState, RootFrom};
use meadow_model::console::SelfState;
use meadow_model::hardware::Measures;
use meadow_model::mesh::MeshView;
use meadow_model::{Name, Secret};
use meadow_pki::{CaPin, Identity};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::listener::serve_local;
use crate::local::Onlooker;
use crate::own_computer::OwnComputer;
use crate::own_voice::{self, OwnVoice};
use crate::{disk_watch, image_share, lan, stick};

/// What a person does whose computer belongs nowhere.
const ADVICE: &str = "this computer knows no cluster; run `meadow init` here, or `meadow join HOST --token-file FILE`";
/// How often a computer that belongs nowhere looks for a wish to join.
const LOOK: Duration = Duration::from_secs(1);

/// How long udev may take to load all drivers; a disk controller may need half a minute to find its disks.
const COLDPLUG: Duration = Duration::from_secs(120);
/// When a view of the mesh that a full disk did not take is tried again.
const KEEP_AGAIN: Duration = Duration::from_secs(30);
const COLDPLUG_POLL: Duration = Duration::from_millis(100);

/// Whom to enrol with, and what to show.
struct Invitation {
    cluster: BootCluster,
    ticket: Option<Secret<String>>,
    token: Option<JoinToken>,
    /// What `meadow join` wrote, where that invites.
    request: Option<JoinRequest>,
    boot: Option<BootReport>,
    /// The name that a seed asks for.
    wanted_name: Option<Name>,
    /// A netbooted machine keeps nothing across a reboot.
    ephemeral: bool,
}

/// Enrols where that has not happened yet, and then keeps the computer a node.
pub(crate) async fn run(paths: &Paths, status: &SelfStatus) -> anyhow::Result<()> {
    let network = Arc::new(network_settings(paths).await?);
    let this = OwnComputer { paths: paths.clone(), status: status.clone() };
    let onlooker = Onlooker { status: status.clone(), network: network.clone(), this: this.clone() };
    let router = meadow_api::router(Arc::new(onlooker));
    let voice = OwnVoice::default();
    let router = router.layer(from_fn_with_state(voice.clone(), own_voice::pass_on));
    let socket = paths.socket();
    let local = async { serve_local(&socket, router).await };
    let role = async {
        let settings = Settings::load(&paths.settings())?;
        let mut measures = None;
        tell_lost_state(paths, status);
        sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("systemd was not told")?;
        loop {
            let membership = belong(paths, status, &mut measures).await?;
            voice.set(Some((membership.node.clone(), Arc::new(voter_client(&membership, paths)?))));
            let served = serve_as_node(&this, &settings, &network, membership).await;
            voice.set(None);
            served?;
        }
    };
    let resolver = async {
        if files::exists(&paths.boot_report()) {
            resolver_file::keep(&paths.resolver()).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = local => ended,
        ended = role => ended,
        () = resolver => Ok(()),
        () = this.finish_reset() => anyhow::bail!("nobody looks for resets any more"),
    }
}

/// A person at the console is told what this computer was; so is the cluster, by its claim.
fn tell_lost_state(paths: &Paths, status: &SelfStatus) {
    if let Ok(Some(BootReport { lost: Some(lost), .. })) = stored::load(&paths.boot_report()) {
        let LostState { node, cluster, why, .. } = lost;
        status.event(format!("this computer was {node} of the cluster {cluster}, whose state is lost: {why}"));
    }
}

/// The network cards of this computer, which are ours to set where it runs our image.
async fn network_settings(paths: &Paths) -> anyhow::Result<NetworkSettings> {
    if !files::exists(&paths.boot_report()) {
        return Ok(NetworkSettings::of_another_system());
    }
    let start = match stick::seed(paths) {
        Some(seed) if !seed.network.is_empty() => stick::own_network(&seed, &crate::seed::inventory().await?),
        _ => Vec::new(),
    };
    Ok(NetworkSettings::new(DiskHelper::at(paths.disk_helper()), start))
}

/// The membership of this computer: kept, or gained now. `measures` are made once.
async fn belong(paths: &Paths, status: &SelfStatus, measures: &mut Option<Measures>) -> anyhow::Result<Membership> {
    if let Some(membership) = stored::load::<Membership>(&paths.state().membership())? {
        if meadow_host::files::exists(&paths.join_request()) {
            // Killed between being let in and saying so: `meadow join` still waits, and the token still lies there.
            join::conclude(paths, &joined(&membership))?;
        }
        return Ok(membership);
    }
    // A stick's token that the cluster takes no more: a person has to let this computer in.
    let mut spent = false;
    loop {
        let invitation = tokio::select! {
            invitation = invitation(paths, status, spent) => invitation?,
            () = lan::ask(paths, status) => continue,
        };
        let outcome = tokio::select! {
            outcome = accept(paths, status, &invitation, measures) => outcome,
            () = replaced(paths, &invitation) => {
                status.event("`meadow join` was run again; what it says now counts");
                continue;
            }
        };
        match outcome {
            Ok(membership) => return Ok(membership),
            Err(failure) => {
                let why = format!("{failure:#}");
                warn!("enrolment failed: {why}");
                if invitation.request.is_none() && invitation.token.is_some() && stick::is_spent(&failure) {
                    status.event(format!(
                        "{why} (the stick's token); asking without it, so a person has to approve this machine"
                    ));
                    spent = true;
                } else if let Some(request) = &invitation.request {
                    join::refuse(paths, request, why.clone())?;
                    status.set(SelfState::Unconfigured, why);
                } else {
                    status.set(SelfState::Rejected, why);
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
            }
        }
    }
}

/// Waits for somebody who invites: the boot configuration of the initramfs, `meadow join`, or a stick's seed, whose token
/// may be `spent`.
async fn invitation(paths: &Paths, status: &SelfStatus, spent: bool) -> anyhow::Result<Invitation> {
    loop {
        if let Some(config) = stored::load::<BootConfig>(&paths.boot_config())? {
            let boot = stored::load::<BootReport>(&paths.boot_report())?;
            return Ok(Invitation {
                cluster: config.cluster,
                ticket: config.ticket,
                token: None,
                request: None,
                boot,
                wanted_name: None,
                // A netbooted machine with a state partition keeps its keys like any other computer.
                ephemeral: !disk_watch::is_durable(paths),
            });
        }
        if let Some(request) = stored::load::<JoinRequest>(&paths.join_request())? {
            match request.token.expose().parse::<JoinToken>() {
                Ok(token) => return Ok(invited_by_token(request, token)),
                Err(e) => join::refuse(paths, &request, e.to_string())?,
            }
        }
        if let Some(seed) = stick::invitation(paths) {
            return Ok(Invitation {
                cluster: seed.cluster,
                ticket: None,
                token: (!spent).then_some(seed.token),
                request: None,
                boot: stored::load::<BootReport>(&paths.boot_report())?,
                wanted_name: seed.wanted_name,
                ephemeral: !disk_watch::is_durable(paths),
            });
        }
        // Why an enrolment failed, or that the node was removed, stays to be read.
        if status.view().state == SelfState::Starting && !lan::asks(paths) {
            let advice = if stick::booted(paths) { stick::ADVICE } else { ADVICE };
            status.set(SelfState::Unconfigured, advice);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn invited_by_token(request: JoinRequest, token: JoinToken) -> Invitation {
    let api = request.api.clone();
    let cluster = BootCluster { name: String::new(), ca_fingerprint: token.ca_fingerprint, api };
    Invitation {
        cluster,
        ticket: None,
        token: Some(token),
        request: Some(request),
        boot: None,
        wanted_name: None,
        ephemeral: false,
    }
}

/// Waits until `meadow join` has left another wish than the one that is being fulfilled.
async fn replaced(paths: &Paths, invitation: &Invitation) {
    let Some(request) = &invitation.request else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        if matches!(stored::load::<JoinRequest>(&paths.join_request()), Ok(Some(newest)) if newest != *request) {
            return;
        }
    }
}

fn joined(membership: &Membership) -> JoinResult {
    JoinResult::Joined { node: membership.node.clone(), cluster: membership.cluster.clone() }
}

async fn accept(
    paths: &Paths,
    status: &SelfStatus,
    invitation: &Invitation,
    measures: &mut Option<Measures>,
) -> anyhow::Result<Membership> {
    let keys = Keys::load_or_make(&paths.state())?;
    status.update(|view| {
        view.fingerprint = Some(keys.identity.fingerprint());
        view.ca_fingerprint = Some(invitation.cluster.ca_fingerprint);
        view.api.clone_from(&invitation.cluster.api);
    });
    if invitation.boot.is_some() {
        wait_for_coldplug(paths, status).await;
    }
    let hardware = crate::seed::inventory().await?;
    if measures.is_none() {
        status.set(SelfState::Starting, "taking the first measures of the hardware");
        *measures = Some(crate::seed::measures(paths).await?);
    }
    let candidate = Candidate {
        keys: &keys,
        cluster: &invitation.cluster,
        ticket: invitation.ticket.clone(),
        token: invitation.token.clone(),
        hardware,
        measures: measures.clone(),
        boot: invitation.boot.clone(),
        ephemeral: invitation.ephemeral,
        wanted_name: own_name(invitation),
    };
    status.set(SelfState::Enrolling, "asking the cluster to be let in");
    let admission = match enrol::enrol(&candidate, status).await {
        Ok(admission) => admission,
        Err(failure) => {
            if failure.is_revoked() {
                // Left over by an agent that was killed while it left its cluster: the key is refused for ever.
                Keys::forget(&paths.state())?;
                status.event("forgot a key that the cluster refuses; the next attempt makes a new one");
            }
            return Err(failure.into());
        }
    };
    let membership = Membership {
        cluster: status.view().cluster.unwrap_or_else(|| invitation.cluster.name.clone()),
        ca_fingerprint: invitation.cluster.ca_fingerprint,
        api: invitation.cluster.api.clone(),
        node: admission.mesh.name.clone(),
        node_id: admission.node_id,
        chain_pem: enrol::chain_pem(&admission),
        release_key: admission.release_key.clone(),
        mesh: admission.mesh,
    };
    // Kept before it is used: a computer that is a node for the cluster must know it after a crash.
    stored::save(&paths.state().membership(), &membership)?;
    if invitation.request.is_some() {
        join::conclude(paths, &joined(&membership))?;
    }
    info!(node = %membership.node, "enrolled");
    Ok(membership)
}

/// The agent of the image starts before the drivers of disks are loaded; an inventory without them would be wrong.
async fn wait_for_coldplug(paths: &Paths, status: &SelfStatus) {
    status.set(SelfState::Starting, "waiting for udev to find disks and network cards");
    let found = async {
        while !files::exists(&paths.coldplug_done()) {
            tokio::time::sleep(COLDPLUG_POLL).await;
        }
    };
    if tokio::time::timeout(COLDPLUG, found).await.is_err() {
        status.event("udev did not find all disks and network cards in time; the inventory may lack disks");
    }
}

/// An ordinary host has a name already; a machine that booted our image gets one from the cluster, or has one from a seed.
fn own_name(invitation: &Invitation) -> Option<Name> {
    if invitation.boot.is_some() {
        return invitation.wanted_name.clone();
    }
    let hostname = files::read(Path::new("/proc/sys/kernel/hostname"), 256).ok()?;
    let text = String::from_utf8(hostname).ok()?.trim().to_ascii_lowercase();
    Name::new(text.split('.').next()?).ok()
}

/// A client of the cluster's API on the LAN, as this node.
fn voter_client(membership: &Membership, paths: &Paths) -> anyhow::Result<Client> {
    let keys = Keys::load_or_make(&paths.state())?;
    let identity = Identity::with_chain(keys.identity.key_pem().expose(), &membership.chain_pem)?;
    Ok(Client::tls(&membership.api, CaPin(membership.ca_fingerprint), Some(&identity))?)
}

/// Keeps the mesh up and reports, until the node is removed from its cluster.
async fn serve_as_node(
    this: &OwnComputer,
    settings: &Settings,
    network: &Arc<NetworkSettings>,
    membership: Membership,
) -> anyhow::Result<()> {
    let OwnComputer { paths, status } = this;
    let keys = Keys::load_or_make(&paths.state())?;
    status.update(|view| {
        view.name = Some(membership.node.clone());
        view.cluster = Some(membership.cluster.clone());
        view.fingerprint = Some(keys.identity.fingerprint());
        view.ca_fingerprint = Some(membership.ca_fingerprint);
        view.code = None;
        view.api.clone_from(&membership.api);
    });
    status.set(SelfState::Degraded, "bringing up the mesh");
    let ca = CaPin(membership.ca_fingerprint);
    let identity = || Identity::with_chain(keys.identity.key_pem().expose(), &membership.chain_pem);
    let lan = voter_client(&membership, paths)?;
    let mesh = Mesh::open(keys.wireguard.clone(), settings.hosts_file.clone()).await?;
    info!(backend = ?mesh.backend(), "mesh");
    let views = Arc::new(watch::Sender::new(Some(membership.mesh.clone())));
    let peers = watch::Sender::new(Peers::new());
    let helper = DiskHelper::at(paths.disk_helper());
    if let Some(seed) = stick::seed(paths) {
        stick::announce(&seed, &membership.node, &crate::seed::inventory().await?, status);
    }
    let disks = watch::Sender::new(None);
    let tasks = NodeTasks {
        node: membership.node.clone(),
        key: keys.wireguard.clone(),
        disks: helper.clone(),
        images: ImageSource {
            authorities: boot_servers(paths, &membership)?,
            build_key: paths.build_key(),
            folder: paths.incoming_image(),
        },
        adopted: ImageFetcher {
            store: ImageStore::new(paths.images()),
            build_key: paths.build_key(),
            release_key: membership.release_key.clone(),
        },
        stick: this.stick_image(),
        carried: this.carried_image(),
        booted_over_network: booted_over_network(paths),
        bundles: this.bundles(),
        voters: Arc::new(voter_client(&membership, paths)?),
        status: status.clone(),
        network: network.clone(),
        state_dir: paths.state_dir(),
        known: disks.clone(),
        turn: tokio::sync::Mutex::default(),
    };
    let tasks = Arc::new(tasks);
    let (ssh_keys, wanted_ssh_keys) = watch::channel(None);
    let work = Work::new(Arc::clone(&tasks) as Arc<dyn Worker>);
    let reporter = Reporter {
        ca,
        identity: identity()?,
        lan,
        views: views.clone(),
        peers: peers.subscribe(),
        disks: disks.subscribe(),
        work: work.clone(),
        ssh_keys,
        network: network.clone(),
        status: status.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let carried = this.carried_image();
    let removed = tokio::select! {
        () = mesh.run(views.subscribe(), peers) => anyhow::bail!("the mesh ended"),
        () = image_share::run(ImageStore::new(paths.images()).whole_images(), views.subscribe()) => {
            anyhow::bail!("images are not handed out any more")
        }
        () = carried.watch(status, disks.subscribe()) => {
            anyhow::bail!("nobody looks after the image from a stick any more")
        }
        () = ssh_keys::keep(&tasks, membership.ca_fingerprint, wanted_ssh_keys) => {
            anyhow::bail!("nobody keeps the admins' SSH keys any more")
        }
        () = disk_watch::run(paths, &helper, &disks) => anyhow::bail!("nobody looks at the disks any more"),
        ended = keep_membership(paths, membership, views.subscribe()) => return ended,
        removed = reporter.run() => removed,
    };
    if work.restart_if_ended().await {
        status.set(SelfState::Rejected, "this node was reset; it restarts as a new machine");
        return std::future::pending().await;
    }
    leave(paths, settings).await?;
    status.set(SelfState::Rejected, format!("{removed}; to enrol again reboot the machine, or run `meadow join`"));
    Ok(())
}

fn booted_over_network(paths: &Paths) -> bool {
    let report = stored::load::<BootReport>(&paths.boot_report());
    matches!(report, Ok(Some(report)) if report.root_from == RootFrom::Network)
}

/// Where the image may be had: from the server that booted this computer, else from where the API is.
fn boot_servers(paths: &Paths, membership: &Membership) -> anyhow::Result<Vec<String>> {
    let booted = stored::load::<BootReport>(&paths.boot_report())?.map(|report| report.base_url);
    let booted =
        booted.iter().filter_map(|url| url.strip_prefix("http://")).map(|a| a.trim_end_matches('/').to_owned());
    let api = membership.api.iter().filter_map(|url| url.parse::<Endpoint>().ok());
    let near_api = api.map(|endpoint| format!("{}:{ARTIFACT_PORT}", bracketed(&endpoint.host)));
    let mut servers: Vec<String> = booted.filter(|authority| !authority.is_empty()).chain(near_api).collect();
    servers.dedup();
    Ok(servers)
}

/// An IPv6 address as it stands before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Keeps the newest view of the mesh on disk, where a durable node finds it after a restart without a voter. A disk that
/// takes no view takes the node out of nothing: it is tried again with the next one, or after a while.
async fn keep_membership(
    paths: &Paths,
    mut membership: Membership,
    mut views: watch::Receiver<Option<MeshView>>,
) -> anyhow::Result<()> {
    let mut kept = true;
    loop {
        let changed = views.changed();
        if kept {
            changed.await?;
        } else if let Ok(changed) = tokio::time::timeout(KEEP_AGAIN, changed).await {
            changed?;
        }
        if let Some(view) = views.borrow_and_update().clone() {
            membership.mesh = view;
        }
        let saved = stored::save(&paths.state().membership(), &membership);
        if let (true, Err(e)) = (kept, &saved) {
            warn!("the newest view of the mesh cannot be kept: {e}");
        }
        kept = saved.is_ok();
    }
}

/// Takes the mesh down and forgets the membership and the keys, which the cluster refuses from now on. The membership
/// goes after all that it would take to come back here: a crash in between is told again that the node was removed.
async fn leave(paths: &Paths, settings: &Settings) -> anyhow::Result<()> {
    hosts::apply(&settings.hosts_file, &[])?;
    meadow_host::wireguard::open(meadow_model::mesh::MESH_INTERFACE).await?.remove().await?;
    files::remove(&paths.boot_config())?;
    files::remove(&paths.seed())?;
    files::remove(&paths.state().membership())?;
    Ok(Keys::forget(&paths.state())?)
}
