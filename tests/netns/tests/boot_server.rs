//! The boot server inside `meadowd`: addresses that it gives out, and another image for one machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use meadow_tests_netns::{Artifacts, Computer, Ran, Site, contents};
use serde_json::{Value, json};

/// What another image consists of, each file with bytes of its own.
const OTHER_IMAGE: [&str; 3] = ["vmlinuz", "initrd", "root.img"];
const CARD: &str = "52:54:00:00:00:77";

/// Settings of a boot server that gives out addresses, as `meadow init` takes them.
fn dhcp(seed: &Computer, reserved: &str) -> String {
    let [a, b, c, _] = seed.address().octets();
    format!(
        "[[pxe_dhcp]]\nsubnet = \"{a}.{b}.{c}.0/24\"\npool = \"{a}.{b}.{c}.100-{a}.{b}.{c}.109\"\n\
         [[pxe_dhcp.reservation]]\nmac = \"{reserved}\"\naddress = \"{a}.{b}.{c}.50\"\n"
    )
}

/// Gets a lease on the client's card and keeps nothing of it; the address.
fn lease(client: &Computer, hostname: &str) -> Result<String> {
    let hostname = format!("hostname:{hostname}");
    let arguments =
        ["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-T", "2", "-t", "10", "-A", "1", "-x", &hostname];
    let ran = client.run("udhcpc", &arguments)?.success()?;
    let said = ran.stderr + &ran.stdout;
    let rest = said.split_once("lease of ").context("no lease")?.1;
    Ok(rest.split([' ', ',']).next().unwrap_or_default().to_owned())
}

fn leases(seed: &Computer) -> Vec<Value> {
    seed.items(&["pxe", "leases"]).expect("leases")
}

fn state_of<'v>(leases: &'v [Value], address: &str) -> &'v Value {
    let lease = leases.iter().find(|lease| lease["address"] == address);
    &lease.unwrap_or_else(|| panic!("no lease of {address}: {leases:?}"))["state"]
}

#[test]
fn meadowd_gives_out_addresses_and_tells_who_has_them_after_a_crash_too() {
    let mut site = Site::build().expect("namespaces");
    let client = site.computer("client", 3).expect("a client");
    let mac = fs_text(&client, "/sys/class/net/eth0/address").expect("a MAC");
    client.namespace().ip(&["addr", "flush", "dev", "eth0"]).expect("without an address");
    let mut seed = site.initialised_with(|seed| dhcp(seed, CARD)).expect("a cluster");
    seed.start_agent(&mut site).expect("started");
    seed.wait_for_node("seed").expect("ready");
    let begins = |seed: &Computer| Ok(event(seed, "full DHCP begins").then_some(()));
    seed.until("full DHCP", begins).expect("nobody else gives out addresses");

    let address = lease(&client, "printer").expect("a lease");
    assert!(address.ends_with(".100"), "the first of the pool: {address}");
    let all = leases(&seed);
    let found = all.iter().find(|lease| lease["address"] == *address).expect("the lease");
    assert_eq!(
        (&found["mac"], &found["hostname"], &found["state"]),
        (&json!(mac), &json!("printer"), &json!("active"))
    );
    let reserved = all.iter().find(|lease| lease["mac"] == CARD).expect("the reservation");
    assert_eq!((&reserved["state"], &reserved["reserved"]), (&json!("reserved"), &json!(true)));
    let table = seed.meadow(&["pxe", "leases"]).expect("run").success().expect("a table").stdout;
    assert!(table.contains("HOSTNAME") && table.contains("printer") && table.contains("in 12h"), "{table}");
    let counters = seed.json(&["pxe", "status"]).expect("the status")["counters"].clone();
    assert_eq!((&counters["leases_given"], &counters["leases_offered"]), (&json!(1), &json!(1)), "{counters}");
    assert!(counters["dhcp_packets"].as_u64() >= Some(2), "{counters}");

    seed.kill_agent().expect("killed");
    seed.start_agent(&mut site).expect("started again");
    seed.wait_for_node("seed").expect("ready");
    seed.until("full DHCP", begins).expect("again");
    assert_eq!(state_of(&leases(&seed), &address), "active");
    let ended = seed.meadow(&["pxe", "leases", "release", &address]).expect("run").success().expect("ended");
    assert!(ended.stderr.contains("until it asks again"), "{ended:?}");
    assert_eq!(state_of(&leases(&seed), &address), "ended");
    seed.meadow(&["pxe", "leases", "release", &address]).expect("run").assert_refused(3, &["nobody has a lease"]);
    assert_eq!(lease(&client, "printer").expect("a lease"), address, "the same client, the same address");
}

/// What firmware took is written every 10 s at most: the second one's would be lost if the end did not write it.
#[test]
fn what_was_learnt_last_is_on_the_disk_when_meadowd_is_stopped() {
    let mut site = Site::build().expect("namespaces");
    let machines = [3, 4].map(|number| site.computer(&format!("machine{number}"), number).expect("a machine"));
    let macs = machines.each_ref().map(|machine| fs_text(machine, "/sys/class/net/eth0/address").expect("a MAC"));
    let mut seed = site.seed().expect("a seed");
    let server = seed.address().to_string();
    let file = seed.state_file("pxe-forms.json");
    let kept = || fs::read_to_string(&file).unwrap_or_default();
    for (machine, mac) in machines.iter().zip(&macs) {
        let class = "PXEClient:Arch:00007:UNDI:003016";
        let asks = ["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-t", "1", "-T", "1", "-V", class];
        machine.run("udhcpc", &[&asks[..], &["-x", "0x5d:0007"]].concat()).expect("udhcpc");
        let loader = ["-m", "binary", &server, "-c", "get", "ipxe/snponly.efi", "/dev/null"];
        machine.run("tftp", &loader).expect("tftp-hpa");
        let took = |seed: &Computer| {
            let listed = seed.items(&["pxe", "ls"])?;
            Ok(listed.iter().any(|boot| boot["mac"] == *mac && boot["form"] == "direct").then_some(()))
        };
        seed.until("what it took", took).expect("learnt");
        if *mac == macs[0] {
            seed.until("the first one in the file", |_| Ok(kept().contains(mac).then_some(()))).expect("kept");
        }
    }
    seed.stop_agent();
    assert!(kept().contains(&macs[1]), "{}", kept());
}

