//! Makes a cluster: what `meadow init` does on the first node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use meadow_client::{Context, ContextError};
use meadow_host::files::{self, Access, FileError};
use meadow_host::{Clock, SystemClock};
use meadow_model::mesh::WIREGUARD_PORT;
use meadow_model::one_or_many::one_or_many;
use meadow_model::ssh_key::{self, InvalidSshKeys};
use meadow_model::{Fingerprint, Name};
use meadow_netboot::dhcp::{LeaseConfig, LeaseConfigError, LeaseServer};
use meadow_pki::{Ca, Identity, PkiError, Role};
use meadow_state::command::{Bootstrap, FirstNode};
use serde::{Deserialize, Serialize};

use crate::keys::{Keys, KeysError};
use crate::paths::{Paths, StateFiles};
use crate::settings::{Settings, SettingsError};
use crate::stored::{self, StoredError};

/// What a cluster is made of; the preseed file of `meadow init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// The cluster's name.
    pub cluster: Name,
    /// The first node's name.
    pub node: Name,
    /// The first admin's name.
    pub admin: Name,
    /// The interfaces on which PXE is served; none where absent. `pxe_interface` with one name is read too.
    #[serde(default, alias = "pxe_interface", deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub pxe_interfaces: Vec<String>,
    /// Folder of files for other systems, which the PXE server serves as they are; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pxe_files: Option<PathBuf>,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where others reach the API and, at the first one's address, the mesh.
    pub api_addresses: Vec<SocketAddr>,
    /// Admins' public keys in OpenSSH form.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// For how many seconds every machine that asks is booted, from now on.
    #[serde(default)]
    pub pxe_open_s: Option<u32>,
    /// The image that machines boot.
    pub image_dir: PathBuf,
    /// Prefix of all files; `/` but in tests.
    #[serde(default = "slash")]
    pub root: PathBuf,
    /// Where the admin's context goes.
    pub context_dir: PathBuf,
    /// Subnets whose addresses the PXE server gives out, if nobody else does. The last field: tables come last in TOML.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pxe_dhcp: Vec<LeaseConfig>,
}

fn slash() -> PathBuf {
    PathBuf::from("/")
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// The CA's fingerprint, for people to compare.
    pub ca_fingerprint: Fingerprint,
    /// Whether the cluster was there already, and only the admin's context was made anew.
    pub existed: bool,
    /// The admin's context.
    pub context: PathBuf,
    /// The agent's settings.
    pub settings: PathBuf,
}

/// The cluster cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Without an address nobody can enrol.
    #[error("no API address is given; name at least one address of this machine that others reach, with port 7443")]
    NoAddress,
    /// Addresses cannot be given out so.
    #[error("pxe_dhcp: {0}")]
    Dhcp(#[from] LeaseConfigError),
    /// Who unlocks nodes has to be able to.
    #[error("authorized_keys: {0}")]
    SshKeys(#[from] InvalidSshKeys),
    /// Something is to be served, and nobody says where.
    #[error("{0} needs pxe_interfaces, the interfaces on which it is served")]
    NoInterface(&'static str),
    /// The state folder holds another cluster.
    #[error(
        "{path} already holds the cluster \"{existing}\"; choose that name to renew the admin's context, or move the folder away"
    )]
    OtherCluster {
        /// The state folder.
        path: PathBuf,
        /// The cluster in it.
        existing: Name,
    },
    /// The state folder holds something else.
    #[error("{0} already holds the state of a node; remove the node from its cluster and move the folder away first")]
    Occupied(PathBuf),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The admin's context.
    #[error(transparent)]
    Context(#[from] ContextError),
}

/// Makes the cluster, or renews the admin's context where it exists already.
///
/// All keys are made in a folder beside the state folder, which is then renamed: after a crash there is either no
/// cluster or a whole one, and running it again completes what is missing.
///
/// # Errors
/// [`InitError`]; an existing state is never touched.
pub fn init(config: &InitConfig) -> Result<InitReport, InitError> {
    if config.api_addresses.is_empty() {
        return Err(InitError::NoAddress);
    }
    check_pxe(config)?;
    let paths = Paths::below(&config.root);
    let existed = match stored::load::<Bootstrap>(&paths.state().bootstrap())? {
        Some(existing) if existing.cluster == config.cluster => true,
        Some(existing) => {
            return Err(InitError::OtherCluster { path: paths.state_dir(), existing: existing.cluster });
        }
        None => {
            refuse_occupied(&paths.state_dir())?;
            ssh_key::accept(&[], &config.authorized_keys)?;
            // First, so that a cluster that is there has its own settings, and not those of an earlier one.
            save_settings(config, &paths)?;
            make_state(config, &paths)?;
            false
        }
    };
    let ca = load_ca(&paths.state())?.ok_or_else(|| InitError::Occupied(paths.state_dir()))?;
    let settings = paths.settings();
    // Where they are there they are their owner's, who may have edited them.
    if !files::exists(&settings) {
        save_settings(config, &paths)?;
    }
    let context = save_context(config, &ca)?;
    Ok(InitReport { ca_fingerprint: ca.fingerprint(), existed, context, settings })
}

/// What is there of an earlier init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The cluster's name.
    pub cluster: Name,
    /// The settings, which stay as they are.
    pub settings: Settings,
    /// Where they are.
    pub path: PathBuf,
}

