//! A stick whose seed says `network`: the cluster's current image from a server on the LAN, or the stick's own where there is
//! none that may start here.

use std::fs::{self, File};

use anyhow::{Context, anyhow, bail, ensure};

use super::start_root::Root;
use super::{Boot, Setback};
use crate::http;
use crate::kexec;
use crate::network::Uplink;
use crate::offer::{Choice, Offered, OwnImage, choose};
use crate::root::{self, Artifact, Download, RootSpec};
use crate::state;
use crate::system::{RUN_DIR, available_memory, write_private};

const OWN_IMAGE: &str = "/meadow/image.json";
/// Bytes of a manifest at most; packages are listed, so it has some ten thousand.
const LARGEST_MANIFEST: usize = 512 << 10;
/// Bytes of a signature at most.
pub(super) const LARGEST_SIGNATURE: usize = 16 << 10;
pub(super) const SIGNATURE: &str = "/artifacts/manifest.json.sig";
const MANIFEST: &str = "/artifacts/manifest.json";
/// How often a file is asked for before the stick's own image is taken; each attempt goes on where the one before broke.
const ATTEMPTS: u32 = 3;

impl Boot {
    /// Where the seed wants it: does not come back from starting the image of a server, and comes back with the root from
    /// there where that is this initrd's own. `None` where the stick's own image is to start, with the reason said.
    pub(super) fn root_from_network(&mut self, spec: &RootSpec) -> Option<Root> {
        self.stick.as_ref().filter(|stick| stick.from_network)?;
        match self.take_what_is_offered(spec) {
            Ok(root) => Some(root),
            Err(error) => {
                self.log.say(&format!("{error:#}; the stick's own image is taken"));
                None
            }
        }
    }

    fn take_what_is_offered(&mut self, spec: &RootSpec) -> anyhow::Result<Root> {
        let uplink = self.stick_server().context("no Meadow server answers")?;
        let own: OwnImage = fs::read(OWN_IMAGE)
            .context("cannot read /meadow/image.json")
            .and_then(|json| serde_json::from_slice(&json).context("/meadow/image.json cannot be read"))?;
        let offered = self.offered(&uplink).with_context(|| format!("the image that {} offers", uplink.route.base))?;
        match choose(&own, &spec.sha256, &offered, available_memory()?) {
            Choice::Own(why) => bail!(why),
            Choice::Same => match self.fetch_root(spec, &uplink) {
                Ok(()) => Ok(Root::Memory(uplink)),
                Err(Setback::Retry(error)) => Err(error),
                Err(Setback::Stop(why)) => Err(anyhow!(why)),
            },
            Choice::Start => {
                let refused = self.start_offered(&offered, &uplink);
                Err(refused.context(format!("the image {} of {} does not start", offered.image, uplink.route.base)))
            }
        }
    }

    /// The manifest that the server has, if this stick's build key signed it.
    fn offered(&self, uplink: &Uplink) -> anyhow::Result<Offered> {
        let get = |path: &str, limit| {
            let (status, body) = http::get(&uplink.route, path, limit)?;
            ensure!(status == 200, "the server answered with status {status} for {path}");
            Ok(body)
        };
        let (manifest, signature) = (get(MANIFEST, LARGEST_MANIFEST)?, get(SIGNATURE, LARGEST_SIGNATURE)?);
        let files = ["offered.json", "offered.json.sig"].map(|name| format!("{RUN_DIR}/{name}"));
        write_private(&files[0], &manifest)?;
        write_private(&files[1], &signature)?;
        let checked = state::check_manifest(&files[0], &files[1], &self.children);
        // The booted system has no use for them.
        files.iter().for_each(|file| _ = fs::remove_file(file));
        match checked? {
            Some(why) => bail!("{why}, so it is not started: write the stick anew with an image of that builder"),
            None => Ok(Offered::parse(&manifest)?),
        }
    }

    /// Comes back only where that image does not start; the root is where it was then.
    fn start_offered(&self, offered: &Offered, uplink: &Uplink) -> anyhow::Error {
        // What this initrd was given by a TPM is not for another one, which nobody has measured.
        let prepared = self.hand_to_kernel(offered, uplink).and_then(|()| self.close_tpm());
        if let Err(error) = prepared {
            return error;
        }
        self.log.milestone("kexec", &offered.image);
        self.log.flush();
        // No card may write into memory that is another kernel's then.
        self.network.switch_off();
        kexec::start().into()
    }

    fn hand_to_kernel(&self, offered: &Offered, uplink: &Uplink) -> anyhow::Result<()> {
        let [kernel, initrd] = [&offered.kernel, &offered.initrd].map(|part| self.fetch_to_start(part, uplink));
        let (kernel, initrd) = (kernel?, initrd?);
        let own = fs::read_to_string("/proc/cmdline").context("cannot read /proc/cmdline")?;
        let esp = self.stick.as_ref().and_then(|stick| stick.esp.as_deref());
        kexec::load(&kernel, &initrd, &kexec::command_line(&own, esp))
    }

    fn fetch_to_start(&self, part: &Artifact, uplink: &Uplink) -> anyhow::Result<File> {
        let mut download = Download::small(part)?;
        let report = |percent| self.log.progress("image-download", percent, &part.name);
        let mut attempt = 1;
        while let Err(error) = root::fetch(&mut download, part, &uplink.route, report) {
            if attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            self.log.say(&format!("{error:#}; trying again"));
        }
        download.into_readable()
    }
}