fn event(seed: &Computer, text: &str) -> bool {
    let events = seed.items(&["pxe", "events"]).unwrap_or_default();
    events.iter().any(|event| event["message"].as_str().is_some_and(|message| message.contains(text)))
}

fn fs_text(computer: &Computer, path: &str) -> Result<String> {
    Ok(computer.run("cat", &[path])?.success()?.stdout.trim().to_owned())
}

/// Makes a build key, whose public half goes beside the installed image, and another image that it signed.
fn other_image(seed: &Computer, installed: &Artifacts) -> Result<PathBuf> {
    let (folder, key) = (seed.file("other-image"), seed.file("build.key"));
    fs::create_dir_all(&folder)?;
    let mut artifacts = serde_json::Map::new();
    for name in OTHER_IMAGE {
        let bytes = contents(&format!("other {name}"), 100_001);
        fs::write(folder.join(name), &bytes)?;
        artifacts.insert(name.to_owned(), json!({"size": bytes.len(), "sha256": digest(&bytes)}));
    }
    let manifest = json!({
        "version": 1, "image": "0.2.0-other", "kernel": "6.12.1", "architecture": "x86_64", "date": 7,
        "artifacts": artifacts,
    });
    fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (key, public) = (text(&key), text(&installed.folder().join("build.pem")));
    let (manifest, signature) = (text(&folder.join("manifest.json")), text(&folder.join("manifest.json.sig")));
    for arguments in [
        &["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &key][..],
        &["pkey", "-in", &key, "-pubout", "-out", &public],
        &["dgst", "-sha256", "-sign", &key, "-out", &signature, &manifest],
    ] {
        seed.run("openssl", arguments)?.success()?;
    }
    Ok(folder)
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

/// What the machine gets from the boot server's HTTP.
fn fetch(client: &Computer, seed: &Computer, path: &str) -> Result<Vec<u8>> {
    let (url, file) = (format!("http://{}:7480/{path}", seed.address()), client.file("fetched"));
    let ran = client.run("curl", &["-sS", "--fail-with-body", "-o", &file.to_string_lossy(), &url])?;
    let body = fs::read(&file).unwrap_or_default();
    ensure!(ran.code == Some(0), "{path}: {}{}", ran.stderr, String::from_utf8_lossy(&body));
    Ok(body)
}

fn boot(seed: &Computer, image: &str) -> Ran {
    seed.meadow(&["machine", "boot", CARD, "image", "--image", image]).expect("run")
}

#[test]
fn a_machine_boots_another_image_of_the_cluster_as_long_as_it_is_told_to() {
    let mut site = Site::build().expect("namespaces");
    let machine = site.computer("machine", 3).expect("a machine");
    let mut seed = site.seed().expect("a seed");
    let folder = other_image(&seed, site.artifacts()).expect("an image");
    let folder = folder.to_string_lossy().into_owned();
    boot(&seed, "0.2.0-other").assert_refused(3, &["no image \"0.2.0-other\""]);
    seed.meadow(&["image", "add", &folder]).expect("run").success().expect("added");
    let told = boot(&seed, "0.2.0-other").success().expect("told");
    assert!(told.stderr.contains("boots the image 0-2-0-other from its next boot on"), "{told:?}");
    let shown = seed.meadow(&["machine", "show", CARD]).expect("run").success().expect("shown").stdout;
    assert!(shown.contains("image 0-2-0-other"), "{shown}");
    seed.until("the image is served", |seed| Ok(event(seed, "image 0.2.0-other: 5 of 5 files checked").then_some(())))
        .expect("checked");

    let script = String::from_utf8(fetch(&machine, &seed, "ipxe/52-54-00-00-00-77/boot.ipxe").expect("a script"));
    let script = script.expect("text");
    let image = digest(&fs::read(Path::new(&folder).join("manifest.json")).expect("a manifest"));
    for name in ["vmlinuz", "initrd"] {
        let path = format!("images/{image}/{name}");
        assert!(script.contains(&format!(":7480/{path} ")), "{script}");
        assert_eq!(fetch(&machine, &seed, &path).expect("served"), contents(&format!("other {name}"), 100_001));
    }
    let config: Value =
        serde_json::from_slice(&fetch(&machine, &seed, "machine/52-54-00-00-00-77/boot.json").expect("boot.json"))
            .expect("JSON");
    assert_eq!((&config["action"], &config["image"]), (&json!("boot"), &json!(image)));

    let kept = seed.meadow(&["image", "remove", "0-2-0-other", "--yes", "--accept-risk=remove-image"]).expect("run");
    kept.assert_refused(4, &["boots 0-2-0-other over the network", "--image installed"]);
    boot(&seed, "installed").success().expect("told");
    let script = fetch(&machine, &seed, "ipxe/52-54-00-00-00-77/boot.ipxe").expect("a script");
    assert!(String::from_utf8_lossy(&script).contains(":7480/artifacts/vmlinuz "));
    let removed = seed.meadow(&["image", "remove", "0-2-0-other", "--yes", "--accept-risk=remove-image"]);
    removed.expect("run").success().expect("removed");
}