/// The cluster and its settings below `root` that [`init`] would keep; `None` where it would make either.
///
/// # Errors
/// [`InitError`] where they cannot be read.
pub fn existing(root: &Path) -> Result<Option<Existing>, InitError> {
    let paths = Paths::below(root);
    let path = paths.settings();
    let Some(bootstrap) = stored::load::<Bootstrap>(&paths.state().bootstrap())?.filter(|_| files::exists(&path))
    else {
        return Ok(None);
    };
    Ok(Some(Existing { cluster: bootstrap.cluster, settings: Settings::load(&path)?, path }))
}

/// The CA in a state folder, or `None` where there is none.
///
/// # Errors
/// [`InitError`] where it is damaged.
pub fn load_ca(files: &StateFiles) -> Result<Option<Ca>, InitError> {
    let certificate = stored::load_text(&files.ca_certificate())?;
    let key = stored::load_text(&files.ca_key())?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(Ca::load(&certificate, &key)?)),
        _ => Ok(None),
    }
}

fn refuse_occupied(state_dir: &Path) -> Result<(), InitError> {
    if files::exists(state_dir) && !files::list(state_dir, 1)?.is_empty() {
        return Err(InitError::Occupied(state_dir.to_owned()));
    }
    Ok(())
}

fn make_state(config: &InitConfig, paths: &Paths) -> Result<(), InitError> {
    let draft = paths.state_being_made();
    // Left by an init that was interrupted: nothing of it was ever used.
    files::remove_folder(&draft)?;
    files::make_folder(&draft, Access::Private)?;
    fill_state(config, &StateFiles::new(&draft))?;
    Ok(files::rename_folder(&draft, &paths.state_dir())?)
}

fn fill_state(config: &InitConfig, files: &StateFiles) -> Result<(), InitError> {
    let keys = Keys::load_or_make(files)?;
    let ca = Ca::generate(&config.cluster)?;
    files::replace(&files.ca_certificate(), ca.certificate_pem().as_bytes(), Access::Public)?;
    files::replace(&files.ca_key(), ca.key_pem().expose().as_bytes(), Access::Private)?;
    let release = Identity::generate()?;
    files::replace(&files.release_key(), release.key_pem().expose().as_bytes(), Access::Private)?;
    let now = SystemClock.wall();
    let endpoint = config.api_addresses.first().map(|api| SocketAddr::new(api.ip(), WIREGUARD_PORT));
    let bootstrap = Bootstrap {
        cluster: config.cluster.clone(),
        ca_fingerprint: ca.fingerprint(),
        authorized_keys: ssh_key::accept(&[], &config.authorized_keys)?,
        release_key: BASE64.encode(release.public_key().as_der()),
        node: FirstNode {
            name: config.node.clone(),
            fingerprint: keys.identity.fingerprint(),
            wireguard: keys.wireguard.public_key(),
            endpoint,
            hardware: None,
            measures: None,
        },
        pxe_open_until: config.pxe_open_s.map(|seconds| now.plus_seconds(i64::from(seconds))),
    };
    Ok(stored::save(&files.bootstrap(), &bootstrap)?)
}

fn save_settings(config: &InitConfig, paths: &Paths) -> Result<(), InitError> {
    let settings = Settings {
        api_listen: config.api_listen,
        api_addresses: config.api_addresses.clone(),
        pxe_interfaces: config.pxe_interfaces.clone(),
        pxe_files: config.pxe_files.clone(),
        pxe_dhcp: config.pxe_dhcp.clone(),
        image_dir: config.image_dir.clone(),
        ..Settings::default()
    };
    make_folder_of(&paths.settings(), Access::Public)?;
    Ok(settings.save(&paths.settings())?)
}

/// Refuses what the PXE server could never do.
fn check_pxe(config: &InitConfig) -> Result<(), InitError> {
    if config.pxe_interfaces.is_empty() {
        let needs = [("pxe_dhcp", !config.pxe_dhcp.is_empty()), ("pxe_files", config.pxe_files.is_some())];
        if let Some((name, _)) = needs.into_iter().find(|(_, is_set)| *is_set) {
            return Err(InitError::NoInterface(name));
        }
    }
    LeaseServer::new(&config.pxe_dhcp)?;
    Ok(())
}

fn save_context(config: &InitConfig, ca: &Ca) -> Result<PathBuf, InitError> {
    let admin = ca.issue(&config.admin, Role::Admin)?;
    let context = Context {
        cluster: config.cluster.clone(),
        api: config.api_addresses.iter().map(|address| format!("https://{address}")).collect(),
        ca_fingerprint: ca.fingerprint(),
        certificate_pem: admin.chain_pem().to_owned(),
        key_pem: admin.key_pem(),
    };
    let path = Context::path(&config.context_dir, config.cluster.as_str());
    context.save(&path)?;
    Ok(path)
}

