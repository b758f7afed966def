//! The slot that the boot loader took, and the cases in which PID 1 restarts the machine for it: a new image on trial that is
//! damaged or that nobody opens, and a blessed one that is damaged while the other slot holds a whole image.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::mount::{MountFlags, UnmountFlags};

use super::trial_clock::{PATIENCE, TrialClock};
use crate::boot_log::BootLog;
use crate::disks::Partition;
use crate::grubenv::{self, GrubEnv, MOST_FAILURES};
use crate::modules::Loader;
use crate::slot::Slot;

/// For a person to read why a new image is given up.
const PAUSE: Duration = Duration::from_secs(30);
static TRIAL: TrialClock = TrialClock::new(PATIENCE);
const ESP: &str = "/meadow/esp";
const GRUBENV: &str = "/meadow/esp/meadow/grubenv";
/// The second and third are tables of letters that vfat asks for.
const MODULES: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];

/// What is known of this boot's slot.
#[derive(Clone)]
pub(super) struct OwnSlot {
    /// The slot that the boot loader took.
    pub(super) running: Option<Slot>,
    /// Where GRUB keeps which one is blessed: the ESP that it was started from.
    pub(super) esp: Option<Partition>,
    /// Brings what reads the ESP.
    pub(super) loader: Option<Arc<Loader>>,
    /// Hears why.
    pub(super) log: Arc<BootLog>,
}

impl OwnSlot {
    /// Kernel and initrd came this far: takes GRUB's count of failed starts back, and limits the time of a trial.
    pub(super) fn note_start(&self) {
        let (Some(running), Some(esp)) = (self.running, &self.esp) else { return };
        match self.take_count_back(esp, running) {
            Ok(true) => self.limit_trial(running),
            Ok(false) => {}
            Err(error) => self.log.say(&format!("{error:#}; the boot loader counts this start as a failed one")),
        }
    }

    /// Whether this is a trial.
    fn take_count_back(&self, esp: &Partition, running: Slot) -> anyhow::Result<bool> {
        let mounted = self.mount(esp, MountFlags::RDONLY)?;
        let bytes = mounted.grubenv()?;
        drop(mounted);
        let Some(environment) = GrubEnv::parse(&bytes) else { return Ok(false) };
        // The count is of the blessed slot, whoever stands in for it.
        if environment.blessed == running && environment.failures.is_some_and(|failures| failures > 0) {
            self.count(esp, 0)?;
        }
        Ok(environment.is_trial(running))
    }

    fn limit_trial(&self, running: Slot) {
        let this = self.clone();
        if let Err(error) = TRIAL.start(thread::sleep, move |why| this.restart_from(running, why)) {
            self.log.say(&format!("this trial has no end by itself: {error}"));
        }
    }

    /// Restarts, so that GRUB takes the blessed slot. Comes back where this is no trial: a restart would end here again.
    pub(super) fn give_up(&self) {
        let (Some(running), Some(esp)) = (self.running, &self.esp) else { return };
        let environment = self.mount(esp, MountFlags::RDONLY).and_then(|esp| esp.grubenv());
        match environment.map(|bytes| GrubEnv::parse(&bytes)) {
            Ok(Some(environment)) if environment.is_trial(running) => {
                self.restart_from(running, "the new image is damaged");
            }
            Ok(_) => {}
            Err(error) => self.log.say(&format!("{error:#}; this boot counts as no trial")),
        }
    }

    /// Restarts, so that GRUB gives the other slot a turn, where this is the blessed one and the other one holds an image. Comes
    /// back where that is no way on.
    pub(super) fn fall_back(&self) {
        let (Some(running), Some(esp)) = (self.running, &self.esp) else { return };
        match self.let_the_other_have_a_turn(esp, running) {
            Ok(true) => self.restart_from(running, "its root is damaged and no server has it"),
            Ok(false) => {}
            Err(error) => self.log.say(&format!("{error:#}; the other slot is not tried")),
        }
    }

    fn let_the_other_have_a_turn(&self, esp: &Partition, running: Slot) -> anyhow::Result<bool> {
        let mounted = self.mount(esp, MountFlags::RDONLY)?;
        let (environment, other) = (GrubEnv::parse(&mounted.grubenv()?), running.other().letter());
        let is_whole = Path::new(ESP).join(format!("meadow/{other}/root.json")).exists();
        drop(mounted);
        let counts = environment.is_some_and(|found| found.blessed == running && found.failures.is_some());
        if counts && is_whole {
            self.count(esp, MOST_FAILURES)?;
        }
        Ok(counts && is_whole)
    }

    fn restart_from(&self, running: Slot, why: &str) {
        let (slot, other) = (running.letter(), running.other().letter());
        self.log.milestone("slot given up", slot);
        let seconds = PAUSE.as_secs();
        self.log.say(&format!("slot {slot}: {why}; this machine restarts in {seconds} s and boots slot {other}"));
        thread::sleep(PAUSE);
        self.log.flush();
        rustix::fs::sync();
        let refused = rustix::system::reboot(rustix::system::RebootCommand::Restart);
        self.log.say(&format!("the kernel does not restart ({refused:?}): switch this machine off and on"));
    }

    /// Sets GRUB's count in place, as GRUB writes it.
    fn count(&self, esp: &Partition, failures: u8) -> anyhow::Result<()> {
        let mounted = self.mount(esp, MountFlags::SYNCHRONOUS)?;
        let Some(changed) = grubenv::with_failures(&mounted.grubenv()?, failures) else { return Ok(()) };
        OpenOptions::new()
            .write(true)
            .open(GRUBENV)
            .and_then(|mut file| file.write_all(&changed).and_then(|()| file.sync_all()))
            .with_context(|| format!("cannot write meadow/grubenv on {}", esp.path()))
    }

    fn mount(&self, esp: &Partition, more: MountFlags) -> anyhow::Result<Mounted> {
        if let Some(loader) = &self.loader {
            MODULES.iter().try_for_each(|name| loader.load(name))?;
        }
        fs::create_dir_all(ESP).with_context(|| format!("cannot make {ESP}"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | more;
        let path = esp.path();
        rustix::mount::mount(path.as_str(), ESP, "vfat", flags, None)
            .with_context(|| format!("cannot mount the ESP {path}"))?;
        Ok(Mounted)
    }
}

/// The ESP, until this is dropped.
struct Mounted;

impl Mounted {
    fn grubenv(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(GRUBENV)
            .and_then(|file| file.take(grubenv::BYTES as u64).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {GRUBENV}"))?;
        Ok(bytes)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Every file in it is closed and synced by now.
        let _ = rustix::mount::unmount(ESP, UnmountFlags::DETACH);
    }
}
