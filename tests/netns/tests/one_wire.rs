//! A boot server with two cards on one wire: it hears everything twice, and itself.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use meadow_rack::boot_server::BootServer;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::wait;
use meadow_tests_netns::{Capture, Net, PATIENCE};

/// Last number of the second card's address. In the pool of the tests, where an admin may have overlooked it.
const SECOND: u8 = 100;
const BIOS: &str = "PXEClient:Arch:00000:UNDI:002001";
const UEFI: &str = "PXEClient:Arch:00007:UNDI:003016";

/// The server's cards.
fn cards(net: &Net) -> Result<[String; 2]> {
    let mac = |card: &str| -> Result<String> {
        let output = net.server().command("cat").arg(format!("/sys/class/net/{card}/address")).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    Ok([mac("eth0")?, mac("eth1")?])
}

/// Waits until both cards have looked at the wire: each asks twice in the same way.
fn both_have_looked(net: &Net, capture: &Capture) -> Result<()> {
    let cards = cards(net)?;
    wait::until("two looks of each card", PATIENCE, || {
        let packets = capture.packets()?;
        let looks = |card: &String| {
            let sent = format!(" {card} > ");
            packets.iter().filter(|packet| packet.contains(&sent) && packet.contains("PXEClient:Arch:00000")).count()
        };
        Ok(cards.iter().all(|card| looks(card) >= 2).then_some(()))
    })
}

fn both(settings: &str) -> String {
    settings.replace("interface = \"eth0\"", "interfaces = [\"eth0\", \"eth1\"]")
}

/// Neither card is a stranger to the other.
fn knows_itself(net: &Net, server: &BootServer) {
    let log = server.log().expect("a log");
    for stranger in ["another PXE server", "another DHCP server", "conflict"] {
        assert!(!log.contains(stranger), "{log}");
    }
    for card in cards(net).expect("two cards") {
        assert!(!log.contains(&card), "its own card is no machine: {log}");
    }
}

#[test]
fn a_machine_is_told_the_same_by_both_cards_of_a_proxy() {
    let mut net = Net::build().expect("namespaces");
    net.plug_in_second_card("eth1", SECOND).expect("a second card");
    let client = net.client().clone();
    let looks = net.capture(&client, "looks.log").expect("tcpdump");
    let settings = both(&net.settings("image").expect("settings"));
    // Whoever is not named is booted too, so that its own card would be.
    let mut server = net.start_server(&format!("open_minutes = 60\n{settings}")).expect("started");
    for card in ["eth0", "eth1"] {
        server.wait_for(&format!("serving {card} from"), PATIENCE).expect("it serves");
    }
    both_have_looked(&net, &looks).expect("a look at the wire");
    // UEFI beside a router gets both forms, the one without option 43 first.
    for (class, architecture, forms) in [(BIOS, 0, &[true][..]), (UEFI, 7, &[false, true])] {
        let capture = net.capture(&client, &format!("capture-{architecture}.log")).expect("tcpdump");
        net.dhclient(class, Some(architecture)).expect("a lease");
        for own in [net.server_address(), net.address(SECOND)] {
            let offer = capture.wait_for(&own, "Offer").expect("an offer");
            assert_eq!(offer.contains("Vendor-Option (43)"), forms[0], "{class}: {offer}");
            assert!(offer.contains(&format!("Server-ID (54), length 4: {own}")), "{class}: {offer}");
            if forms.len() > 1 {
                let second = capture.wait_for(&own, "Vendor-Option (43)").expect("the other form");
                assert!(second.contains("Offer"), "{class}: {second}");
                assert!(second.contains(&format!("Server-ID (54), length 4: {own}")), "{class}: {second}");
            }
        }
        let line = server
            .wait_for(if architecture == 0 { "offered ipxe/undionly" } else { "offered ipxe/snponly" }, PATIENCE)
            .expect("an event");
        assert!(line.contains("offer 1)"), "{line}");
    }
    knows_itself(&net, &server);
}

/// A client that keeps its lease, and what it printed.
struct Client {
    program: Program,
    log: PathBuf,
}

impl Client {
    fn start(net: &mut Net, namespace: &Namespace, log: &str) -> Result<Self> {
        // The address is set, so that a renewal comes from it.
        let script = net.script(
            "#!/bin/sh\n\
             case $1 in bound|renew) ip addr replace \"$ip/24\" dev \"$interface\" ;; esac\n\
             echo \"$1 $ip by $serverid\"\n",
        )?;
        let mut command = namespace.command("udhcpc");
        command.args(["-i", "eth0", "-f", "-T", "1", "-A", "1", "-s"]).arg(script);
        let (program, log) = net.start(namespace, command, log)?;
        Ok(Self { program, log })
    }

    /// Waits for the line with number `count` that begins with `what`; the address in it.
    fn wait_for(&self, what: &str, count: usize) -> Result<String> {
        let found = wait::until(what, PATIENCE, || {
            let text = fs::read_to_string(&self.log)?;
            let line = text.lines().filter(|line| line.starts_with(&format!("{what} "))).nth(count - 1);
            Ok(line.and_then(|line| line.split(' ').nth(1)).map(str::to_owned))
        });
        found.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }

    fn renew(&self) -> Result<()> {
        let process = self.program.id().context("udhcpc has ended")?;
        process.signal(rustix::process::Signal::USR1);
        Ok(())
    }
}

#[test]
fn full_dhcp_on_both_cards_gives_each_client_one_lease_and_nobody_its_own_address() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    net.plug_in_second_card("eth1", SECOND).expect("a second card");
    let (subnet, first, last) = (net.address(0), net.address(SECOND), net.address(SECOND + 2));
    let settings = format!(
        "lease_file = \"{}\"\n{}[[dhcp]]\nsubnet = \"{subnet}/24\"\npool = \"{first}-{last}\"\n",
        net.file("leases").display(),
        both(&net.settings("image").expect("settings")),
    );
    let mut server = net.start_server(&settings).expect("started");
    for card in ["eth0", "eth1"] {
        let begins = format!("nobody else gives out addresses on {card}: full DHCP begins");
        server.wait_for(&begins, PATIENCE).expect("full DHCP");
    }
    let (one, other) = (net.client().clone(), net.router().namespace().clone());
    let clients = [("one.log", one), ("other.log", other)]
        .map(|(log, namespace)| Client::start(&mut net, &namespace, log).expect("udhcpc"));
    let mut addresses = clients.each_ref().map(|client| client.wait_for("bound", 1).expect("a lease"));
    for (client, address) in clients.iter().zip(&addresses) {
        client.renew().expect("asked to renew");
        assert_eq!(client.wait_for("renew", 1).expect("renewed"), *address);
    }
    addresses.sort();
    assert_eq!(addresses, [net.address(SECOND + 1), net.address(SECOND + 2)], "and not the server's own");
    knows_itself(&net, &server);
    let log = server.log().expect("a log");
    assert_eq!(log.matches("has the address").count(), 2, "{log}");

    // What one card gave goes on by the other one.
    net.server().ip(&["link", "set", "eth0", "down"]).expect("pulled out");
    server.wait_for("interface eth0 changed", PATIENCE).expect("noticed");
    drop(clients);
    let namespace = net.client().clone();
    let again = Client::start(&mut net, &namespace, "again.log").expect("udhcpc");
    assert!(addresses.contains(&again.wait_for("bound", 1).expect("a lease")), "its own again");
}
