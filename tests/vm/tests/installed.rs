//! What a person does on a real LAN, as the README says it: `make install`, `meadow init`, `systemctl enable --now
//! meadowd`, switch on a machine. The hardened unit runs under a real systemd.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use meadow_rack::{Firmware, Rack, RackConfig, paths, wait};
use meadow_tests_vm::BOOT;
use meadow_tests_vm::installed_host::{InstalledHost, make};
use serde_json::Value;

/// For what takes a few seconds when nothing is wrong.
const SOON: Duration = Duration::from_secs(60);
/// What the guide says must be free, and so is taken by a running agent.
const PORTS: [(&str, u16); 6] = [("udp", 67), ("udp", 69), ("udp", 4011), ("udp", 51820), ("tcp", 7443), ("tcp", 7480)];

/// All files below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path().display().to_string());
        }
    }
    found
}

/// The nodes that the cluster calls ready, asked on the host itself, and what its own node reaches by name.
fn nodes(host: &InstalledHost) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let list: Value = serde_json::from_str(&host.run(&["meadow", "node", "ls", "-o", "json"])?)?;
    let items = list["items"].as_array().context("no items")?;
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let ready = items.iter().filter(|item| item["status"]["state"] == "Ready").map(name).collect();
    let seed = items.iter().find(|item| name(item) == "seed");
    let reached = seed.and_then(|seed| seed["status"]["reachable"].as_array());
    Ok((ready, reached.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()))
}

fn wait_ready(host: &mut InstalledHost, rack: &mut Rack, node: &str, limit: Duration) {
    let ready = wait::until(&format!("{node} to be ready"), limit, || {
        host.check()?;
        rack.look_after()?;
        // Before the agent serves there is no answer.
        Ok(nodes(host).is_ok_and(|(ready, _)| ready.contains(node)).then_some(()))
    });
    ready.unwrap_or_else(|error| panic!("{error:#}; {:?}; {}", nodes(host), journal(host)));
}

fn journal(host: &InstalledHost) -> String {
    host.run(&["journalctl", "--no-pager", "-u", "meadowd", "-n", "30"]).unwrap_or_default()
}

fn property(host: &InstalledHost, name: &str) -> String {
    let value = host.run(&["systemctl", "show", "--value", "--property", name, "meadowd"]);
    value.expect("systemd answers").trim().to_owned()
}

/// The agent's main process ends by a signal; systemd starts it again.
fn kill_agent(host: &InstalledHost) {
    let killed = property(host, "MainPID");
    host.run(&["systemctl", "kill", "--signal", "KILL", "meadowd"]).expect("killed");
    let back = || {
        let active = property(host, "ActiveState") == "active";
        Ok((active && property(host, "MainPID") != killed).then_some(()))
    };
    wait::until("the agent that was killed", SOON, back).expect("systemd starts it again");
}

#[test]
fn installed_initialised_and_serving_as_the_readme_says() {
    let mut rack = Rack::build(&RackConfig::cycled(1, &[Firmware::BiosPxe])).expect("a rack");
    let seed = rack.computer_at("seed", 2).expect("a computer");
    let address = rack.lan().subnet().host(2);
    let layer = rack.run().file("host");
    let upper = layer.join("upper");
    fs::create_dir_all(upper.join("root")).expect("a folder");

    let told = make("install", &upper).expect("make install");
    assert!(told.contains("meadow init") && told.contains("systemctl enable --now meadowd"), "{told}");
    let installed = files(&upper);
    make("install", &upper).expect("make install over it");
    assert_eq!(files(&upper), installed, "installed twice is not the same as once");
    make("uninstall", &upper).expect("make uninstall");
    assert_eq!(files(&upper), BTreeSet::new(), "make uninstall leaves files");
    make("install", &upper).expect("make install");

    let mut host = InstalledHost::boot(rack.parts().0, &seed, &layer).expect("a host");
    host.run(&["systemd-analyze", "verify", "meadowd.service"]).expect("a unit without mistakes");
    // Enter at every question but the names, a slip, the interface and the window.
    let typed = "\nseed\nada\nnowhere0\neth0\n\n\n\n1h\n\n\n";
    let asked = host.typed(&["meadow", "init"], typed).expect("meadow init");
    let text = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success() && text.contains("no interface nowhere0"), "{text}");
    assert!(text.contains(&format!("[{address}:7443]")), "the address on the LAN is not proposed: {text}");
    let context = fs::metadata(host.file("/root/.config/meadow/contexts/home.toml")).expect("the admin's context");
    assert_eq!(context.permissions().mode() & 0o777, 0o600);

    host.run(&["systemctl", "enable", "--now", "meadowd"])
        .unwrap_or_else(|error| panic!("{error}; {}", journal(&host)));
    wait_ready(&mut host, &mut rack, "seed", SOON);
    let listening = seed.command("ss").args(["-Hlntu"]).output().expect("ss").stdout;
    let listening = String::from_utf8_lossy(&listening);
    for (protocol, port) in PORTS {
        let served = |line: &str| line.starts_with(protocol) && line.contains(&format!(":{port} "));
        assert!(listening.lines().any(served), "nobody serves {protocol} {port}: {listening}");
    }
    let process = fs::read_to_string(host.file(&format!("/proc/{}/status", property(&host, "MainPID"))));
    let process = process.expect("it runs");
    // CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_NET_RAW, and no more.
    for hardened in ["CapEff:\t0000000000003400", "CapBnd:\t0000000000003400", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(process.contains(hardened), "{hardened} is missing: {process}");
    }
    let state = fs::metadata(host.file("/var/lib/meadow")).expect("the state").permissions().mode() & 0o777;
    assert_eq!(state, 0o700);
    let hosts = host.file("/etc/hosts");
    assert_eq!(fs::metadata(&hosts).expect("the names").permissions().mode() & 0o777, 0o644);

    // The same from a file: the cluster is there, so that only the admin's context is made anew.
    let answers = host.run(&["meadow", "init", "--dump"]).expect("the form");
    let answers = answers.replace("admin = \"admin\"", "admin = \"bob\"");
    fs::write(host.file("/root/answers"), answers).expect("written");
    host.run(&["meadow", "--no-input", "init", "--file", "/root/answers"]).expect("meadow init --file");

    let mac = rack.machines()[0].hardware().mac.clone();
    host.run(&["meadow", "machine", "arm", &mac, "--node", "node-1"]).expect("armed");
    rack.power_on_all().expect("power");
    wait_ready(&mut host, &mut rack, "node-1", BOOT);
    let reached =
        wait::until("node-1 by name over the mesh", SOON, || Ok(nodes(&host)?.1.contains("node-1").then_some(())));
    reached.unwrap_or_else(|error| panic!("{error:#}; {}", journal(&host)));
    assert!(fs::read_to_string(&hosts).expect("the names").contains(" node-1 "));
    let found = host.run(&["getent", "hosts", "node-1"]).expect("a name for every program");
    let mesh = found.split_whitespace().next().expect("an address");
    let pinged = seed.command("ping").args(["-6", "-n", "-c", "1", "-W", "5", mesh]).status().expect("ping");
    assert!(pinged.success(), "no other program of the host reaches {mesh}");

    kill_agent(&host);
    wait_ready(&mut host, &mut rack, "node-1", SOON);

    let told = host.run_script(&paths::checkout().join("tests/make/uninstall"), &["", "/usr"]).expect("uninstalled");
    assert!(told.contains("/var/lib/meadow"), "{told}");
    assert_eq!(property(&host, "ActiveState"), "inactive");
    assert!(host.file("/var/lib/meadow/ca.key").exists(), "the cluster is gone");
}
