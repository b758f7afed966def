//! Booting where the initrd of a stick fetched this one from a server and started it: the stick's seed, and the root from a
//! server. No third kernel starts from here.

use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::system::{RebootCommand, reboot};

use super::find_disk::settled;
use super::start_root::Root;
use super::{Boot, Setback};
use crate::disks::Layout;
use crate::root::RootSpec;
use crate::system::uptime;

/// For a stick that shows itself later than this kernel's other disks.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long this initrd tries to get its root before the stick decides anew: the server may have another image by now.
const LAST_ATTEMPT: Duration = Duration::from_secs(300);
/// For a person to read why.
const PAUSE: Duration = Duration::from_secs(30);

impl Boot {
    pub(super) fn boot_chained(&mut self, spec: &RootSpec, esp: Option<&str>) -> Result<Infallible, Setback> {
        if self.stick.is_none() {
            let stick = self.wait_for_stick(esp)?;
            self.use_stick(&stick);
        }
        let Err(setback) = self.boot_root_of_server(spec);
        if uptime() >= LAST_ATTEMPT && settled(esp).iter().any(|layout| is_it(layout, esp)) {
            self.decide_anew(&setback);
        }
        Err(setback)
    }

    fn boot_root_of_server(&mut self, spec: &RootSpec) -> Result<Infallible, Setback> {
        let uplink = self.stick_server().context("no Meadow server answers that has the root of this system")?;
        self.fetch_root(spec, &uplink)?;
        self.start_root(spec, Root::Memory(uplink))
    }

    fn wait_for_stick(&self, esp: Option<&str>) -> Result<Layout, Setback> {
        let begin = uptime();
        let end = begin + PATIENCE;
        loop {
            let known = self.arrivals.count();
            if let Some(stick) = settled(esp).into_iter().find(|layout| is_it(layout, esp)) {
                return Ok(stick);
            }
            if uptime() >= end {
                return Err(Setback::Retry(anyhow!(
                    "the stick that started this system is not there, and its seed is needed: plug it in again, or restart this machine"
                )));
            }
            self.wait_for_arrival(known, begin, end, || "for the stick that started this system".to_owned());
        }
    }

    /// Restarts, so that the stick looks again at what there is, and starts its own image where nothing else does.
    fn decide_anew(&self, setback: &Setback) {
        let why = match setback {
            Setback::Retry(error) => format!("{error:#}"),
            Setback::Stop(why) => why.clone(),
        };
        self.log.say(&format!(
            "{why}; this machine restarts in {} s, and the stick looks again at what is offered",
            PAUSE.as_secs()
        ));
        thread::sleep(PAUSE);
        self.log.flush();
        let refused = reboot(RebootCommand::Restart);
        self.log.say(&format!("the kernel does not restart ({refused:?}): switch this machine off and on"));
    }
}

fn is_it(layout: &Layout, esp: Option<&str>) -> bool {
    layout.is_stick() && (esp.is_none() || layout.is_of(esp))
}
