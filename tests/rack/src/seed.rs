//! The seed node: a computer beside the router on which a person ran `meadow init` and started `meadowd`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::namespace::Namespace;
use crate::paths;
use crate::process::Program;
use crate::rack::Rack;
use crate::wait;

/// Last number of the seed's address.
const HOST: u8 = 2;
/// Port of the API.
const API_PORT: u16 = 7443;
/// Name of the seed's node.
pub const NAME: &str = "seed";
/// How long after `meadow init` any machine may boot.
const PXE_OPEN_SECONDS: i64 = 3600;

/// What a seed is told at `meadow init`.
#[derive(Clone, Debug)]
pub struct SeedConfig {
    /// The image that machines boot.
    pub image: PathBuf,
    /// The admins' public SSH keys.
    pub authorized_keys: Vec<String>,
    /// Whether it serves PXE and the image.
    pub pxe: bool,
}

impl Default for SeedConfig {
    fn default() -> Self {
        Self { image: paths::image(), authorized_keys: Vec::new(), pxe: true }
    }
}

/// A running seed.
#[derive(Debug)]
pub struct Seed {
    program: Option<Program>,
    namespace: Namespace,
    files: Files,
    api: Forward,
    cluster: Cluster,
}

/// The seed's files in the rack's folder: its private root, what its admin keeps, and logs.
#[derive(Clone, Debug)]
struct Files {
    root: PathBuf,
    contexts: PathBuf,
    hosts: PathBuf,
    preseed: PathBuf,
    log: PathBuf,
}

impl Seed {
    /// Runs `meadow init` from a file and starts `meadowd`, with everything that it writes in the rack's folder, and
    /// waits until its API answers.
    ///
    /// # Errors
    /// With what the programs say.
    pub fn start(rack: &mut Rack, config: &SeedConfig) -> Result<Self> {
        let namespace = rack.computer_at(NAME, HOST)?;
        let address = rack.lan().subnet().host(HOST);
        namespace.ip(&["route", "add", "default", "via", &rack.lan().subnet().host(1).to_string()])?;
        let files = Files::create(rack.run().path())?;
        namespace.set_hosts_file(rack.parts().0, &files.hosts)?;
        fs::write(&files.preseed, preseed(&files, address, config)?).context("cannot write the preseed file")?;
        initialise(&namespace, &files)?;
        let api = Forward::start(&namespace, SocketAddr::from((address, API_PORT)))?;
        let cluster = Cluster::new(&files.context_for(api.address())?);
        let mut seed = Self { program: None, namespace, files, api, cluster };
        seed.start_agent(rack)?;
        Ok(seed)
    }

    /// Starts `meadowd` and waits until its API answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub fn start_agent(&mut self, rack: &mut Rack) -> Result<()> {
        let mut command = self.namespace.command(paths::programs().join("meadowd"));
        command.arg("--root").arg(&self.files.root);
        self.program = Some(self.namespace.start(rack.parts().0, command, &self.files.log)?);
        wait::until("the seed's API", Duration::from_secs(30), || {
            self.check_agent()?;
            Ok(self.cluster.nodes().ok().map(drop))
        })
    }

    /// Kills `meadowd` with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.program.take().context("meadowd does not run")?.kill().context("cannot kill meadowd")
    }

    /// Fails when `meadowd` has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn check_agent(&mut self) -> Result<()> {
        if let Some(program) = &mut self.program
            && let Some(status) = program.exited()?
        {
            let log = fs::read_to_string(&self.files.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(10).collect();
            bail!("meadowd ended ({status}):\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        Ok(())
    }

    /// The namespace that it runs in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its API as seen from the host.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api.address()
    }

    /// The cluster, through that API.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// `meadow` as the seed's admin runs it, on the seed itself and so in the rack's LAN.
    ///
    /// # Errors
    /// When there is no context.
    pub fn meadow(&self) -> Result<Command> {
        let mut command = self.namespace.command(paths::programs().join("meadow"));
        command.env("MEADOW_CONTEXT", self.files.original_context()?).stdin(Stdio::null());
        Ok(command)
    }

    /// The log of `meadowd`.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.files.log
    }

    /// Whether the node `name` answers a ping from the seed, by that name.
    ///
    /// # Errors
    /// When ping(8) cannot be run.
    pub fn pings(&self, name: &str) -> Result<bool> {
        let mut command = self.namespace.command("ping");
        let status =
            command.args(["-6", "-n", "-c", "1", "-W", "2", name]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        Ok(status.context("cannot run ping(8); `make packages` installs it")?.success())
    }
}

