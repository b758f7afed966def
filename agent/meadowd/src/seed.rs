//! The agent of a voter: replicated state, API, PXE, and its own place in the mesh.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use meadow_controllers::bootstrap::load_ca;
use meadow_controllers::image_store::ImageStore;
use meadow_controllers::keys::Keys;
use meadow_controllers::live::LiveReports;
use meadow_controllers::mailbox::Mailbox;
use meadow_controllers::network_settings::NetworkSettings;
use meadow_controllers::paths::Paths;
use meadow_controllers::self_status::SelfStatus;
use meadow_controllers::settings::Settings;
use meadow_controllers::{stored, unlock_watch};
use meadow_host::{Clock, SystemClock, memory};
use meadow_model::console::SelfState;
use meadow_model::hardware::{Hardware, Measures};
use meadow_model::node::Node;
use meadow_model::{Name, Problem};
use meadow_pki::{Ca, Identity, PeerClassifier, Role, server_config};
use meadow_raft::{Replica, ReplicaConfig, ReplicaHandle};
use meadow_state::command::{Bootstrap, Command, Proposal};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::backend::Voter;
use crate::enrolment::Enrolment;
use crate::image_share;
use crate::images::Images;
use crate::listener::{TlsListener, serve_local};
use crate::pxe::Pxe;
use crate::rollouts;
use crate::tickets::Tickets;
use crate::voter_mesh::{VoterMesh, serve_mesh};

/// How long udev may take to know the disks of a machine that has just started; after that they are listed as they are.
const UDEV: Duration = Duration::from_secs(10);

/// How often nodes that are down are asked whether they wait for a passphrase.
const UNLOCKS: Duration = Duration::from_secs(5);

/// Serves the cluster until `stop`, or until something essential fails.
pub(crate) async fn run(paths: &Paths, status: &SelfStatus, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let pxe = OnceCell::new();
    let ended = tokio::select! {
        ended = serve(paths, status, &pxe) => ended,
        () = stop => Ok(()),
    };
    if let Some(pxe) = pxe.get() {
        pxe.stop().await;
    }
    ended
}

/// The PXE server is to be stopped by the caller.
async fn serve(paths: &Paths, status: &SelfStatus, running: &OnceCell<Arc<Pxe>>) -> anyhow::Result<()> {
    let settings = Settings::load(&paths.settings())?;
    let keys = Keys::load_or_make(&paths.state())?;
    let ca = load_ca(&paths.state())?.context("the cluster CA's key is missing; restore ca.key and ca.pem")?;
    let replica = Replica::open(&paths.raft_dir(), ReplicaConfig::new(1))?;
    let me = found(paths, &replica, status).await?;
    show(status, &settings, &ca, &keys, &replica, &me);

    let tickets = Arc::new(Tickets::open(paths.state_dir().join("tickets.json"))?);
    let live = Arc::new(LiveReports::new(Arc::new(SystemClock)));
    let tls = server_config(&server_identity(&ca, &keys, &me)?)?;
    let classifier = Arc::new(PeerClassifier::new(&ca)?);
    let ca_fingerprint = ca.fingerprint();
    let listener = bind(settings.api_listen).await?;
    let pxe = Arc::new(Pxe::start(&settings, paths, replica.clone(), tickets.clone())?);
    let voter = Arc::new(Voter {
        replica: replica.clone(),
        live: live.clone(),
        enrolment: Enrolment::new(ca),
        ca_fingerprint,
        me: me.clone(),
        tickets,
        pxe: running.get_or_init(|| pxe).clone(),
        mailbox: Mailbox::default(),
        images: Arc::new(Images::new(paths, &settings)),
        status: status.clone(),
        network: Arc::new(NetworkSettings::of_another_system()),
    });
    let router = meadow_api::router(voter.clone());
    let api = Arc::new(TlsListener { tls, classifier, membership: Arc::new(replica.clone()), router: router.clone() });
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("systemd was not told")?;
    info!(api = %settings.api_listen, node = %me, "serving the cluster");

    let socket = paths.socket();
    let views = watch::Sender::new(None);
    let share = image_share::run(ImageStore::new(paths.images()).whole_images(), views.subscribe());
    let mesh = VoterMesh { replica: replica.clone(), me: me.clone(), live, status: status.clone(), views };
    tokio::select! {
        () = api.clone().serve(listener) => anyhow::bail!("the API ended"),
        ended = serve_local(&socket, router) => ended,
        () = mesh.run(keys.wireguard.clone(), settings.hosts_file.clone()) => anyhow::bail!("the mesh ended"),
        () = watch_unlocks(voter.clone()) => anyhow::bail!("nobody sees who waits for a passphrase any more"),
        () = rollouts::run(voter) => anyhow::bail!("nobody rolls out images any more"),
        () = share => anyhow::bail!("images are not handed out any more"),
        () = serve_mesh(api, settings.api_listen, replica, me) => anyhow::bail!("the API of the mesh ended"),
    }
}

