//! What `meadow image flash` and `meadow image seed` do and refuse, on files and loop devices.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use meadow_rack::run_dir::RunDir;
use meadow_tests_it::{Lab, NOBODY, Ran, meadow_alone, meadow_alone_typing, meadow_as_nobody};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const MIB: u64 = 1 << 20;
/// The partitions of a stick, small ones.
const TABLE: &str = "label: gpt\nunit: sectors\nstart=2048, size=2048, name=meadow-bios\n\
    start=4096, size=8192, name=meadow-esp\nstart=12288, size=8192, name=meadow-root-a\n\
    start=20480, size=8192, name=meadow-seed\n";

struct Desk {
    run: RunDir,
    image: String,
}

impl Desk {
    /// A home without clusters, and a small image.
    fn new() -> Result<Self> {
        let mut run = RunDir::create()?;
        run.keep_logs(false);
        let image = run.file("stick.img");
        File::create(&image)?.set_len(15 * MIB)?;
        let mut sfdisk = Command::new("sfdisk");
        let options = ["--quiet", "--no-reread", "--no-tell-kernel"];
        let mut child = sfdisk.args(options).arg(&image).stdin(Stdio::piped()).spawn().context("cannot run sfdisk")?;
        child.stdin.take().context("no input")?.write_all(TABLE.as_bytes())?;
        ensure!(child.wait()?.success(), "sfdisk failed");
        File::options().write(true).open(&image)?.write_all_at(b"the root", 6 * MIB)?;
        let image = image.display().to_string();
        Ok(Self { run, image })
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.run.file(name);
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path.display().to_string())
    }

    fn path(&self, name: &str) -> String {
        self.run.file(name).display().to_string()
    }

    fn meadow(&self, arguments: &[&str]) -> Result<Ran> {
        meadow_alone(self.run.path(), arguments.iter().copied())
    }

    fn flash(&self, to: &str, more: &[&str]) -> Result<Ran> {
        self.meadow(&[&["image", "flash", "--image", &self.image, "--to", to], more].concat())
    }
}

struct Loop(PathBuf);

impl Loop {
    fn over(file: &str, options: &[&str]) -> Result<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).args(options).arg(file).output()?;
        ensure!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self(PathBuf::from(String::from_utf8(output.stdout)?.trim())))
    }

    fn path(&self) -> Result<&str> {
        self.0.to_str().context("a path")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

fn stock(program: &str, arguments: &[&str]) -> Result<()> {
    ensure!(Command::new(program).args(arguments).status()?.success(), "{program} {arguments:?} failed");
    Ok(())
}

fn assert_refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    assert!(words.iter().all(|word| ran.stderr.contains(word)) && ran.stdout.is_empty(), "{words:?}: {}", ran.stderr);
}

#[test]
fn a_new_file_needs_no_consent_and_old_data_does() -> Result<()> {
    let desk = Desk::new()?;
    let new = desk.path("new.img");
    let shown = desk.flash(&new, &["--dry-run"])?.ok()?;
    assert!(shown.stderr.contains("a new file") && !Path::new(&new).exists(), "{}", shown.stderr);
    let done = desk.flash(&new, &[])?.ok()?;
    assert!(done.stderr.contains("may be unplugged") && done.stderr.contains("reads back"), "{}", done.stderr);
    assert_eq!(fs::metadata(&new)?.permissions().mode() & 0o777, 0o600);

    let old = desk.file("old.img", &vec![0x5a; 20 << 20])?;
    let before = fs::read(&old)?;
    assert_refused(&desk.flash(&old, &[])?, 2, &["LOST: data of an unknown kind", "--accept-risk=wipe-disk", &old]);
    assert_refused(&desk.flash(&old, &["--yes", "--accept-risk=reboot"])?, 2, &["wipe-disk"]);
    assert_refused(&desk.flash(&old, &["--yes"])?, 2, &["--accept-risk"]);
    let typed = |line: &str| {
        let arguments = ["image", "flash", "--image", &desk.image, "--to", &old];
        meadow_alone_typing(desk.run.path(), line, arguments)
    };
    assert_refused(&typed("yes\n")?, 2, &["nothing was done"]);
    assert_eq!(fs::read(&old)?, before, "nothing is written without consent");
    typed(&format!("{old}\n"))?.ok()?;
    let shown = desk.flash(&old, &["--dry-run"])?.ok()?;
    assert!(shown.stderr.contains("“meadow-seed”"), "{}", shown.stderr);
    desk.flash(&old, &["--yes", "--accept-risk=wipe-disk"])?.ok()?;
    Ok(())
}

