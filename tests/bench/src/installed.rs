//! Seconds from a netbooted node to an installed one, from power-on to its prompt, from the passphrase to a ready node, and
//! of an update.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site, paths};
use serde_json::Value;

use crate::boot::LIMIT;
use crate::measure::Measure;

/// What an installation may take beside the writing of the image.
const INSTALL_GOAL_S: f64 = 60.0;
/// What an installation writes of an image.
const WRITTEN: [&str; 4] = ["root.img", "vmlinuz", "initrd", "uki.efi"];
const NODE: &str = "node-1";

/// One machine through its life.
#[derive(Debug, Default)]
struct Life {
    install: f64,
    raw_write: f64,
    prompt: f64,
    unlock: f64,
    ready: f64,
    add: f64,
    rollout: f64,
    away: f64,
}

/// Installs a machine and updates it, `rounds` times.
///
/// # Errors
/// When something does not happen.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let mut lives = Vec::new();
    for round in 1..=rounds {
        progress.line(&format!("installed node {round} of {rounds}"));
        lives.push(live(progress)?);
    }
    let of = |name: &str, value: fn(&Life) -> f64| Measure::rounds(name, "s", lives.iter().map(value).collect());
    Ok(vec![
        of("peer: the image's bytes written to a file of the host and synced", |life| life.raw_write),
        of("install: from the command to its end", |life| life.install),
        of("install − peer", |life| life.install - life.raw_write).at_most(INSTALL_GOAL_S),
        of("power-on to the prompt that ssh reaches", |life| life.prompt),
        of("meadow unlock, with Argon2id of 128 MiB and 4 passes", |life| life.unlock),
        of("from the passphrase to Ready", |life| life.ready),
        of("meadow image add", |life| life.add),
        of("rollout to one node", |life| life.rollout),
        of("of it not Ready, opened by hand as soon as it asks", |life| life.away),
    ])
}

fn live(progress: &mut Progress) -> Result<Life> {
    let folder = tempfile::tempdir()?;
    let admin = Admin::create(folder.path())?;
    let seed = SeedConfig { authorized_keys: vec![admin.public_key()?], ..SeedConfig::default() };
    let config = RackConfig { firmware: vec![Firmware::BiosPxe], memory_mib: 1024 };
    let mut site = Site::build(&config, &seed, progress)?;
    site.arm_all()?;
    site.rack_mut().power_on_all()?;
    site.wait_ready(LIMIT, progress)?;
    let mut life = Life { raw_write: raw_write(folder.path())?, ..Life::default() };

    let consent = ["--yes", "--accept-risk=wipe-disk", "--no-reboot", "--passphrase-file"];
    let install = ["node", "install", NODE, "--disk", NODE].into_iter().chain(consent).chain([admin.passphrase()?]);
    life.install = timed(|| run(&site, &install.clone().collect::<Vec<_>>()).map(drop))?;

    let machine = site.rack_mut().machine(1)?;
    machine.power_off()?;
    machine.boot_from_disk();
    site.rack_mut().power_on(1)?;
    wait_prompt(&mut site)?;
    life.prompt = site.rack_mut().machine(1)?.uptime().context("it is off")?.as_secs_f64();
    let begin = Instant::now();
    admin.unlock(&site)?;
    life.unlock = begin.elapsed().as_secs_f64();
    wait_ready(&mut site, true)?;
    life.ready = begin.elapsed().as_secs_f64();
    update(&mut site, &admin, &mut life)?;
    Ok(life)
}

fn update(site: &mut Site, admin: &Admin, life: &mut Life) -> Result<()> {
    let folder = paths::image().with_file_name("image-next");
    let folder = folder.canonicalize().context("there is no second image; tests/make/image-variants builds it")?;
    let begin = Instant::now();
    let added = run(site, &["image", "add", &folder.display().to_string(), "-o", "json"])?;
    life.add = begin.elapsed().as_secs_f64();
    let added: Value = serde_json::from_str(&added)?;
    let image = added.pointer("/metadata/name").and_then(Value::as_str).context("the image has no name")?;

    site.rack_mut().machine(1)?.expect_restart();
    let begin = Instant::now();
    let rollout = begin_rollout(site, image)?;
    wait_ready(site, false)?;
    let gone = Instant::now();
    wait_prompt(site)?;
    admin.unlock(site)?;
    wait_ready(site, true)?;
    life.away = gone.elapsed().as_secs_f64();
    let output = rollout.wait_with_output()?;
    ensure!(output.status.success(), "the rollout failed: {}", String::from_utf8_lossy(&output.stderr));
    life.rollout = begin.elapsed().as_secs_f64();
    Ok(())
}

fn begin_rollout(site: &Site, image: &str) -> Result<Child> {
    let mut command = site.seed().meadow()?;
    command.args(["image", "rollout", image, "--yes", "--accept-risk=restart-nodes"]);
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn run(site: &Site, arguments: &[&str]) -> Result<String> {
    let output = site.seed().meadow()?.args(arguments).output()?;
    if !output.status.success() {
        bail!("`meadow {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Writes what an installation writes, as fast as this host does.
fn raw_write(folder: &Path) -> Result<f64> {
    let path = folder.join("raw");
    timed(|| {
        let mut file = File::create(&path)?;
        for name in WRITTEN {
            io::copy(&mut File::open(paths::image().join(name))?, &mut file)?;
        }
        file.flush()?;
        Ok(file.sync_all()?)
    })
}

fn wait_prompt(site: &mut Site) -> Result<()> {
    site.until("the prompt", LIMIT, |site| {
        let milestones = site.rack_mut().machine(1)?.milestones()?;
        Ok(milestones.iter().any(|milestone| milestone.starts_with("dropbear")).then_some(()))
    })
}

fn wait_ready(site: &mut Site, wanted: bool) -> Result<()> {
    site.until("the node", LIMIT + Duration::from_secs(60), |site| {
        let nodes = site.cluster().nodes()?;
        Ok(nodes.iter().any(|node| node.name == NODE && node.is_ready() == wanted).then_some(()))
    })
}

/// An admin with an SSH key and a passphrase.
struct Admin {
    key: PathBuf,
    passphrase: PathBuf,
}

impl Admin {
    fn create(folder: &Path) -> Result<Self> {
        let (key, passphrase) = (folder.join("admin"), folder.join("passphrase"));
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "admin", "-f"]).arg(&key).status();
        ensure!(made.context("cannot run ssh-keygen")?.success(), "ssh-keygen failed");
        fs::write(&passphrase, "correct horse battery")?;
        Ok(Self { key, passphrase })
    }

    fn public_key(&self) -> Result<String> {
        Ok(fs::read_to_string(self.key.with_extension("pub"))?.trim().to_owned())
    }

    fn passphrase(&self) -> Result<&str> {
        self.passphrase.to_str().context("an odd folder")
    }

    fn unlock(&self, site: &Site) -> Result<()> {
        let key = self.key.to_str().context("an odd folder")?;
        run(site, &["unlock", NODE, "--passphrase-file", self.passphrase()?, "--identity", key]).map(drop)
    }
}
