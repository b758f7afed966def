//! The home router: a stock dnsmasq that hands out addresses and knows nothing of PXE.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::lan::Lan;
use crate::namespace::Namespace;
use crate::process::Program;
use crate::run_dir::RunDir;
use crate::wait;

/// Last number of the router's address.
const HOST: u8 = 1;

/// A running router.
#[derive(Debug)]
pub struct Router {
    namespace: Namespace,
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
        let subnet = lan.subnet();
        let log = run.file("router.log");
        let mut command = namespace.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--log-dhcp"])
            .args(["--port=0", "--interface=eth0", "--bind-interfaces"])
            .arg(format!("--dhcp-range={},{},1h", subnet.host(50), subnet.host(199)))
            .arg(format!("--dhcp-leasefile={}", run.file("router.leases").display()));
        let process = namespace.start(run, command, &log)?;
        let mut router = Self { namespace, log, process };
        wait::until("the router's DHCP server", Duration::from_secs(10), || router.serves())?;
        Ok(router)
    }

    fn serves(&mut self) -> Result<Option<()>> {
        let log = self.log()?;
        if let Some(status) = self.process.exited()? {
            bail!("dnsmasq ended ({status}): {log}");
        }
        Ok(log.contains("DHCP, IP range").then_some(()))
    }

    /// Switches its DHCP server off.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn switch_off(&mut self) -> Result<()> {
        Ok(self.process.kill()?)
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
