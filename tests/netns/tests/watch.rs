//! What an admin sees and does of machines that boot: their progress, captures, waking, other boots once and other systems.

use std::process::Stdio;

use meadow_rack::{paths, wait};
use meadow_tests_netns::{Computer, PATIENCE, Site};
use serde_json::Value;

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
    its_boot_is_listed(&seed);
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
    std::fs::write(&file, "#!ipxe\nkernel ${files}/linux\nboot\n").expect("written");
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

fn its_boot_is_listed(seed: &Computer) {
    let events = seed.items(&["pxe", "events"]).expect("events");
    let asked = |event: &Value| event["mac"] == MAC && event["code"] == "pxe.asked";
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
    again.assert_refused(1, &["cannot make"]);
}

fn it_is_woken(seed: &Computer, lan: &Computer) {
    let log = lan.file("wake.log");
    let output = std::fs::File::create(&log).expect("a file");
    let mut sniffer = lan.namespace().command("tcpdump");
    sniffer.args(["-nn", "-x", "-l", "-U", "-i", "eth0", "udp port 9"]);
    let errors = output.try_clone().expect("a file");
    let mut sniffer = sniffer.stdout(output).stderr(errors).spawn().expect("tcpdump");
    let woken = wait::until("the packet", PATIENCE, || {
        seed.meadow(&["machine", "wake", MAC])?.success()?;
        let text = std::fs::read_to_string(&log)?.replace([' ', '\n', '\t'], "");
        Ok(text.contains("525400000001").then_some(()))
    });
    sniffer.kill().expect("ended");
    sniffer.wait().expect("ended");
    woken.expect("woken");
}
