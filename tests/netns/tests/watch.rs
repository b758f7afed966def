//! What an admin sees and does of machines that boot: their progress, captures, waking, other boots once and other systems.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use meadow_rack::process::Program;
use meadow_rack::{paths, wait};
use meadow_tests_netns::{Computer, PATIENCE, Site};
use serde_json::{Value, json};

const MAC: &str = "52:54:00:00:00:01";

/// Asks the seed's boot server as a machine with that card does once iPXE runs.
fn script(lan: &Computer, seed: &Computer) -> String {
    let url = format!("http://{}:7480/ipxe/52-54-00-00-00-01/boot.ipxe", seed.address());
    let output = lan.namespace().command("curl").args(["-s", &url]).output().expect("curl");
    String::from_utf8(output.stdout).expect("text")
}

fn once(seed: &Computer) -> Value {
    seed.json(&["machine", "show", MAC]).expect("a machine")["spec"]["boot_options"]["once"].clone()
}

#[test]
fn boots_are_watched_captured_woken_and_changed_once() {
    let mut site = Site::build().expect("namespaces");
    let seed = site.seed().expect("a seed");
    let lan = site.computer("machine", 9).expect("a computer");
    lan.namespace().ip(&["link", "set", "eth0", "address", MAC]).expect("the machine's card");

    what_a_boot_needs_is_looked_at(&seed);
    another_system_boots_once(&seed, &lan);
    its_boot_is_followed_and_listed(&mut site, &seed, &lan);
    it_is_captured(&seed, &lan);
    it_is_woken(&seed, &lan);
}

fn what_a_boot_needs_is_looked_at(seed: &Computer) {
    let ran = seed.meadow(&["pxe", "doctor", "-o", "json"]).expect("run");
    let ran = ran.success().expect("nothing is wrong before a machine was heard");
    let checks: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let of =
        |name: &str| checks["items"].as_array().expect("a list").iter().find(|check| check["name"] == name).cloned();
    for name in ["interface", "cable", "address", "packet size", "ports", "other servers"] {
        assert_eq!(of(&format!("eth0: {name}")).expect(name)["ok"], true, "{checks}");
    }
    assert_eq!(of("image").expect("there")["ok"], true, "{checks}");
    assert_eq!(of("firewall").expect("there")["ok"], true, "{checks}");
    let nobody = of("machines").expect("there");
    assert!(nobody["next_step"].as_str().is_some_and(|step| step.contains("UDP 67")), "{nobody}");
}

