//! The boot from beginning to end. PID 1 never ends: whatever goes wrong is said, and tried again
//! from the network on, with growing pauses; a headless machine then heals as soon as its cause
//! does. It does not restart by itself: a machine in a restart loop can be asked nothing.

use std::convert::Infallible;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::backoff::Backoff;
use crate::boot_log::BootLog;
use crate::children::Children;
use crate::console::Consoles;
use crate::dhcp::format_mac;
use crate::dropbear::{self, Dropbear};
use crate::hardware::{Hardware, ROOT_MODULES};
use crate::http;
use crate::modules::Loader;
use crate::network::{Network, Uplink, boot_card, occupy_dhcp_port};
use crate::policy::{self, Decision, Policy};
use crate::progress::Poster;
use crate::root::{self, BootReport, Download, RootSpec};
use crate::system::{RUN_DIR, available_memory, mount_kernel_file_systems, write_private};

/// What the booted system needs beside the root image.
const SYSTEM_MEMORY: u64 = 128 << 20;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(1);

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
    log: Arc<BootLog>,
    network: Arc<Network>,
    children: Arc<Children>,
    loader: Option<Arc<Loader>>,
    policy: Policy,
    dropbear: Dropbear,
    download: Option<Download>,
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
    // Without a command line to read every card is as good as the others.
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let network = Arc::new(Network::new(boot_card(&command_line)));
    if let Err(error) = posts.deliver(Arc::clone(&network)) {
        log.say(&format!("the server will see no progress: {error}"));
    }
    let mut boot = Boot {
        log: Arc::clone(&log),
        network,
        children: Arc::default(),
        loader: None,
        policy: Policy::default(),
        dropbear: Dropbear::default(),
        download: None,
    };
    boot.start_services();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        match catch_unwind(AssertUnwindSafe(|| boot.attempt())) {
            Ok(Ok(never)) => match never {},
            Ok(Err(Setback::Retry(error))) => log.say(&format!("{error:#}")),
            Ok(Err(Setback::Stop(why))) => stop(&log, &why),
            Err(_) => {} // the hook told
        }
        let pause = backoff.pause();
        log.waiting(&format!("the next attempt in {} s", pause.as_secs()));
        thread::sleep(pause);
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
                let loader = Arc::new(loader);
                self.loader = Some(Arc::clone(&loader));
                let (network, log) = (Arc::clone(&self.network), Arc::clone(&self.log));
                self.complain(Hardware { loader, network, log }.start());
            }
            Err(error) => self.log.say(&format!("{error:#}")),
        }
        // Drivers that are part of the kernel may have found cards already.
        self.network.take_up(&self.log);
        self.preload();
    }

    /// Loads what the root needs while the network comes up; [`Boot::start_root`] asks again.
    fn preload(&self) {
        let Some(loader) = self.loader.clone() else { return };
        let load = move || {
            for name in ROOT_MODULES {
                // Said later, when it is needed and still not there.
                let _ = loader.load(name);
            }
        };
        self.complain(thread::Builder::new().name("preload".to_owned()).spawn(load).context("cannot start a thread"));
    }

    fn complain<T>(&self, result: anyhow::Result<T>) {
        if let Err(error) = result {
            self.log.say(&format!("{error:#}"));
        }
    }

    /// One attempt from the network to the booted system.
    fn attempt(&mut self) -> Result<Infallible, Setback> {
        let json = fs::read("/meadow/root.json").context("cannot read /meadow/root.json")?;
        let spec = RootSpec::parse(&json).map_err(|error| Setback::Stop(error.to_string()))?;
        self.wait_for_permission()?;
        let uplink = self.fetch_root(&spec)?;
        self.start_root(&spec, &uplink)
    }

    /// Asks the server what to do until it says to boot.
    fn wait_for_permission(&mut self) -> anyhow::Result<()> {
        loop {
            let uplink = self.network.wait_for_server(&self.log);
            let path = uplink.path("boot.json");
            let answer = http::get(&uplink.route, &path, policy::LIMIT);
            let answer = match &answer {
                Ok((status, body)) => Ok((*status, body.as_slice())),
                Err(error) => {
                    self.network.failed(&uplink.route.interface);
                    Err(format!("{} does not answer: {error}", uplink.route.base))
                }
            };
            let (decision, config) = self.policy.decide(answer.clone());
            if let (Some(config), Ok((_, body))) = (config, answer) {
                write_private(&format!("{RUN_DIR}/boot.json"), body)?;
                let allowed = self.dropbear.allow(&config.authorized_keys, &self.children, &self.log);
                self.complain(allowed.context("SSH will not be there"));
            }
            match decision {
                Decision::Boot => return Ok(()),
                Decision::Wait { stage, why, pause } => {
                    self.log.hold(stage, &why);
                    thread::sleep(pause);
                }
            }
        }
    }

    /// Has the verified image in memory when it returns.
    fn fetch_root(&mut self, spec: &RootSpec) -> Result<Uplink, Setback> {
        if self.download.is_none() {
            check_memory(available_memory()?, spec.size).map_err(Setback::Stop)?;
            self.download = Some(Download::prepare(spec)?);
        }
        let uplink = self.network.wait_for_server(&self.log);
        if let Some(download) = &mut self.download
            && download.verified().is_none()
        {
            let report = |percent| self.log.progress("root-download", percent, &spec.name);
            if let Err(error) = root::fetch(download, spec, &uplink.route, report) {
                self.network.failed(&uplink.route.interface);
                return Err(error.into());
            }
            self.log.milestone("root verified", "");
        }
        Ok(uplink)
    }

    fn start_root(&self, spec: &RootSpec, uplink: &Uplink) -> Result<Infallible, Setback> {
        if let Some(loader) = &self.loader {
            ROOT_MODULES.iter().try_for_each(|name| loader.load(name))?;
        }
        let image = self.download.as_ref().and_then(Download::verified).context("there is no verified root image")?;
        root::mount(image, spec)?;
        self.log.milestone("switch-root", "");
        let report = BootReport {
            firmware: BootReport::firmware(),
            interface: uplink.route.interface.clone(),
            mac: format_mac(uplink.mac, ":"),
            base_url: uplink.route.base.to_string(),
            root_sha256: spec.sha256.clone(),
            milestones: self.log.milestones(),
        };
        root::write_handover(&report, self.log.terminals())?;
        self.log.flush();
        self.children.end_all(GRACE);
        self.network.close();
        dropbear::forget_host_key();
        Ok(root::switch_root()?)
    }
}

/// A root that fills the memory would fail later, and less clearly.
fn check_memory(available: u64, image: u64) -> Result<(), String> {
    let needed = image + SYSTEM_MEMORY;
    if available >= needed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(format!(
        "this machine has too little memory: {} MiB are free, and the root of {} MiB needs {} MiB; add memory and switch it on again",
        available >> 20,
        mib(image),
        mib(needed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_image_and_system() {
        assert_eq!(check_memory(228 << 20, 100 << 20), Ok(()));
        let text = check_memory((228 << 20) - 1, 100 << 20).unwrap_err();
        assert!(text.contains("227 MiB are free") && text.contains("needs 228 MiB"), "{text}");
    }
}