#[test]
fn what_is_no_target_and_no_image_is_refused() -> Result<()> {
    let desk = Desk::new()?;
    let consent = ["--yes", "--accept-risk=wipe-disk"];
    let small = desk.file("small.img", &vec![1; 1 << 20])?;
    assert_refused(&desk.flash(&small, &consent)?, 4, &["1 MiB", "15 MiB", "larger"]);
    assert_refused(&desk.flash("/dev/null", &consent)?, 1, &["neither a device nor a file"]);
    assert_refused(&desk.flash("/dev/no-such-stick", &consent)?, 1, &["is the path right?"]);
    assert_refused(&desk.flash(&desk.image, &consent)?, 4, &["the image itself"]);
    let other = desk.meadow(&["image", "flash", "--image", &small, "--to", &desk.path("new.img")])?;
    assert_refused(&other, 1, &["is no image of a Meadow stick", "make image"]);

    let disk = desk.file("disk", &vec![0x5a; 20 << 20])?;
    {
        let device = Loop::over(&disk, &["--read-only"])?;
        assert_refused(&desk.flash(device.path()?, &["--fixed-disk"])?, 4, &["read-only"]);
    }
    let device = Loop::over(&disk, &[])?;
    assert_refused(&desk.flash(device.path()?, &consent)?, 4, &["--fixed-disk"]);
    assert_refused(&desk.flash(&disk, &consent)?, 4, &["in use (loop"]);
    stock("mke2fs", &["-q", "-F", device.path()?])?;
    let point = desk.path("mounted");
    fs::create_dir(&point)?;
    let fixed = [&["--fixed-disk"][..], &consent].concat();
    // Where others see the mount, one who copies it into a namespace of his own meanwhile keeps the device busy.
    thread::scope(|threads| {
        let alone = threads.spawn(|| -> Result<Ran> {
            // SAFETY: only this thread's mount namespace and working folder are unshared; no descriptor or memory is.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
            stock("mount", &["-t", "ext4", device.path()?, &point])?;
            let refused = desk.flash(device.path()?, &fixed);
            stock("umount", &[&point])?;
            refused
        });
        let refused = alone.join().expect("the thread ends well")?;
        assert_refused(&refused, 4, &["in use", &point]);
        Ok::<_, anyhow::Error>(())
    })?;
    desk.flash(device.path()?, &fixed)?.ok()?;
    Ok(())
}

#[test]
fn a_seed_is_written_shown_changed_and_taken_away() -> Result<()> {
    let desk = Desk::new()?;
    let stick = desk.path("a.img");
    desk.flash(&stick, &[])?.ok()?;
    assert_refused(&desk.meadow(&["image", "seed", &stick, "--show"])?, 3, &["has no seed"]);
    let key = desk.file("key.pub", b"# mine\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample ann@home\n")?;
    let seed = |more: &[&str]| desk.meadow(&[&["image", "seed", stick.as_str()], more].concat());
    seed(&["--network", "eth0.7=192.0.2.7/24,192.0.2.1", "--ssh-keys", &key, "--name", "node-7"])?.ok()?;
    seed(&["--action", "install", "--disk", "S1"])?.ok()?;
    let shown = seed(&["-o", "json"])?.ok()?.json()?;
    assert_eq!(shown["network"][0], "eth0.7=192.0.2.7/24,192.0.2.1");
    assert_eq!((shown["name"].as_str(), shown["action"]["serial"].as_str()), (Some("node-7"), Some("S1")));
    assert!(shown["authorized_keys"][0].as_str().is_some_and(|key| key.ends_with("ann@home")));

    let file = desk.file("seed.toml", b"network = [\"*=dhcp\"]\napi = [\"192.0.2.2\"]\naction = \"live\"\n")?;
    seed(&["--seed", &file, "--name", "node-8"])?.ok()?;
    let shown = seed(&["-o", "json"])?.ok()?.json()?;
    assert_eq!((shown["api"][0].as_str(), shown["name"].as_str()), (Some("https://192.0.2.2:7443"), Some("node-8")));
    assert_eq!((shown["network"][0].as_str(), shown["action"]["do"].as_str()), (Some("*=dhcp"), Some("live")));
    seed(&["--clear"])?.ok()?;
    assert_eq!(seed(&[])?.code, Some(3));
    Ok(())
}

/// A device that a user may write, until the test ends.
struct Lent<'a>(&'a Loop);

impl<'a> Lent<'a> {
    fn to_nobody(device: &'a Loop) -> Result<Self> {
        chown(&device.0, Some(NOBODY), None)?;
        Ok(Self(device))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let _ = chown(&self.0.0, Some(0), None);
    }
}