fn another_system_boots_once(seed: &Computer, lan: &Computer) {
    let file = seed.file("own.ipxe");
    fs::write(&file, "#!ipxe\nkernel ${files}/linux\nboot\n").expect("written");
    let file = file.display().to_string();
    let set = |more: &[&str]| seed.meadow(&[&["machine", "boot", MAC], more].concat()).expect("run");
    let refused = set(&["script", "--once"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("no script to boot"), "{refused:?}");
    set(&["image", "--kernel-arguments", "nomodeset"]).success().expect("set");
    set(&["script", "--once", "--script", &file]).success().expect("set");
    assert_eq!(once(seed), "script");
    let own = script(lan, seed);
    assert!(own.contains("/files\nkernel ${files}/linux"), "{own}");
    // The agent notes that it was taken; until then it would be given again.
    let ended = wait::until("the next boot", PATIENCE, || Ok(once(seed).is_null().then_some(())));
    ended.expect("once is over");
    // The answer may have been lost: in the same boot it gets the same again.
    assert_eq!(script(lan, seed), own);
    switch_on(lan, seed);
    let image = script(lan, seed);
    assert!(image.contains("artifacts/vmlinuz") && image.contains(" nomodeset BOOTIF="), "{image}");
}

/// Its firmware asks for a boot.
fn switch_on(lan: &Computer, seed: &Computer) {
    let class = "PXEClient:Arch:00007:UNDI:003016";
    let asks =
        ["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-t", "1", "-T", "1", "-V", class, "-x", "0x5d:0007"];
    lan.run("udhcpc", &asks).expect("udhcpc");
    let offered = |event: &Value| event["mac"] == MAC && event["code"] == "pxe.offered";
    let heard =
        wait::until("an offer", PATIENCE, || Ok(seed.items(&["pxe", "events"])?.iter().any(offered).then_some(())));
    heard.expect("it is offered a boot file");
}

/// What `meadow pxe watch` has written into its log.
struct Watch {
    log: PathBuf,
    _program: Program,
}

impl Watch {
    /// Begins, and waits until it looks.
    fn begin(site: &mut Site, seed: &Computer, program: &str, arguments: &[&str]) -> Self {
        let (program, log) = seed.start(site, program, arguments).expect("meadow");
        let watch = Self { log, _program: program };
        watch.until("Waiting for machines to boot");
        watch
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Waits for a line with this text.
    fn until(&self, part: &str) {
        let told = wait::until(part, PATIENCE, || Ok(self.text().contains(part).then_some(())));
        told.unwrap_or_else(|error| panic!("{error:#}: {}", self.text()));
    }
}

/// A whole boot, step by step as firmware, iPXE and the initramfs take them: each is told while it happens.
fn its_boot_is_followed_and_listed(site: &mut Site, seed: &Computer, lan: &Computer) {
    let meadow = paths::programs().join("meadow").to_string_lossy().into_owned();
    let watch = Watch::begin(site, seed, &meadow, &["pxe", "watch"]);
    let script_of_another = format!("exec {meadow} pxe watch --mac 52:54:00:00:00:02");
    let of_another = Watch::begin(site, seed, "sh", &["-c", &script_of_another]);
    let server = seed.address().to_string();
    let url = |path: &str| format!("http://{server}:7480/{path}");
    let get = |path: &str| lan.run("curl", &["-sSf", "-o", "/dev/null", &url(path)]).expect("curl").success();
    let report = |text: &str| {
        let url = url("machine/52-54-00-00-00-01/progress");
        lan.run("curl", &["-sSf", "-d", text, &url]).expect("curl").success().expect("taken");
    };

    switch_on(lan, seed);
    watch.until(&format!("{MAC} [UEFI x64 PXE] was offered a boot file: offered ipxe/snponly.efi"));
    watch.until("waits: UEFI collects offers for 4 s before it takes one");
    let loader = ["-m", "binary", &server, "-c", "get", "ipxe/snponly.efi", "/dev/null"];
    lan.run("tftp", &loader).expect("tftp-hpa");
    watch.until("fetches the boot loader 100 %: sent 100 % of ipxe/snponly.efi (TFTP); waits: the boot loader starts");
    script(lan, seed);
    watch.until("runs the boot loader: asked for boot.ipxe (HTTP)");
    get("artifacts/vmlinuz").expect("a kernel");
    watch.until("fetches kernel and initrd 100 %: sent 100 % of vmlinuz (HTTP); waits: the kernel starts");
    get("machine/52-54-00-00-00-01/boot.json").expect("orders");
    watch.until("runs the initrd: asked for boot.json (HTTP)");
    report(r#"{"stage":"root-download","percent":40,"message":"half\u001b[2J"}"#);
    watch.until("runs the initrd 40 %: root-download 40 %: half?[2J");
    let listed = seed.items(&["pxe", "ls"]).expect("a list");
    let [boot] = listed.as_slice() else { panic!("one machine: {listed:?}") };
    assert_eq!((&boot["stage"], &boot["percent"]), (&json!("runs the initrd"), &json!(40)), "{boot}");
    assert_eq!((&boot["under_way"], &boot["failed"]), (&json!(true), &json!(false)), "{boot}");

    report(r#"{"stage":"switch-root"}"#);
    watch.until("starts its system: switch-root");
    let listed = seed.items(&["pxe", "ls"]).expect("a list");
    let boot = &listed[0];
    assert_eq!((&boot["mac"], &boot["address"]), (&json!(MAC), &json!(lan.address().to_string())), "{boot}");
    assert_eq!((&boot["firmware"], &boot["form"]), (&json!("UEFI x64 PXE"), &json!("direct")), "{boot}");
    assert_eq!((&boot["image"], &boot["under_way"]), (&json!("test"), &json!(false)), "{boot}");
    let table = seed.meadow(&["pxe", "ls"]).expect("run").success().expect("a table").stdout;
    for word in ["FIRMWARE", "NEXT STEP", MAC, "UEFI x64 PXE", "starts its system"] {
        assert!(table.contains(word), "{table}");
    }
    // It looks twice a second, and has not seen this one in all these steps.
    assert!(!of_another.text().contains("52:54"), "{}", of_another.text());
    let events = seed.items(&["pxe", "events", "--mac", MAC]).expect("events");
    let asked = |event: &Value| event["code"] == "pxe.asked" && event["message"] == "asked for boot.json (HTTP)";
    assert!(events.iter().any(asked), "{events:?}");
}

fn it_is_captured(seed: &Computer, lan: &Computer) {
    let file = seed.file("machine.pcap");
    let to = file.display().to_string();
    let mut capture = seed.command(&paths::programs().join("meadow").to_string_lossy());
    capture.args(["pxe", "capture", MAC, "--to", &to, "--for", "1h"]);
    let mut capture = capture.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("meadow");
    let caught = wait::until("a packet in the file", PATIENCE, || {
        script(lan, seed);
        let read = seed.namespace().command("tcpdump").args(["-nn", "-A", "-r", &to]).output()?;
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        Ok(text.contains(".7480").then_some(text))
    });
    let text = caught.expect("captured");
    capture.kill().expect("ended");
    capture.wait().expect("ended");
    assert!(!text.contains("GET /ipxe"), "what TCP carries is in it: {text}");
    let again = seed.meadow(&["pxe", "capture", MAC, "--to", &to]).expect("run");
    again.assert_refused(4, &["is left as it is", "--to"]);
}

fn it_is_woken(seed: &Computer, lan: &Computer) {
    let log = lan.file("wake.log");
    let output = fs::File::create(&log).expect("a file");
    let mut sniffer = lan.namespace().command("tcpdump");
    sniffer.args(["-nn", "-x", "-l", "-U", "-i", "eth0", "udp port 9"]);
    let errors = output.try_clone().expect("a file");
    let mut sniffer = sniffer.stdout(output).stderr(errors).spawn().expect("tcpdump");
    let woken = wait::until("the packet", PATIENCE, || {
        seed.meadow(&["machine", "wake", MAC])?.success()?;
        let text = fs::read_to_string(&log)?.replace([' ', '\n', '\t'], "");
        Ok(text.contains("525400000001").then_some(()))
    });
    sniffer.kill().expect("ended");
    sniffer.wait().expect("ended");
    woken.expect("woken");
}
