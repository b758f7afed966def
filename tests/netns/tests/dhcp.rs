//! proxyDHCP beside a home router, as stock DHCP clients see it.

use anyhow::Result;
use meadow_tests_netns::{Capture, HttpBoot, Net, PATIENCE};

/// The vendor class of BIOS firmware with PXE.
const BIOS: &str = "PXEClient:Arch:00000:UNDI:002001";
/// The vendor class of UEFI x64 firmware with PXE.
const UEFI: &str = "PXEClient:Arch:00007:UNDI:003016";
/// The vendor class of UEFI x64 firmware with HTTP boot.
const HTTP: &str = "HTTPClient:Arch:00016:UNDI:003001";

/// Every DHCP packet that reaches the client.
fn capture(net: &mut Net, log: &str) -> Result<Capture> {
    let client = net.client().clone();
    net.capture(&client, log)
}

#[test]
fn the_router_gives_the_lease_and_the_proxy_the_boot_file() {
    let mut net = Net::build().expect("namespaces");
    let _server = net.serve("image").expect("a boot server");
    let (router, proxy) = (net.router_address(), net.server_address());
    for (class, architecture, client, file) in [
        (BIOS, 0, "PXEClient", "undionly.kpxe"),
        (UEFI, 7, "PXEClient", "snponly.efi"),
        (HTTP, 16, "HTTPClient", "/artifacts/ipxe/ipxe.efi"),
    ] {
        let capture = capture(&mut net, &format!("capture-{architecture}.log")).expect("tcpdump");
        let leases = net.dhclient(class, Some(architecture)).expect("a lease");
        assert!(leases.contains(&format!("dhcp-server-identifier {router}")), "{class}: {leases}");
        let offer = capture.wait_for(&proxy, "Offer").expect("an offer");
        assert!(!offer.contains("Your-IP"), "{class}: {offer}");
        assert!(offer.contains(&format!("\"{client}\"")) && offer.contains(file), "{class}: {offer}");
        // The first offer to UEFI has no option 43: old EDK2 drops offers that have it.
        assert_eq!(offer.contains("Vendor-Option (43)"), architecture == 0, "{class}: {offer}");
        if architecture == 7 {
            // It gets the other form right behind it.
            let direct = capture.wait_for(&proxy, "Vendor-Option (43)").expect("an offer with option 43");
            assert!(direct.contains("Offer"), "{class}: {direct}");
        }
        let by_router = capture.wait_for(&router, "Offer").expect("an offer");
        assert!(!by_router.contains("PXEClient") && !by_router.contains("HTTPClient"), "{class}: {by_router}");
    }
}

#[test]
fn a_client_that_does_not_boot_hears_nothing_of_us() {
    let mut net = Net::build().expect("namespaces");
    let _server = net.serve("image").expect("a boot server");
    let capture = capture(&mut net, "capture.log").expect("tcpdump");
    let output = net
        .on_client("udhcpc", &["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-T", "5", "-t", "6"])
        .expect("udhcpc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The router took its 3 s for the ping check: whatever we would have said is here by now.
    capture.wait_for(&net.router_address(), "Offer").expect("the router's offer");
    assert_eq!(capture.from(&net.server_address()).expect("read"), Vec::<String>::new());
}

#[test]
fn a_machine_that_nobody_named_is_left_alone_and_listed() {
    let mut net = Net::build().expect("namespaces");
    let mut server = net.serve("ignore").expect("a boot server");
    let capture = capture(&mut net, "capture.log").expect("tcpdump");
    net.dhclient(BIOS, Some(0)).expect("a lease");
    capture.wait_for(&net.router_address(), "Offer").expect("the router's offer");
    assert_eq!(capture.from(&net.server_address()).expect("read"), Vec::<String>::new());
    let mac = net.client_mac().expect("a MAC");
    let line = server.wait_for("ignored", PATIENCE).expect("an event");
    assert!(line.contains(&mac), "{line}");
}

#[test]
fn the_initramfs_finds_the_server_by_its_own_vendor_class() {
    let mut net = Net::build().expect("namespaces");
    let _server = net.serve("image").expect("a boot server");
    let capture = capture(&mut net, "capture.log").expect("tcpdump");
    net.dhclient("Meadow:1", None).expect("a lease");
    let offer = capture.wait_for(&net.server_address(), "Offer").expect("an offer");
    assert!(offer.contains("\"Meadow:1\"") && offer.contains(&net.url("")), "{offer}");
}

/// HTTP boot of a BIOS (code 20), of which there is no firmware here: every step that it takes.
#[test]
fn a_bios_that_boots_over_http_is_offered_and_sent_its_loader() {
    let mut net = Net::build().expect("namespaces");
    let _server = net.serve("image").expect("a boot server");
    let boot = HttpBoot::play(&mut net, 20).expect("it boots");
    assert!(boot.url.ends_with("/ipxe/undionly.kpxe"), "{}", boot.url);
    assert!(boot.program == net.artifacts().read("ipxe/undionly.kpxe").expect("an artifact"));
}
