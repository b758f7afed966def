//! A new image that is tried once and does not boot: the one case in which PID 1 restarts the machine.

use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::boot_log::BootLog;
use crate::disks::Partition;
use crate::grubenv;
use crate::modules::Loader;
use crate::slot::Slot;

/// For a person to read why a new image is given up.
const PAUSE: Duration = Duration::from_secs(30);
const ESP: &str = "/meadow/esp";
/// The second and third are tables of letters that vfat asks for.
const MODULES: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];

/// What is known of this boot's slot.
pub(super) struct Trial {
    /// The slot that the boot loader took.
    pub(super) running: Option<Slot>,
    /// Where GRUB keeps which one is blessed.
    pub(super) esp: Option<Partition>,
    /// Brings what reads the ESP.
    pub(super) loader: Option<Arc<Loader>>,
    /// Hears why.
    pub(super) log: Arc<BootLog>,
}

impl Trial {
    /// Restarts, so that GRUB takes the blessed slot. Comes back where this is no trial: a restart would end here again.
    pub(super) fn give_up(&self) {
        let (Some(running), Some(esp)) = (self.running, &self.esp) else { return };
        let blessed = match self.read_blessed(esp) {
            Ok(blessed) => blessed,
            Err(error) => return self.log.say(&format!("{error:#}; this boot counts as no trial")),
        };
        if blessed.is_none_or(|blessed| blessed == running) {
            return;
        }
        self.log.milestone("trial failed", running.letter());
        self.log.say(&format!(
            "the new image in slot {} is damaged; this machine restarts in {} s and boots the image that ran before",
            running.letter(),
            PAUSE.as_secs()
        ));
        thread::sleep(PAUSE);
        self.log.flush();
        rustix::fs::sync();
        let refused = rustix::system::reboot(rustix::system::RebootCommand::Restart);
        self.log.say(&format!("the kernel does not restart ({refused:?}): switch this machine off and on"));
    }

    fn read_blessed(&self, esp: &Partition) -> anyhow::Result<Option<Slot>> {
        if let Some(loader) = &self.loader {
            MODULES.iter().try_for_each(|name| loader.load(name))?;
        }
        fs::create_dir_all(ESP).with_context(|| format!("cannot make {ESP}"))?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let path = esp.path();
        rustix::mount::mount(path.as_str(), ESP, "vfat", flags, None)
            .with_context(|| format!("cannot mount the ESP {path}"))?;
        let mut bytes = Vec::new();
        let read = File::open(format!("{ESP}/meadow/grubenv"))
            .and_then(|file| file.take(grubenv::BYTES as u64).read_to_end(&mut bytes));
        // Read-only: nothing is lost where this fails.
        let _ = rustix::mount::unmount(ESP, UnmountFlags::DETACH);
        read.with_context(|| format!("cannot read meadow/grubenv on {path}"))?;
        Ok(grubenv::blessed(&bytes))
    }
}