/// Notes now and then who waits for a passphrase.
async fn watch_unlocks(voter: Arc<Voter>) {
    loop {
        let state = voter.replica.state();
        let judged = |node: &Node| Node { status: voter.live.status(node, &voter.me), ..node.clone() };
        let waiting = unlock_watch::look(state.nodes().values().map(judged)).await;
        voter.live.record_waiting(waiting);
        tokio::time::sleep(UNLOCKS).await;
    }
}

/// Makes sure that the state holds the cluster; the name of this node in it.
async fn found(paths: &Paths, replica: &ReplicaHandle, status: &SelfStatus) -> anyhow::Result<Name> {
    let path = paths.state().bootstrap();
    let mut bootstrap: Bootstrap = stored::load(&path)?.context("bootstrap.json has vanished")?;
    let me = bootstrap.node.name.clone();
    if replica.state().cluster().is_none() {
        status.set(SelfState::Starting, "taking the first measures of the hardware");
        bootstrap.node.hardware = Some(inventory().await?);
        bootstrap.node.measures = Some(measures(paths).await?);
        propose(replica, Command::Bootstrap(Box::new(bootstrap))).await.map_err(anyhow::Error::new)?;
    }
    Ok(me)
}

async fn propose(replica: &ReplicaHandle, command: Command) -> Result<(), Problem> {
    let proposal = Proposal { at: SystemClock.wall(), actor: "meadow".to_owned(), idempotency_key: None, command };
    replica.propose(proposal).await.map(|_| ())
}

/// Inventory of this computer.
pub(crate) async fn inventory() -> anyhow::Result<Hardware> {
    Ok(meadow_bench::inventory(UDEV).await?)
}

/// First measures of this computer; takes some seconds.
pub(crate) async fn measures(paths: &Paths) -> anyhow::Result<Measures> {
    let state_dir = paths.state_dir();
    let work = move || meadow_bench::measure(&state_dir, meadow_bench::Effort::default(), &SystemClock);
    let measures = tokio::task::spawn_blocking(work).await?;
    memory::give_back();
    Ok(measures)
}

fn show(status: &SelfStatus, settings: &Settings, ca: &Ca, keys: &Keys, replica: &ReplicaHandle, me: &Name) {
    status.update(|view| {
        view.name = Some(me.clone());
        view.cluster = replica.state().cluster().map(|cluster| cluster.metadata.name.to_string());
        view.ca_fingerprint = Some(ca.fingerprint());
        view.fingerprint = Some(keys.identity.fingerprint());
        view.api = settings.api_addresses.iter().map(|address| format!("https://{address}")).collect();
    });
}

fn server_identity(ca: &Ca, keys: &Keys, me: &Name) -> anyhow::Result<Identity> {
    let leaf = ca.sign(&keys.identity.public_key(), me, Role::Voter)?;
    Ok(Identity::with_chain(keys.identity.key_pem().expose(), &ca.chain(&leaf))?)
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another meadowd running, or does api_listen in meadowd.toml name a wrong address?")
    })
}
