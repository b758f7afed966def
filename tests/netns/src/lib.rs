//! A LAN with a home router, our boot server and a client, each a network namespace.

mod artifacts;
mod behind_relay;
mod capture;
mod carried_card;
mod computer;
mod dhclient;
mod http_boot;
mod played_machine;
mod ran;
mod raw_card;
mod site;
mod within;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use meadow_rack::boot_server::BootServer;
use meadow_rack::lan::Lan;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::router::Router;
use meadow_rack::run_dir::RunDir;

pub use artifacts::{Artifacts, contents};
pub use behind_relay::BehindRelay;
pub use capture::Capture;
pub use carried_card::{CarriedCard, Way};
pub use computer::Computer;
pub use http_boot::HttpBoot;
pub use played_machine::{Hardware, PlayedMachine};
pub use ran::Ran;
pub use raw_card::write_whole_frames;
pub use site::Site;
pub use within::within;

/// How long a program may take for what usually takes a moment; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The namespaces.
#[derive(Debug)]
pub struct Net {
    // Dropped from top to bottom: programs first, the folder's lock last.
    router: Router,
    server: Namespace,
    client: Namespace,
    artifacts: Artifacts,
    lan: Lan,
    run: RunDir,
}

impl Net {
    /// Builds them; the client has no address, as firmware has none.
    ///
    /// # Errors
    /// When a link or a program fails.
    pub fn build() -> Result<Self> {
        let mut run = RunDir::create()?;
        let lan = Lan::create(&mut run)?;
        let router = Router::start(&mut run, &lan)?;
        let server = lan.computer_at(&mut run, "seed", 2)?;
        let client = lan.computer(&mut run, "client")?;
        let artifacts = Artifacts::write(&run.file("image"))?;
        run.keep_logs(false);
        Ok(Self { router, server, client, artifacts, lan, run })
    }

    /// The settings of a boot server that knows the client under `policy`.
    ///
    /// # Errors
    /// When the client's hardware address cannot be read.
    pub fn settings(&self, policy: &str) -> Result<String> {
        Ok(self.settings_for(&self.client_mac()?, policy))
    }

    /// The same with another client.
    #[must_use]
    pub fn settings_for(&self, mac: &str, policy: &str) -> String {
        let artifacts = self.artifacts.folder().display();
        format!(
            "interface = \"eth0\"\nartifacts = \"{artifacts}\"\n[[machine]]\nmac = \"{mac}\"\npolicy = \"{policy}\"\n"
        )
    }

    /// Starts the boot server and waits until it serves the kernel.
    ///
    /// # Errors
    /// When it does not.
    pub fn serve(&mut self, policy: &str) -> Result<BootServer> {
        let settings = self.settings(policy)?;
        let server = BootServer::start(&mut self.run, &self.server, &settings)?;
        let url = self.url("artifacts/vmlinuz");
        meadow_rack::wait::until("the boot server", PATIENCE, || {
            let output = self.server.command("curl").args(["-sfI", &url]).output().context("cannot run curl")?;
            Ok(output.status.success().then_some(()))
        })?;
        Ok(server)
    }

    /// A network behind a relay that passes on to the boot server.
    ///
    /// # Errors
    /// When a link or a program fails.
    pub fn behind_relay(&mut self) -> Result<BehindRelay> {
        BehindRelay::build(&mut self.run, &self.lan, &self.server)
    }

    /// A boot server with these settings; nothing is waited for.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn start_server(&mut self, settings: &str) -> Result<BootServer> {
        BootServer::start(&mut self.run, &self.server, settings)
    }

    /// Gives the boot server's computer a second card on the same wire, with this last number in its address.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn plug_in_second_card(&self, interface: &str, number: u8) -> Result<()> {
        self.lan.plug_in(&self.server, interface, number)
    }

    /// Captures DHCP on this namespace's `eth0`; what tcpdump prints goes to the file `log`.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&mut self, namespace: &Namespace, log: &str) -> Result<Capture> {
        Capture::begin(&mut self.run, namespace, "eth0", log)
    }

    /// Gives the client a fixed address, for tests of what comes after DHCP.
    ///
    /// # Errors
    /// When ip(8) refuses.
    pub fn address_client(&self) -> Result<()> {
        self.client.ip(&["addr", "add", &format!("{}/24", self.lan.subnet().host(3)), "dev", "eth0"])
    }

    /// Runs a program on the client to its end.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn on_client(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.client
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {program}; see tests/packages/test.list"))
    }

    /// Starts a program in the background.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start(&mut self, namespace: &Namespace, command: Command, log: &str) -> Result<(Program, PathBuf)> {
        let log = self.run.file(log);
        Ok((namespace.start(&mut self.run, command, &log)?, log))
    }

    /// The client's hardware address.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn client_mac(&self) -> Result<String> {
        let output = self.on_client("cat", &["/sys/class/net/eth0/address"])?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A URL of the boot server.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:7480/{path}", self.lan.subnet().host(2))
    }

    /// The boot server's address.
    #[must_use]
    pub fn server_address(&self) -> String {
        self.lan.subnet().host(2).to_string()
    }

    /// The router's address.
    #[must_use]
    pub fn router_address(&self) -> String {
        self.lan.subnet().host(1).to_string()
    }

    /// The home router.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Switches the home router's DHCP server off.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn switch_router_off(&mut self) -> Result<()> {
        self.router.switch_off()
    }

    /// The address with this last number.
    #[must_use]
    pub fn address(&self, number: u8) -> String {
        self.lan.subnet().host(number).to_string()
    }

    /// The boot server's namespace.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The image.
    #[must_use]
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// Writes a script that programs call, and gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn script(&self, text: &str) -> Result<PathBuf> {
        let path = self.run.file("script.sh");
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// A file in the run's folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.run.file(name)
    }
}
