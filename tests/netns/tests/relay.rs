//! Machines behind a stock relay: the boot server is in another network.

use anyhow::{Result, bail};
use meadow_rack::process::Program;
use meadow_tests_netns::{BehindRelay, Capture, Net, PATIENCE};

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
        behind.lease_settings(),
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
