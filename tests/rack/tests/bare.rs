//! The rack without a seed: stock firmware asks a stock router, and nothing is left behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meadow_rack::process::ProcessId;
use meadow_rack::{Firmware, Rack, RackConfig, host, played_host};
use tempfile::TempDir;

fn until<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_firmware_asks_the_router_and_the_host_stays_as_it_was() {
    let before = host::snapshot().expect("a look");
    played_host::unchanged_by(ask_the_router).expect("a played host that stays as it was");
    assert_eq!(host::snapshot().expect("a look"), before);
}

fn ask_the_router() {
    let firmware = [Firmware::BiosPxe, Firmware::UefiPxe, Firmware::UefiHttp];
    let vendor_class = ["PXEClient:Arch:00000", "PXEClient:Arch:00007", "HTTPClient:Arch:00016"];
    let mut rack = Rack::build(&RackConfig::cycled(3, &firmware)).expect("a rack");
    rack.power_on_all().expect("power");
    let folder = rack.run().path().to_owned();
    for class in vendor_class {
        until(class, 90, || {
            rack.look_after().expect("the machines run");
            rack.router().log().expect("a log").contains(class).then_some(())
        });
    }
    rack.machine(1).expect("there").reset().expect("reset");
    assert!(rack.machine(1).expect("there").milestones().expect("read").is_empty());
    rack.machine(2).expect("there").power_off().expect("off");
    drop(rack);
    assert!(!folder.exists(), "{} was left", folder.display());
}

/// A cache of its own, whose racks are taken down before it goes, however the test ends.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // A panic here would hide the test's own; what is left shows in the next run.
        let _ = rack_program(self.path(), &["clean"]).wait();
    }
}

/// A running `meadow-rack`, killed when the test ends before it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `meadow-rack` with a cache of its own.
fn rack_program(cache: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_meadow-rack"))
        .args(arguments)
        .env("MEADOW_CACHE", cache)
        .stdout(Stdio::null())
        .spawn()
        .expect("meadow-rack starts")
}

/// The identifier of the one rack in a cache, once it has its folder.
fn rack_id(cache: &Path) -> String {
    let names = || {
        fs::read_dir(cache.join("rack"))
            .ok()?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| !name.starts_with('.'))
    };
    until("the rack's folder", 60, names)
}

fn namespaces(id: &str) -> Vec<String> {
    let names = fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(id)).collect()
}

/// The router's dnsmasq and the QEMUs of the rack `id`. What ip(8) runs there for a moment is left out.
fn programs(id: &str) -> Vec<ProcessId> {
    let pids = |name: &String| Command::new("ip").args(["netns", "pids", name]).output().expect("ip runs").stdout;
    let is_program = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("dnsmasq") || name.starts_with("qemu-system")
    };
    let listed: Vec<String> =
        namespaces(id).iter().map(|name| String::from_utf8(pids(name)).expect("numbers")).collect();
    let pids = listed.iter().flat_map(|text| text.lines()).filter_map(|line| line.parse().ok()).filter(is_program);
    pids.filter_map(|pid| ProcessId::of(pid).ok()).collect()
}

#[test]
fn a_killed_rack_is_taken_down_by_the_next_one_and_a_living_one_is_not() {
    let cache = Cache::new();
    let racks = cache.path().join("rack");
    let mut victim = Running(rack_program(cache.path(), &["bare", "--machines", "1", "--firmware", "bios"]));
    let id = rack_id(cache.path());
    until("two programs", 60, || (programs(&id).len() == 2).then_some(()));

    assert!(rack_program(cache.path(), &["clean"]).wait().expect("ended").success());
    assert_eq!(programs(&id).len(), 2, "a living rack was taken down");

    victim.0.kill().expect("killed");
    victim.0.wait().expect("ended");
    let left = programs(&id);
    assert_eq!(left.len(), 2);
    assert!(rack_program(cache.path(), &["clean"]).wait().expect("ended").success());
    assert_eq!(namespaces(&id), Vec::<String>::new());
    assert!(!left.iter().any(|process| process.is_running()), "{left:?}");
    assert!(!racks.join(&id).join("ledger").exists());
}

#[test]
fn a_signal_takes_the_rack_down() {
    let cache = Cache::new();
    let mut rack = Running(rack_program(cache.path(), &["bare", "--machines", "1", "--firmware", "uefi"]));
    let id = rack_id(cache.path());
    until("two programs", 60, || (programs(&id).len() == 2).then_some(()));
    let pid = rustix::process::Pid::from_child(&rack.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    assert!(rack.0.wait().expect("ended").success());
    assert_eq!(namespaces(&id), Vec::<String>::new());
}
