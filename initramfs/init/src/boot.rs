//! The boot from beginning to end. PID 1 never ends: whatever goes wrong is said, and tried again
//! from the beginning, with growing pauses; a headless machine then heals as soon as its cause
//! does. It does not restart by itself: a machine in a restart loop can be asked nothing. (But for
//! few cases, each of which leads elsewhere: see `own_slot`, and `chained` for an image that a stick started and whose root
//! no server has any more.)

mod chained;
mod find_disk;
mod installed;
mod netboot;
mod offered;
mod own_slot;
mod own_state;
mod start_root;
mod stick;
mod trial_clock;

use std::convert::Infallible;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::arrivals::Arrivals;
use crate::backoff::Backoff;
use crate::boot_log::BootLog;
use crate::children::Children;
use crate::console::Consoles;
use crate::dropbear::Dropbear;
use crate::efi;
use crate::hardware::{Hardware, ROOT_MODULES};
use crate::mode::Mode;
use crate::modules::Loader;
use crate::network::{Network, occupy_dhcp_port};
use crate::policy::Policy;
use crate::progress::Poster;
use crate::root::{Download, LostState, RootSpec};
use crate::system::{mount_kernel_file_systems, uptime};
use own_state::OwnState;
use stick::Stick;

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why an attempt ended.
#[derive(Debug)]
enum Setback {
    /// Worth another attempt.
    Retry(anyhow::Error),
    /// Nothing that time could change: stay, and say so.
    Stop(String),
}

impl From<anyhow::Error> for Setback {
    fn from(error: anyhow::Error) -> Self {
        Self::Retry(error)
    }
}

/// Everything that lives as long as the initramfs.
struct Boot {
    mode: Mode,
    log: Arc<BootLog>,
    network: Arc<Network>,
    children: Arc<Children>,
    arrivals: Arc<Arrivals>,
    hardware: Option<Hardware>,
    policy: Policy,
    dropbear: Dropbear,
    download: Option<Download>,
    state: Option<OwnState>,
    lost: Option<LostState>,
    stick: Option<Stick>,
}

/// Boots. Does not return.
pub fn run() -> ! {
    let mounted = mount_kernel_file_systems();
    let (poster, posts) = Poster::new();
    let log = Arc::new(BootLog::new(Consoles::open(), poster));
    tell_panics(&log);
    log.milestone("init", "");
    if let Err(error) = mounted {
        log.say(&format!("{error:#}"));
    }
    // Without a command line to read every card is as good as the others, and a disk is looked for.
    let mode = Mode::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    let network = Arc::new(Network::new(mode.boot_card()));
    if let Err(error) = posts.deliver(Arc::clone(&network)) {
        log.say(&format!("the server will see no progress: {error}"));
    }
    let mut boot = Boot {
        mode,
        log: Arc::clone(&log),
        network,
        children: Arc::default(),
        arrivals: Arc::default(),
        hardware: None,
        policy: Policy::default(),
        dropbear: Dropbear::default(),
        download: None,
        state: None,
        lost: None,
        stick: None,
    };
    boot.start_services();
    boot.ask_firmware();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let arrived = boot.arrivals.count();
        match catch_unwind(AssertUnwindSafe(|| boot.attempt())) {
            Ok(Ok(never)) => match never {},
            Ok(Err(Setback::Retry(error))) => log.say(&format!("{error:#}")),
            Ok(Err(Setback::Stop(why))) => stop(&log, &why),
            Err(_) => {} // the hook told
        }
        let pause = backoff.pause();
        log.waiting(&format!("the next attempt in {} s", pause.as_secs()));
        boot.pause(arrived, pause);
    }
}

/// A panic goes to the consoles: the kernel's own would only say that init died.
fn tell_panics(log: &Arc<BootLog>) {
    let log = Arc::clone(log);
    std::panic::set_hook(Box::new(move |info| {
        log.shout(&format!("a defect of this initrd: {info}; it goes on with another attempt"));
    }));
}

fn stop(log: &BootLog, why: &str) -> ! {
    log.say(why);
    loop {
        log.waiting(why);
        thread::sleep(LONGEST_PAUSE);
    }
}

impl Boot {
    /// Children, drivers and network, each on threads of its own.
    fn start_services(&mut self) {
        let children = Arc::clone(&self.children);
        let reaper = thread::Builder::new().name("reaper".to_owned()).spawn(move || children.reap());
        self.complain(reaper.context("nobody will wait for children"));
        // Kept open for ever.
        match occupy_dhcp_port() {
            Ok(socket) => std::mem::forget(socket),
            Err(error) => self.log.say(&format!("port 68 cannot be taken: {error}")),
        }
        match Loader::open() {
            Ok(loader) => {
                if matches!(self.mode, Mode::Network { .. }) {
                    loader.hold_disks_back();
                }
                let (network, log) = (Arc::clone(&self.network), Arc::clone(&self.log));
                let arrivals = Arc::clone(&self.arrivals);
                let hardware = Hardware { loader: Arc::new(loader), network, arrivals, log };
                self.complain(hardware.clone().start());
                self.hardware = Some(hardware);
            }
            Err(error) => self.log.say(&format!("{error:#}")),
        }
        // Drivers that are part of the kernel may have found cards already.
        self.network.take_up(&self.log);
        self.preload();
    }

    /// Loads what the root needs while the network comes up; [`Boot::start_root`] asks again.
    fn preload(&self) {
        let Some(loader) = self.hardware.as_ref().map(|hardware| Arc::clone(&hardware.loader)) else { return };
        let load = move || {
            for name in ROOT_MODULES {
                // Said later, when it is needed and still not there.
                let _ = loader.load(name);
            }
        };
        self.complain(thread::Builder::new().name("preload".to_owned()).spawn(load).context("cannot start a thread"));
    }

    /// What GRUB did not say on the command line, a UKI may have left with the firmware.
    fn ask_firmware(&mut self) {
        let Mode::Disk { slot, esp } = &mut self.mode else { return };
        if slot.is_none() || esp.is_none() {
            self.hardware.iter().for_each(|hardware| _ = hardware.loader.load("efivarfs"));
            let origin = efi::origin();
            *slot = slot.or(origin.slot);
            *esp = esp.take().or(origin.esp);
        }
    }

    fn complain<T>(&self, result: anyhow::Result<T>) {
        if let Err(error) = result {
            self.log.say(&format!("{error:#}"));
        }
    }

    /// Between two attempts; a disk that comes ends it early where it could help.
    fn pause(&self, arrived: u64, pause: Duration) {
        match self.mode {
            Mode::Network { .. } => thread::sleep(pause),
            Mode::Disk { .. } | Mode::Chained { .. } => _ = self.arrivals.wait(arrived, uptime() + pause),
        }
    }

    /// One attempt from the beginning to the booted system.
    fn attempt(&mut self) -> Result<Infallible, Setback> {
        let json = fs::read("/meadow/root.json").context("cannot read /meadow/root.json")?;
        let spec = RootSpec::parse(&json).map_err(|error| Setback::Stop(error.to_string()))?;
        match self.mode.clone() {
            Mode::Network { .. } => self.boot_from_network(&spec),
            Mode::Disk { slot, esp } => self.boot_from_disk(&spec, slot, esp.as_deref()),
            Mode::Chained { esp } => self.boot_chained(&spec, esp.as_deref()),
        }
    }
}