#[test]
fn a_seed_needs_no_root_but_rights_on_the_stick() -> Result<()> {
    let (desk, home) = (Desk::new()?, tempfile::tempdir()?);
    chown(home.path(), Some(NOBODY), Some(NOBODY))?;
    let place = |name: &str| home.path().join(name).display().to_string();
    let (image, stick) = (place("image.img"), place("stick.img"));
    fs::copy(&desk.image, &image)?;
    let nobody = |arguments: &[&str]| meadow_as_nobody(home.path(), arguments.iter().copied());
    nobody(&["image", "flash", "--image", &image, "--to", &stick])?.ok()?;
    let foreign = place("foreign.img");
    fs::copy(&stick, &foreign)?;
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600))?;

    let below = desk.path("below.img");
    fs::copy(&stick, &below)?;
    let over = Loop::over(&below, &[])?;
    let lent = Lent::to_nobody(&over)?;
    for stick in [stick.as_str(), over.path()?] {
        nobody(&["image", "seed", stick, "--name", "node-7", "--network", "*=dhcp"])?.ok()?;
        let shown = nobody(&["image", "seed", stick, "-o", "json"])?.ok()?.json()?;
        assert_eq!(shown["name"], "node-7");
        nobody(&["image", "seed", stick, "--clear"])?.ok()?;
        assert_refused(&nobody(&["image", "seed", stick])?, 3, &["has no seed"]);
    }
    drop(lent);
    let before = fs::read(&foreign)?;
    for stick in [foreign.as_str(), over.path()?] {
        assert_refused(
            &nobody(&["image", "seed", stick, "--name", "node-8"])?,
            1,
            &["Permission denied", "run as root"],
        );
    }
    assert_eq!(fs::read(&foreign)?, before);
    Ok(())
}

#[test]
fn a_bad_seed_is_told_before_anything_is_written() -> Result<()> {
    let desk = Desk::new()?;
    let private = desk.file("key", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")?;
    let token = desk.file("token", b"meadow-join.nonsense\n")?;
    let slip = desk.file("seed.toml", b"netwrok = []\n")?;
    let stick = desk.path("a.img");
    for (options, code, words) in [
        (&["--network", "eth0=192.0.2.7"][..], 2, &["192.0.2.7/24,192.0.2.1"][..]),
        (&["--token-file", &token], 2, &["not a join token"]),
        (&["--ssh-keys", &private], 1, &["private key"]),
        (&["--disk", "S1"], 2, &["--action install"]),
        (&["--action", "install"], 2, &["--disk"]),
        (&["--seed", &slip], 2, &["netwrok"]),
        (&["--api", "https://"], 1, &["https://HOST"]),
        (&["--token", "new"], 1, &["meadow init"]),
    ] {
        let ran = desk.flash(&stick, options)?;
        assert_refused(&ran, code, words);
        assert!(!ran.stderr.contains("nonsense"), "a token must not be repeated: {}", ran.stderr);
        assert!(!Path::new(&stick).exists(), "{options:?}");
    }
    desk.flash(&stick, &[])?.ok()?;
    fs::hard_link(&stick, desk.path("same.img"))?;
    assert_refused(&desk.meadow(&["image", "seed", &stick, "--name", "a"])?, 1, &["cp --sparse=always"]);
    assert_refused(&desk.meadow(&["image", "seed", &stick, "--show", "--name", "a"])?, 2, &["--show changes nothing"]);
    Ok(())
}

#[test]
fn a_new_token_goes_onto_the_stick_and_is_not_shown() -> Result<()> {
    let (desk, lab) = (Desk::new()?, Lab::start()?);
    let stick = desk.path("a.img");
    let made = ["image", "flash", "--image", &desk.image, "--to", &stick, "--token", "new", "--uses", "3"];
    let ran = lab.meadow(made)?.ok()?;
    assert!(ran.stderr.contains("good on this computer only") && !ran.stderr.contains("meadow-join"), "{}", ran.stderr);
    let shown = lab.meadow(["image", "seed", &stick, "-o", "json"])?.ok()?;
    let token = shown.json()?["token"].as_str().map(str::to_owned).context("a token")?;
    assert!(!shown.stdout.contains("meadow-join") && shown.json()?["token_expires"].is_string(), "{}", shown.stdout);
    let known = lab.meadow(["token", "show", &token, "-o", "json"])?.ok()?.json()?;
    assert_eq!(known["spec"]["uses"], 3);
    // By the agent's own socket the addresses are asked for.
    let socket = lab.socket().display().to_string();
    lab.meadow(["image", "seed", &stick, "--clear"])?.ok()?;
    lab.meadow(["--socket", &socket, "image", "seed", &stick, "--token", "new"])?.ok()?;
    let shown = lab.meadow(["image", "seed", &stick, "-o", "json"])?.ok()?.json()?;
    assert_eq!(shown["api"][0], "https://127.0.0.1:7443");
    let again = ["--socket", &socket, "image", "seed", &stick, "--token", "new", "--api", "192.0.2.2"];
    lab.meadow(again)?.ok()?;
    let shown = lab.meadow(["image", "seed", &stick, "-o", "json"])?.ok()?.json()?;
    assert_eq!(shown["api"][0], "https://192.0.2.2:7443");
    assert_ne!(shown["token"].as_str(), Some(token.as_str()));
    Ok(())
}
