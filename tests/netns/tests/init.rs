//! Typing the answers of `meadow init`, after it has looked at who else is on the wire.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use meadow_rack::process::Program;
use meadow_rack::terminal::Conversation;
use meadow_rack::{paths, wait};
use meadow_tests_netns::{Computer, PATIENCE, Site};

const MAY_WE: &str = "Shall this computer do it? [y/N]";

/// A router that gives out addresses and boots machines, as many do.
fn router(site: &mut Site) -> Result<(Computer, Program)> {
    let router = site.computer("router", 1)?;
    let [a, b, c, _] = router.address().octets();
    let range = format!("--dhcp-range={a}.{b}.{c}.50,{a}.{b}.{c}.60,1h");
    let leases = format!("--dhcp-leasefile={}", router.file("leases").display());
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        "--no-ping",
        "--port=0",
        "--interface=eth0",
        "--bind-interfaces",
        "--user=root",
        "--pxe-service=x86PC,Other,other",
        &range,
        &leases,
    ];
    let (program, log) = router.start(site, "dnsmasq", &arguments)?;
    wait::until("dnsmasq", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("DHCP, IP range").then_some(())))?;
    Ok((router, program))
}

/// A person who has typed the names and waits for the first question about the wire.
fn begun(seed: &Computer) -> Result<Conversation> {
    let mut command = seed.command(&paths::programs().join("meadow").to_string_lossy());
    command.arg("init").arg("--root").arg(seed.root());
    let mut talk = Conversation::begin(command)?;
    talk.answer("Name of the cluster", "home", PATIENCE)?;
    talk.answer("Name of this computer in it", "seed", PATIENCE)?;
    talk.answer("Name of the first admin", "ann", PATIENCE)?;
    // One that is not there is asked for again.
    talk.answer("Interfaces on which machines boot", "eth7", PATIENCE)?;
    talk.answer("there is no interface eth7; there are eth0", "eth0", PATIENCE)?;
    let address = seed.address().to_string();
    talk.answer("Addresses at which others reach the API", &address, PATIENCE)?;
    talk.answer("Address that the API listens on", "", PATIENCE)?;
    talk.answer("Files with admins' public SSH keys", "none", PATIENCE)?;
    Ok(talk)
}

/// The rest of the answers; what was said, and the settings.
fn finished(mut talk: Conversation, seed: &Computer, image: &str) -> Result<(String, String)> {
    talk.answer("Boot every machine that asks", "1h", PATIENCE)?;
    talk.answer("Folder of the image", image, PATIENCE)?;
    talk.answer("Folder of files for other systems", "none", PATIENCE)?;
    let ended = talk.finish()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    anyhow::ensure!(ended.status.success(), "{said}");
    let settings: PathBuf = seed.root().join("etc/meadow/meadowd.toml");
    Ok((said, fs::read_to_string(settings)?))
}

#[test]
fn another_server_on_the_wire_is_named_and_no_addresses_are_proposed() {
    let mut site = Site::build().expect("namespaces");
    let image = site.artifacts().folder().display().to_string();
    let (router, _dnsmasq) = router(&mut site).expect("a router");
    let mut seed = site.computer("seed", 2).expect("a computer");
    let talk = begun(&seed).expect("asked");
    let (said, settings) = finished(talk, &seed, &image).expect("made");
    let (address, mac) = (router.address(), router.run("cat", &["/sys/class/net/eth0/address"]).expect("a MAC").stdout);
    let name = format!("{address} ({})", mac.trim());
    for part in [
        "who gives out addresses and boots machines on eth0".to_owned(),
        format!("{name} gives out addresses; Meadow adds the boot files beside it"),
        format!("{name} boots machines over the network: switch that off"),
        "The cluster home is made, with this computer as its node seed".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(!said.contains(MAY_WE), "{said}");
    assert!(settings.contains("eth0") && !settings.contains("pxe_dhcp"), "{settings}");

    // And what was typed is served, beside the other one, which the agent names too.
    seed.start_agent(&mut site).expect("started");
    seed.wait_for_node("seed").expect("ready");
    let named = |seed: &Computer| {
        let status = seed.json(&["pxe", "status"])?.to_string();
        Ok(status.contains(&format!("another PXE server, {name}")).then_some(status))
    };
    let status = seed.until("the other server", named).expect("named");
    assert!(status.contains("\"serving\":true"), "{status}");
}

#[test]
fn where_nobody_else_does_it_may_give_out_addresses() {
    let mut site = Site::build().expect("namespaces");
    let image = site.artifacts().folder().display().to_string();
    let seed = site.computer("seed", 2).expect("a computer");
    let mut talk = begun(&seed).expect("asked");
    let [a, b, c, _] = seed.address().octets();
    talk.answer(MAY_WE, "y", PATIENCE).expect("asked");
    // One that is in no subnet of this computer is asked for again.
    talk.answer("Addresses to give out, the first and the last", "192.0.2.1-192.0.2.9", PATIENCE).expect("asked");
    let pool = format!("{a}.{b}.{c}.100-{a}.{b}.{c}.149");
    talk.answer("Addresses to give out, the first and the last", &pool, PATIENCE).expect("asked again");
    talk.answer("Router that machines are told", &format!("{a}.{b}.{c}.1"), PATIENCE).expect("asked");
    talk.answer("Name servers that machines are told", "none", PATIENCE).expect("asked");
    let (said, settings) = finished(talk, &seed, &image).expect("made");
    assert!(
        said.contains("nobody gives out addresses") && said.contains(&format!("addresses on eth0. {MAY_WE}")),
        "{said}"
    );
    assert!(settings.contains("pxe_dhcp") && settings.contains(&pool), "{settings}");
}
