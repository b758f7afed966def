//! Machines behind a stock relay: the boot server is in another network.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use meadow_rack::process::Program;
use meadow_rack::wait;
use meadow_tests_netns::{BehindRelay, Net, PATIENCE};

const UEFI: &str = "PXEClient:Arch:00007:UNDI:003016";
/// A relay's own option, as a switch between client and relay writes it.
const RELAY_INFO: &str = "0x52:0104abcd0001";

/// A client behind the relay that asks until it is ended, and what reaches it.
struct Client {
    _programs: [Program; 2],
    packets: PathBuf,
}

impl Client {
    fn start(net: &mut Net, behind: &BehindRelay) -> Result<Self> {
        let client = behind.client().clone();
        let mut command = client.command("tcpdump");
        command.args(["-i", "eth0", "-n", "-vv", "-l", "-s", "0", "udp", "and", "src", "port", "67"]);
        let (tcpdump, packets) = net.start(&client, command, "relayed.log")?;
        wait::until("tcpdump", PATIENCE, || Ok(fs::read_to_string(&packets)?.contains("listening on").then_some(())))?;
        let mut command = client.command("udhcpc");
        command.args(["-i", "eth0", "-f", "-s", "/bin/true", "-T", "1", "-A", "1", "-V", UEFI, "-x", "0x5d:0007"]);
        command.args(["-x", RELAY_INFO]);
        let (udhcpc, _) = net.start(&client, command, "relayed-udhcpc.log")?;
        Ok(Self { _programs: [tcpdump, udhcpc], packets })
    }

    /// The first packet of this kind, as one text.
    fn wait_for(&self, kind: &str) -> Result<String> {
        let found = wait::until(kind, PATIENCE, || {
            // A packet is whole with the relay's option, which is the last one.
            let text = fs::read_to_string(&self.packets)?;
            let mut packets: Vec<String> = Vec::new();
            for line in text.lines() {
                if !line.starts_with(char::is_whitespace) {
                    packets.push(String::new());
                }
                if let Some(packet) = packets.last_mut() {
                    packet.push_str(line);
                }
            }
            Ok(packets.into_iter().find(|packet| packet.contains(kind) && packet.contains("Circuit-ID")))
        });
        found.with_context(|| fs::read_to_string(&self.packets).unwrap_or_default())
    }
}

fn check(text: &str, behind: &BehindRelay, net: &Net) -> Result<()> {
    for part in [
        format!("{}.67 > ", behind.gateway()),
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
    let offer = client.wait_for("Offer").expect("an offer");
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
    let acknowledged = client.wait_for("ACK").expect("an acknowledgement");
    check(&acknowledged, &behind, &net).expect("through the relay");
    assert!(acknowledged.contains(&format!("Your-IP {}", behind.first_address())), "{acknowledged}");
}
