//! Booting from a disk. No server is needed: the root is checked against this initrd, the state is opened by a person.

use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::mount::{MountFlags, UnmountFlags};

use super::start_root::Root;
use super::{Boot, Setback};
use crate::boot_log::BootLog;
use crate::disks::{Layout, Partition};
use crate::grubenv;
use crate::root::{RootSpec, Verdict, examine};
use crate::slot::Slot;

/// For a person to read why a new image is given up.
const TRIAL_PAUSE: Duration = Duration::from_secs(30);
/// How long to look for a server that has the root, before the disks are looked at again.
const SERVER_PATIENCE: Duration = Duration::from_secs(15);
const ESP: &str = "/meadow/esp";

impl Boot {
    pub(super) fn boot_from_disk(
        &mut self,
        spec: &RootSpec,
        slot: Option<Slot>,
        esp: Option<&str>,
    ) -> Result<Infallible, Setback> {
        let disks = self.wait_for_root_disks(esp);
        let candidates = candidates(&disks, slot);
        let log = std::sync::Arc::clone(&self.log);
        // With one disk it is clear whose state to ask for, and the root is checked meanwhile.
        let root = if let [only] = disks.as_slice() {
            let (spec_there, log_there) = (spec.clone(), std::sync::Arc::clone(&log));
            let check = thread::Builder::new()
                .name("root-check".to_owned())
                .spawn(move || right_root(&candidates, &spec_there, &log_there))
                .context("cannot start a thread")?;
            self.open_state(only)?;
            check.join().map_err(|_| anyhow!("the check of the root crashed"))?
        } else {
            let root = right_root(&candidates, spec, &log);
            let disk =
                root.as_ref().map_or_else(|| disks.first(), |(_, part)| disks.iter().find(|d| d.disk == part.disk));
            if let Some(layout) = disk {
                self.open_state(layout)?;
            }
            root
        };
        if let Some((slot, partition)) = root {
            self.log.milestone("root verified", &format!("slot {} on {}", slot.letter(), partition.device));
            return self.start_root(spec, Root::Partition { slot, partition });
        }
        if let Some(layout) = disks.first() {
            self.give_up_trial(layout, slot);
        }
        self.boot_fetched_root(spec, &disks)
    }

    /// The same root from a server, if one answers: as good as the disk's, since only its digest counts.
    fn boot_fetched_root(&mut self, spec: &RootSpec, disks: &[Layout]) -> Result<Infallible, Setback> {
        let problem = if disks.is_empty() {
            "no disk with Meadow's system was found: plug it in, or install this machine again"
        } else {
            "no root on the disks is the one of this initrd (damaged, or half of an update): install this machine again once it runs"
        };
        self.log.say(&format!("{problem}; looking for a Meadow server that has it"));
        let Some(uplink) = self.network.server_within(SERVER_PATIENCE, &self.log) else {
            return Err(Setback::Retry(anyhow!("{problem}; no Meadow server answers either: both are tried again")));
        };
        self.fetch_root(spec, &uplink)?;
        self.start_root(spec, Root::Memory(uplink))
    }

    /// A new image that is tried once and does not boot: GRUB takes the blessed one at the next start. Comes back where
    /// this is no trial.
    fn give_up_trial(&self, layout: &Layout, running: Option<Slot>) {
        let (Some(running), Some(esp)) = (running, &layout.esp) else { return };
        let blessed = match self.read_blessed(esp) {
            Ok(blessed) => blessed,
            Err(error) => return self.log.say(&format!("{error:#}")),
        };
        if blessed.is_none_or(|blessed| blessed == running) {
            return;
        }
        self.log.milestone("trial failed", running.letter());
        self.log.say(&format!(
            "the new image in slot {} is damaged; this machine restarts in {} s and boots the image that ran before",
            running.letter(),
            TRIAL_PAUSE.as_secs()
        ));
        self.log.flush();
        thread::sleep(TRIAL_PAUSE);
        rustix::fs::sync();
        let refused = rustix::system::reboot(rustix::system::RebootCommand::Restart);
        self.log.say(&format!("the kernel does not restart ({refused:?}): switch this machine off and on"));
    }

    fn read_blessed(&self, esp: &Partition) -> anyhow::Result<Option<Slot>> {
        if let Some(hardware) = &self.hardware {
            // vfat looks for its tables by these names; the kernel's own wish would come through modprobe.
            ["vfat", "nls_cp437", "nls_ascii"].iter().try_for_each(|name| hardware.loader.load(name))?;
        }
        fs::create_dir_all(ESP).with_context(|| format!("cannot make {ESP}"))?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let path = esp.path();
        rustix::mount::mount(path.as_str(), ESP, "vfat", flags, None)
            .with_context(|| format!("cannot mount the ESP {path}"))?;
        let mut bytes = Vec::new();
        let read = fs::File::open(format!("{ESP}/meadow/grubenv"))
            .and_then(|file| file.take(grubenv::BYTES as u64).read_to_end(&mut bytes));
        // Read-only: nothing is lost where this fails.
        let _ = rustix::mount::unmount(ESP, UnmountFlags::DETACH);
        read.with_context(|| format!("cannot read meadow/grubenv on {path}"))?;
        Ok(grubenv::blessed(&bytes))
    }
}

/// The roots of all disks in the order to look at them.
fn candidates(disks: &[Layout], slot: Option<Slot>) -> Vec<(Slot, Partition)> {
    disks.iter().flat_map(|layout| layout.roots_from(slot)).collect()
}

fn right_root(candidates: &[(Slot, Partition)], spec: &RootSpec, log: &BootLog) -> Option<(Slot, Partition)> {
    for (slot, partition) in candidates {
        let path = partition.path();
        let what = format!("slot {} on {}", slot.letter(), partition.device);
        match examine(&path, spec, |_| ()) {
            Verdict::Right => return Some((*slot, partition.clone())),
            Verdict::Other => log.say(&format!("{what} does not hold the root of this initrd")),
            Verdict::Unreadable(error) => log.say(&format!("{what} cannot be read ({error}): check that disk")),
        }
    }
    None
}
