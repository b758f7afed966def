//! The home router: a stock dnsmasq that hands out addresses and knows nothing of PXE.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::lan::Lan;
use crate::namespace::Namespace;
use crate::process::Program;
use crate::run_dir::RunDir;
use crate::subnet::Subnet;
use crate::wait;

/// Last number of the router's address.
const HOST: u8 = 1;

/// A router.
#[derive(Debug)]
pub struct Router {
    namespace: Namespace,
    subnet: Subnet,
    leases: PathBuf,
    log: PathBuf,
    process: Program,
}

impl Router {
    /// Starts it and waits until it serves.
    ///
    /// It keeps dnsmasq's defaults, among them the ping before each first offer (3 s), as a router at home does.
    ///
    /// # Errors
    /// When dnsmasq does not start.
    pub fn start(run: &mut RunDir, lan: &Lan) -> Result<Self> {
        let namespace = lan.computer_at(run, "router", HOST)?;
        let (subnet, leases, log) = (lan.subnet(), run.file("router.leases"), run.file("router.log"));
        let process = namespace.start(run, dnsmasq(&namespace, subnet, &leases), &log)?;
        let mut router = Self { namespace, subnet, leases, log, process };
        router.wait_until_it_serves(0)?;
        Ok(router)
    }

    fn wait_until_it_serves(&mut self, begin: usize) -> Result<()> {
        wait::until("the router's DHCP server", Duration::from_secs(10), || {
            let log = self.log()?;
            if let Some(status) = self.process.exited()? {
                bail!("dnsmasq ended ({status}): {log}");
            }
            Ok(log.get(begin..).is_some_and(|new| new.contains("DHCP, IP range")).then_some(()))
        })
    }

    /// Switches its DHCP server off.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn switch_off(&mut self) -> Result<()> {
        Ok(self.process.kill()?)
    }

    /// Switches its DHCP server on again; it knows the leases that it gave.
    ///
    /// # Errors
    /// When dnsmasq does not start.
    pub fn switch_on(&mut self, run: &mut RunDir) -> Result<()> {
        let begin = self.log()?.len();
        let command = dnsmasq(&self.namespace, self.subnet, &self.leases);
        self.process = self.namespace.start(run, command, &self.log)?;
        self.wait_until_it_serves(begin)
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Everything that it has logged.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

fn dnsmasq(namespace: &Namespace, subnet: Subnet, leases: &Path) -> Command {
    let mut command = namespace.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--log-dhcp"])
        .args(["--port=0", "--interface=eth0", "--bind-interfaces"])
        .arg(format!("--dhcp-range={},{},1h", subnet.host(50), subnet.host(199)))
        .arg(format!("--dhcp-leasefile={}", leases.display()));
    command
}
