//! A LAN with computers on which people run `meadow` and `meadowd`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use meadow_rack::lan::Lan;
use meadow_rack::namespace::Namespace;
use meadow_rack::run_dir::RunDir;

use crate::{Artifacts, BehindRelay, Computer};

/// Last number of the seed's address.
const SEED: u8 = 2;

/// The LAN. Drop its computers before it: it takes down what they have left.
#[derive(Debug)]
pub struct Site {
    artifacts: Artifacts,
    lan: Lan,
    run: RunDir,
}

impl Site {
    /// Makes the LAN, without a router: all addresses are fixed.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn build() -> Result<Self> {
        let mut run = RunDir::create()?;
        let lan = Lan::create(&mut run)?;
        let artifacts = Artifacts::write(&run.file("image"))?;
        run.keep_logs(false);
        Ok(Self { artifacts, lan, run })
    }

    /// A computer with a fixed address and a hosts file of its own; nothing runs on it.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn computer(&mut self, name: &str, number: u8) -> Result<Computer> {
        let namespace = self.lan.computer_at(&mut self.run, name, number)?;
        self.set_up(name, namespace, self.lan.subnet().host(number))
    }

    /// A second LAN, which the first one's computers do not reach.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn second_lan(&mut self) -> Result<Lan> {
        self.lan.second(&mut self.run)
    }

    /// As [`Site::computer`], on another LAN.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn computer_on(&mut self, lan: &Lan, name: &str, number: u8) -> Result<Computer> {
        let namespace = lan.computer_at(&mut self.run, name, number)?;
        self.set_up(name, namespace, lan.subnet().host(number))
    }

    /// A network behind a relay, which passes on to the seed what its client asks.
    ///
    /// # Errors
    /// When a link cannot be made or the relay does not start.
    pub fn behind_relay(&mut self, seed: &Computer) -> Result<BehindRelay> {
        BehindRelay::build(&mut self.run, &self.lan, seed.namespace())
    }

    fn set_up(&mut self, name: &str, namespace: Namespace, address: Ipv4Addr) -> Result<Computer> {
        let folder = self.run.file(name);
        fs::create_dir_all(folder.join("root/var/lib")).context("cannot make the computer's folder")?;
        let hosts = folder.join("hosts");
        fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").context("cannot make the hosts file")?;
        namespace.set_hosts_file(&mut self.run, &hosts)?;
        Ok(Computer::new(name, namespace, folder, address))
    }

    /// A computer on which `meadow init` has run from a file.
    ///
    /// # Errors
    /// With what `meadow init` says.
    pub fn initialised(&mut self) -> Result<Computer> {
        self.initialised_with(|_| String::new())
    }

    /// The same with more answers, which come last in the file.
    ///
    /// # Errors
    /// With what `meadow init` says.
    pub fn initialised_with(&mut self, more: impl FnOnce(&Computer) -> String) -> Result<Computer> {
        let seed = self.computer("seed", SEED)?;
        let more = more(&seed);
        self.initialise(&seed, &more)?;
        Ok(seed)
    }

    /// A running seed that serves PXE to everybody, ready to take other computers in.
    ///
    /// # Errors
    /// With what the programs say.
    pub fn seed(&mut self) -> Result<Computer> {
        let seed = self.initialised()?;
        self.serving(seed)
    }

    /// As [`Site::seed`], with the state on a disk of this size.
    ///
    /// # Errors
    /// With what the programs say.
    pub fn seed_with_small_disk(&mut self, size: &str) -> Result<Computer> {
        let mut seed = self.computer("seed", SEED)?;
        seed.use_small_disk(self, size)?;
        self.initialise(&seed, "")?;
        self.serving(seed)
    }

    fn serving(&mut self, mut seed: Computer) -> Result<Computer> {
        seed.start_agent(self)?;
        seed.wait_for_node("seed")?;
        Ok(seed)
    }

    fn initialise(&self, seed: &Computer, more: &str) -> Result<()> {
        let preseed = self.preseed(seed, more)?;
        seed.meadow(&["--no-input", "init", "--file", &preseed.to_string_lossy()])?.success()?;
        Ok(())
    }

    /// Writes the answers for `meadow init`.
    fn preseed(&self, computer: &Computer, more: &str) -> Result<PathBuf> {
        let (address, image) = (computer.address(), self.artifacts.folder().display());
        let text = format!(
            "cluster = \"home\"\nnode = \"seed\"\nadmin = \"ann\"\npxe_interface = \"eth0\"\npxe_open_s = 3600\n\
             api_listen = \"[::]:7443\"\napi_addresses = [\"{address}:7443\"]\nimage_dir = \"{image}\"\n\
             root = \"{}\"\n{more}",
            computer.root().display()
        );
        let path = computer.file("preseed.toml");
        fs::write(&path, text).context("cannot write the file of answers")?;
        Ok(path)
    }

    /// The image that the seed serves.
    #[must_use]
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    pub(crate) fn run(&mut self) -> &mut RunDir {
        &mut self.run
    }
}