impl Files {
    fn create(run: &Path) -> Result<Self> {
        let files = Self {
            root: run.join("seed"),
            contexts: run.join("contexts"),
            hosts: run.join("seed.hosts"),
            preseed: run.join("preseed.toml"),
            log: run.join("meadowd.log"),
        };
        fs::create_dir(&files.root).context("cannot make the seed's root")?;
        fs::write(&files.hosts, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
            .context("cannot make the seed's hosts file")?;
        Ok(files)
    }

    /// What `meadow init` made.
    fn original_context(&self) -> Result<PathBuf> {
        let mut made = fs::read_dir(&self.contexts).context("`meadow init` made no context")?;
        let original = made.next().context("`meadow init` made no context")??.path();
        ensure!(made.next().is_none(), "`meadow init` made more than one context in {}", self.contexts.display());
        Ok(original)
    }

    /// Copies the admin's context with the API's address as seen from the host. Who the server is stays bound to the
    /// cluster's CA, so the address does not matter.
    fn context_for(&self, api: SocketAddr) -> Result<PathBuf> {
        let original = self.original_context()?;
        let mut context: Table =
            fs::read_to_string(&original)?.parse().with_context(|| format!("{} is no TOML", original.display()))?;
        context.insert("api".to_owned(), Value::Array(vec![Value::String(format!("https://{api}"))]));
        let path = self.contexts.with_file_name("context.toml");
        fs::write(&path, "")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        fs::write(&path, context.to_string())?;
        Ok(path)
    }
}

/// Answers to everything that `meadow init` asks.
fn preseed(files: &Files, address: Ipv4Addr, config: &SeedConfig) -> Result<String> {
    let image = fs::canonicalize(&config.image)
        .with_context(|| format!("there is no image at {}; `make image` builds it", config.image.display()))?;
    let text = |value: &Path| Value::String(value.to_string_lossy().into_owned());
    let keys = config.authorized_keys.iter().cloned().map(Value::String).collect();
    let pxe = config.pxe.then(|| ("pxe_interfaces", Value::Array(vec![Value::String("eth0".to_owned())])));
    let table: Table = [
        ("cluster", Value::String("rack".to_owned())),
        ("node", Value::String(NAME.to_owned())),
        ("admin", Value::String("admin".to_owned())),
        ("api_listen", Value::String(format!("[::]:{API_PORT}"))),
        ("api_addresses", Value::Array(vec![Value::String(format!("{address}:{API_PORT}"))])),
        ("authorized_keys", Value::Array(keys)),
        ("pxe_open_s", Value::Integer(PXE_OPEN_SECONDS)),
        ("image_dir", text(&image)),
        ("root", text(&files.root)),
        ("context_dir", text(&files.contexts)),
    ]
    .into_iter()
    .chain(pxe)
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    Ok(table.to_string())
}

fn initialise(namespace: &Namespace, files: &Files) -> Result<()> {
    let program = paths::programs().join("meadow");
    let output = namespace.command(&program).args(["--no-input", "init", "--file"]).arg(&files.preseed).output();
    let output = output.with_context(|| format!("cannot run {}; `make build` makes it", program.display()))?;
    ensure!(
        output.status.success(),
        "`meadow init` failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}
