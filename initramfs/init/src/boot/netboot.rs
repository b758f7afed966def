//! Booting over the network: permission, state where the server says so, the root into memory.

use std::convert::Infallible;
use std::thread;

use super::start_root::Root;
use super::{Boot, Setback};
use crate::dropbear::Purpose;
use crate::http;
use crate::network::Uplink;
use crate::policy::{self, Action, BootConfig, Decision};
use crate::root::{self, Download, RootSpec};
use crate::system::{RUN_DIR, available_memory, write_private};

/// What the booted system needs beside the root image.
const SYSTEM_MEMORY: u64 = 128 << 20;

/// Digits of a digest that tell people which root it is.
const SHOWN: usize = 12;

impl Boot {
    pub(super) fn boot_from_network(&mut self, spec: &RootSpec) -> Result<Infallible, Setback> {
        let config = self.wait_for_permission()?;
        if let Some(serial) = &config.state_disk {
            match self.wait_for_state_disk(serial, config.node.as_deref())? {
                Some(layout) => self.open_state(&layout)?,
                None => self.go_on_with_an_empty_disk(serial, &config),
            }
        }
        let uplink = self.network.wait_for_server(&self.log);
        self.fetch_root(spec, &uplink)?;
        self.start_root(spec, Root::Memory(uplink))
    }

    /// Asks the server what to do until it says to boot.
    fn wait_for_permission(&mut self) -> anyhow::Result<BootConfig> {
        loop {
            let uplink = self.network.wait_for_server(&self.log);
            let path = uplink.path("boot.json");
            let answer = http::get(&uplink.route, &path, policy::LIMIT);
            let answer = match &answer {
                Ok((status, body)) => Ok((*status, body.as_slice())),
                Err(error) => {
                    self.network.failed(&uplink.route);
                    Err(format!("{} does not answer: {error}", uplink.route.base))
                }
            };
            let (decision, config) = self.policy.decide(answer.clone());
            if let (Some(config), Ok((_, body))) = (&config, answer) {
                write_private(&format!("{RUN_DIR}/boot.json"), body)?;
                // Who unlocks a state is in the record beside it, not in what a server on the LAN says.
                if config.state_disk.is_none() || config.action != Action::Boot {
                    let keys = &config.authorized_keys;
                    let allowed = self.dropbear.allow(keys, Purpose::Look, &self.children, &self.log);
                    self.complain(allowed.map_err(|error| error.context("SSH will not be there")));
                }
            }
            match (decision, config) {
                (Decision::Boot, Some(config)) => return Ok(config),
                (Decision::Boot, None) => {}
                (Decision::Wait { stage, why, pause }, _) => {
                    self.log.hold(stage, &why);
                    thread::sleep(pause);
                }
            }
        }
    }

    /// Has the verified image in memory when it returns.
    pub(super) fn fetch_root(&mut self, spec: &RootSpec, uplink: &Uplink) -> Result<(), Setback> {
        let image = spec.artifact();
        let download = match &mut self.download {
            Some(download) => download,
            None => {
                check_memory(available_memory()?, spec.size).map_err(Setback::Stop)?;
                self.download.insert(Download::prepare(&image)?)
            }
        };
        if download.verified().is_none() {
            let report = |percent| self.log.progress("root-download", percent, &spec.name);
            if let Err(error) = root::fetch(download, &image, &uplink.route, report) {
                self.network.failed(&uplink.route);
                return Err(error.into());
            }
            let digest = spec.sha256.get(..SHOWN).unwrap_or_default();
            self.log.milestone("root verified", digest);
        }
        Ok(())
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