fn make_folder_of(file: &Path, access: Access) -> Result<(), InitError> {
    if let Some(parent) = file.parent() {
        files::make_folder(parent, access)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(root: &Path) -> InitConfig {
        let name = |text: &str| Name::new(text).expect("valid");
        InitConfig {
            cluster: name("home"),
            node: name("seed"),
            admin: name("ann"),
            pxe_interfaces: Vec::new(),
            pxe_files: None,
            api_listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            api_addresses: vec![SocketAddr::from(([127, 0, 0, 1], 7443))],
            authorized_keys: Vec::new(),
            pxe_open_s: None,
            image_dir: root.join("image"),
            root: root.to_owned(),
            context_dir: root.join("contexts"),
            pxe_dhcp: Vec::new(),
        }
    }

    #[test]
    fn again_renews_the_context_and_keeps_the_cluster() {
        let root = tempfile::tempdir().expect("folder");
        assert_eq!(existing(root.path()).expect("read"), None);
        let first = init(&config(root.path())).expect("made");
        fs::remove_file(&first.context).expect("lost");
        let edited = Settings { pxe_interfaces: vec!["lan0".to_owned()], ..Settings::default() };
        edited.save(&first.settings).expect("edited");
        let there = existing(root.path()).expect("read").expect("there");
        assert_eq!((there.cluster.as_str(), &there.settings), ("home", &edited), "nobody is asked for them again");
        let again = init(&config(root.path())).expect("renewed");
        assert!(!first.existed && again.existed);
        assert_eq!(first.ca_fingerprint, again.ca_fingerprint);
        assert!(again.context.exists());
        assert_eq!(Settings::load(&again.settings).expect("settings"), edited, "what the owner edited is lost");
    }

    #[test]
    fn what_the_boot_server_is_to_do_goes_into_the_settings_or_is_refused() {
        let root = tempfile::tempdir().expect("folder");
        let leases = |pool: &str| LeaseConfig { pool: pool.to_owned(), ..LeaseConfig::of("192.0.2.0/24") };
        let with = |interface: Option<&str>, pool| InitConfig {
            pxe_interfaces: interface.into_iter().map(str::to_owned).collect(),
            pxe_files: Some(PathBuf::from("/srv/boot")),
            pxe_dhcp: vec![leases(pool)],
            ..config(root.path())
        };
        assert!(matches!(init(&with(None, "192.0.2.9-192.0.2.20")), Err(InitError::NoInterface("pxe_dhcp"))));
        let elsewhere = init(&with(Some("eth0"), "198.51.100.1-198.51.100.9")).expect_err("another subnet");
        assert!(elsewhere.to_string().starts_with("pxe_dhcp: "), "{elsewhere}");
        let made = init(&with(Some("eth0"), "192.0.2.9-192.0.2.20")).expect("made");
        let settings = Settings::load(&made.settings).expect("settings");
        assert_eq!(settings.pxe_dhcp, [leases("192.0.2.9-192.0.2.20")]);
        assert_eq!(settings.pxe_files.as_deref(), Some(Path::new("/srv/boot")));
    }

    #[test]
    fn what_is_no_public_key_makes_no_cluster() {
        let root = tempfile::tempdir().expect("folder");
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret".to_owned();
        let refused = init(&InitConfig { authorized_keys: vec![private], ..config(root.path()) }).expect_err("refused");
        let said = refused.to_string();
        assert!(
            said.starts_with("authorized_keys: SSH key 1: this is a private key") && !said.contains("secret"),
            "{said}"
        );
        assert!(existing(root.path()).expect("read").is_none() && !Paths::below(root.path()).state_dir().exists());
    }

    #[test]
    fn another_cluster_and_a_strangers_state_are_left_alone() {
        let root = tempfile::tempdir().expect("folder");
        init(&config(root.path())).expect("made");
        let other = InitConfig { cluster: Name::new("office").expect("valid"), ..config(root.path()) };
        assert!(matches!(init(&other), Err(InitError::OtherCluster { .. })));
        let strange = tempfile::tempdir().expect("folder");
        fs::create_dir_all(strange.path().join("var/lib/meadow")).expect("made");
        fs::write(strange.path().join("var/lib/meadow/membership.json"), "{}").expect("written");
        assert!(matches!(init(&config(strange.path())), Err(InitError::Occupied(_))));
    }

    #[test]
    fn an_interrupted_init_leaves_nothing_that_stands_in_the_way() {
        let root = tempfile::tempdir().expect("folder");
        let draft = Paths::below(root.path()).state_being_made();
        fs::create_dir_all(&draft).expect("made");
        fs::write(draft.join("identity.key"), "half a key").expect("written");
        init(&config(root.path())).expect("made");
        assert!(!draft.exists());
    }
}
