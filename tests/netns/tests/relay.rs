//! Machines behind a stock relay: the boot server is in another network.

use std::fs;

use anyhow::{Result, bail};
use meadow_rack::process::Program;
use meadow_rack::{paths, wait};
use meadow_tests_netns::{BehindRelay, Capture, Computer, Net, PATIENCE, Ran, Site};

const UEFI: &str = "PXEClient:Arch:00007:UNDI:003016";
/// A relay's own option, as a switch between client and relay writes it.
const RELAY_INFO: &str = "0x52:0104abcd0001";

/// A client behind the relay that asks until it is ended, and what reaches it.
struct Client {
    _udhcpc: Program,
    capture: Capture,
}

impl Client {
    fn start(net: &mut Net, behind: &BehindRelay) -> Result<Self> {
        let client = behind.client().clone();
        let capture = net.capture(&client, "relayed.log")?;
        let mut command = client.command("udhcpc");
        command.args(["-i", "eth0", "-f", "-s", "/bin/true", "-T", "1", "-A", "1", "-V", UEFI, "-x", "0x5d:0007"]);
        command.args(["-x", RELAY_INFO]);
        let (udhcpc, _) = net.start(&client, command, "relayed-udhcpc.log")?;
        Ok(Self { _udhcpc: udhcpc, capture })
    }
}

fn check(text: &str, behind: &BehindRelay, net: &Net) -> Result<()> {
    for part in [
        format!("Gateway-IP {}", behind.gateway()),
        net.server_address(),
        "snponly.efi".to_owned(),
        "Agent-Information (82)".to_owned(),
    ] {
        if !text.contains(&part) {
            bail!("{part} is not in {text}");
        }
    }
    Ok(())
}

#[test]
fn a_proxy_offers_its_file_through_a_relay_and_lists_the_machine() {
    let mut net = Net::build().expect("namespaces");
    let behind = net.behind_relay().expect("a relay");
    let settings = net.settings_for(&behind.client_mac().expect("a MAC"), "image");
    let mut server = net.start_server(&settings).expect("started");
    server.wait_for("serving eth0", PATIENCE).expect("it serves");
    let client = Client::start(&mut net, &behind).expect("a client");
    let line = server.wait_for("offered ipxe/snponly.efi", PATIENCE).expect("an event");
    assert!(line.contains(&behind.client_mac().expect("a MAC")), "{line}");
    let offer = client.capture.wait_for(&behind.gateway(), "Offer").expect("an offer");
    check(&offer, &behind, &net).expect("through the relay");
    assert!(!offer.contains("Your-IP"), "{offer}");
}

#[test]
fn full_dhcp_gives_an_address_of_the_network_behind_the_relay() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    let behind = net.behind_relay().expect("a relay");
    let own =
        format!("[[dhcp]]\nsubnet = \"{}/24\"\npool = \"{}-{}\"\n", net.address(0), net.address(100), net.address(149));
    let settings = format!(
        "lease_file = \"{}\"\n{}{own}{}",
        net.file("leases").display(),
        net.settings_for(&behind.client_mac().expect("a MAC"), "image"),
        BehindRelay::lease_settings("dhcp"),
    );
    let mut server = net.start_server(&settings).expect("started");
    server.wait_for("full DHCP begins", PATIENCE).expect("it gives out addresses");
    let client = Client::start(&mut net, &behind).expect("a client");
    let line = server.wait_for("has the address", PATIENCE).expect("an event");
    assert!(line.contains(&behind.first_address()), "{line}");
    let acknowledged = client.capture.wait_for(&behind.gateway(), "ACK").expect("an acknowledgement");
    check(&acknowledged, &behind, &net).expect("through the relay");
    assert!(acknowledged.contains(&format!("Your-IP {}", behind.first_address())), "{acknowledged}");
}

/// Settings of a seed that gives out addresses here and behind the relay.
fn both_networks(seed: &Computer) -> String {
    let [a, b, c, _] = seed.address().octets();
    let near = format!("[[pxe_dhcp]]\nsubnet = \"{a}.{b}.{c}.0/24\"\npool = \"{a}.{b}.{c}.100-{a}.{b}.{c}.109\"\n");
    near + &BehindRelay::lease_settings("pxe_dhcp")
}

#[test]
fn all_that_a_machine_behind_a_relay_says_is_captured() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.initialised_with(both_networks).expect("a cluster");
    let behind = site.behind_relay(&seed).expect("a relay");
    seed.start_agent(&mut site).expect("started");
    seed.wait_for_node("seed").expect("ready");
    let begins = |seed: &Computer| {
        let events = seed.items(&["pxe", "events"])?;
        Ok(events.iter().any(|event| event["message"].to_string().contains("full DHCP begins")).then_some(()))
    };
    seed.until("full DHCP", begins).expect("it gives out addresses");
    let (mac, address, server) = (behind.client_mac().expect("a MAC"), behind.first_address(), seed.address());
    let (meadow, file) = (paths::programs().join("meadow"), seed.file("machine.pcap"));
    let (meadow, file) = (meadow.to_string_lossy(), file.to_string_lossy());
    let capture = ["pxe", "capture", &mac, "--to", &file, "--for", "1h"];
    let (_capture, said) = seed.start(&mut site, &meadow, &capture).expect("meadow");
    let says = |part: &str| wait::until(part, PATIENCE, || Ok(fs::read_to_string(&said)?.contains(part).then_some(())));
    says("Capturing").expect("it begins");

    let run = |program: &str, arguments: &[&str]| {
        Ran::of(behind.client().command(program).args(arguments)).and_then(Ran::success).expect(program)
    };
    let asks = ["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-T", "2", "-t", "10"];
    run("udhcpc", &[&asks[..], &["-V", UEFI, "-x", "0x5d:0007"]].concat());
    behind.address_client(&address).expect("its address");
    run("tftp", &["-m", "binary", &server.to_string(), "-c", "get", "ipxe/snponly.efi", "/dev/null"]);
    run("curl", &["-sSf", "-o", "/dev/null", &format!("http://{server}:7480/artifacts/vmlinuz")]);

    says(&format!("{mac} has the address {address} behind a router")).expect("what is followed is named");
    let caught = wait::until("all of it in the file", PATIENCE, || {
        let text = Ran::of(seed.namespace().command("tcpdump").args(["-nn", "-r", &file]))?.stdout;
        let parts = ["BOOTP/DHCP, Request", &format!("> {server}.69: "), &format!("{server}.7480 > {address}.")];
        Ok(parts.iter().all(|part| text.contains(part)).then_some(text))
    });
    let text = caught.expect("DHCP, TFTP and HTTP");
    assert!(text.contains("snponly.efi"), "the first request of TFTP is there: {text}");
}
