//! The rack as a whole: LAN, home router and machines.

use anyhow::{Context, Result, ensure};

use crate::accelerator::{self, Accelerator};
use crate::firmware::Firmware;
use crate::lan::Lan;
use crate::machine::{Machine, Wanted};
use crate::namespace::Namespace;
use crate::router::Router;
use crate::run_dir::RunDir;

/// What stands in a rack.
#[derive(Clone, Debug)]
pub struct RackConfig {
    /// One machine each.
    pub firmware: Vec<Firmware>,
    /// Memory of each machine in MiB.
    pub memory_mib: u32,
}

impl RackConfig {
    /// `count` machines of 1 GiB that take turns in the given firmware.
    #[must_use]
    pub fn cycled(count: u8, firmware: &[Firmware]) -> Self {
        Self { firmware: firmware.iter().copied().cycle().take(usize::from(count)).collect(), memory_mib: 1024 }
    }
}

/// A rack that stands until it is dropped.
#[derive(Debug)]
pub struct Rack {
    // Dropped from top to bottom: programs first, then namespaces and the folder's lock.
    machines: Vec<Machine>,
    router: Router,
    lan: Lan,
    run: RunDir,
    accelerator: Accelerator,
}

impl Rack {
    /// Builds it; all machines are off.
    ///
    /// # Errors
    /// When something cannot be made; what was made is taken down again.
    pub fn build(config: &RackConfig) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "network namespaces need root; run it with sudo");
        let mut run = RunDir::create()?;
        let accelerator = if config.firmware.is_empty() { Accelerator::Tcg } else { accelerator::probe(run.path())? };
        let lan = Lan::create(&mut run)?;
        let router = Router::start(&mut run, &lan)?;
        let mut machines = Vec::new();
        for (number, firmware) in (1..).zip(&config.firmware) {
            machines.push(Machine::install(
                &run,
                &lan,
                &Wanted { number, firmware: *firmware, memory_mib: config.memory_mib, accelerator },
            )?);
        }
        run.keep_logs(false);
        Ok(Self { machines, router, lan, run, accelerator })
    }

    /// What runs the guests.
    #[must_use]
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// The rack's folder.
    #[must_use]
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// The network.
    #[must_use]
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// The folder, to note more, and the network, to cable more.
    pub fn parts(&mut self) -> (&mut RunDir, &Lan) {
        (&mut self.run, &self.lan)
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

    /// Switches it on again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn switch_router_on(&mut self) -> Result<()> {
        self.router.switch_on(&mut self.run)
    }

    /// The machines.
    #[must_use]
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machine `node-<number>`.
    ///
    /// # Errors
    /// When there is none.
    pub fn machine(&mut self, number: usize) -> Result<&mut Machine> {
        number
            .checked_sub(1)
            .and_then(|index| self.machines.get_mut(index))
            .with_context(|| format!("the rack has no node-{number}"))
    }

    /// Adds a computer that is a namespace with an address in the LAN.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn computer_at(&mut self, role: &str, number: u8) -> Result<Namespace> {
        self.lan.computer_at(&mut self.run, role, number)
    }

    /// Switches one machine on.
    ///
    /// # Errors
    /// See [`Machine::power_on`].
    pub fn power_on(&mut self, number: usize) -> Result<()> {
        let machine = number
            .checked_sub(1)
            .and_then(|index| self.machines.get_mut(index))
            .with_context(|| format!("the rack has no node-{number}"))?;
        machine.power_on(&mut self.run, &self.lan)
    }

    /// Switches all machines on.
    ///
    /// # Errors
    /// See [`Machine::power_on`].
    pub fn power_on_all(&mut self) -> Result<()> {
        self.machines.iter_mut().try_for_each(|machine| machine.power_on(&mut self.run, &self.lan))
    }

    /// Looks after all machines, see [`Machine::look_after`].
    ///
    /// # Errors
    /// When one has ended.
    pub fn look_after(&mut self) -> Result<()> {
        self.machines.iter_mut().try_for_each(|machine| machine.look_after(&mut self.run, &self.lan))
    }
}
