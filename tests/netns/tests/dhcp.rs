//! proxyDHCP beside a home router, as stock DHCP clients see it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use meadow_rack::process::Program;
use meadow_rack::wait;
use meadow_tests_netns::{Net, PATIENCE};

/// The vendor class of BIOS firmware with PXE.
const BIOS: &str = "PXEClient:Arch:00000:UNDI:002001";
/// The vendor class of UEFI x64 firmware with PXE.
const UEFI: &str = "PXEClient:Arch:00007:UNDI:003016";
/// The vendor class of UEFI x64 firmware with HTTP boot.
const HTTP: &str = "HTTPClient:Arch:00016:UNDI:003001";

/// Every DHCP packet that reaches the client, as tcpdump reads it.
struct Capture {
    _tcpdump: Program,
    log: PathBuf,
}

impl Capture {
    fn begin(net: &mut Net, log: &str) -> Result<Self> {
        let client = net.client().clone();
        let mut command = client.command("tcpdump");
        command.args(["-i", "eth0", "-n", "-vv", "-l", "-s", "0", "udp", "and", "src", "port", "67"]);
        let (tcpdump, log) = net.start(&client, command, log)?;
        wait::until("tcpdump", PATIENCE, || Ok(fs::read_to_string(&log)?.contains("listening on").then_some(())))?;
        Ok(Self { _tcpdump: tcpdump, log })
    }

    /// The packets from `server` so far, each as one text.
    fn from(&self, server: &str) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log)?;
        let mut packets: Vec<String> = Vec::new();
        for line in text.lines() {
            if !line.starts_with(char::is_whitespace) {
                packets.push(String::new());
            }
            if let Some(packet) = packets.last_mut() {
                packet.push_str(line);
                packet.push('\n');
            }
        }
        Ok(packets.into_iter().filter(|packet| packet.contains(&format!("{server}.67 > "))).collect())
    }

    fn wait_from(&self, server: &str) -> Result<String> {
        wait::until(&format!("a packet from {server}"), PATIENCE, || Ok(self.from(server)?.into_iter().next()))
    }
}

/// One round of dhclient: takes a lease only from a server that gives a netmask, as a proxy does not.
fn dhclient(net: &mut Net, vendor_class: &str, architecture: Option<u16>) -> Result<String> {
    let folder = net.file("dhclient");
    fs::create_dir_all(&folder)?;
    let architecture = architecture.map(|number| format!("send arch {number};\n")).unwrap_or_default();
    let (settings, leases) = (folder.join("conf"), folder.join("leases"));
    fs::write(
        &settings,
        format!(
            "option arch code 93 = unsigned integer 16;\nsend vendor-class-identifier \"{vendor_class}\";\n{architecture}\
             request subnet-mask, routers;\nrequire subnet-mask;\ntimeout 30;\n"
        ),
    )?;
    fs::write(&leases, "")?;
    let client = net.client().clone();
    let mut command = client.command("dhclient");
    command
        .args(["-4", "-d", "-sf", "/bin/true", "-cf"])
        .arg(&settings)
        .arg("-lf")
        .arg(&leases)
        .arg("-pf")
        .arg(folder.join("pid"))
        .arg("eth0");
    let (mut dhclient, log) = net.start(&client, command, "dhclient.log")?;
    wait::until("a lease", PATIENCE, || {
        if let Some(status) = dhclient.exited()? {
            bail!("dhclient ended ({status}): {}", fs::read_to_string(&log)?);
        }
        Ok(Some(fs::read_to_string(&leases)?).filter(|leases| leases.contains('}')))
    })
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
        let capture = Capture::begin(&mut net, &format!("capture-{architecture}.log")).expect("tcpdump");
        let leases = dhclient(&mut net, class, Some(architecture)).expect("a lease");
        assert!(leases.contains(&format!("dhcp-server-identifier {router}")), "{class}: {leases}");
        let offer = capture.wait_from(&proxy).expect("an offer");
        assert!(offer.contains("Offer") && !offer.contains("Your-IP"), "{class}: {offer}");
        assert!(offer.contains(&format!("\"{client}\"")) && offer.contains(file), "{class}: {offer}");
        // Option 43 belongs to BIOS only: old EDK2 drops offers that have it.
        assert_eq!(offer.contains("Vendor-Option (43)"), architecture == 0, "{class}: {offer}");
        let by_router = capture.wait_from(&router).expect("an offer");
        assert!(!by_router.contains("PXEClient") && !by_router.contains("HTTPClient"), "{class}: {by_router}");
    }
}

#[test]
fn a_client_that_does_not_boot_hears_nothing_of_us() {
    let mut net = Net::build().expect("namespaces");
    let _server = net.serve("image").expect("a boot server");
    let capture = Capture::begin(&mut net, "capture.log").expect("tcpdump");
    let output = net
        .on_client("udhcpc", &["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-T", "5", "-t", "6"])
        .expect("udhcpc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The router took its 3 s for the ping check: whatever we would have said is here by now.
    capture.wait_from(&net.router_address()).expect("the router's offer");
    assert_eq!(capture.from(&net.server_address()).expect("read"), Vec::<String>::new());
}

#[test]
fn a_machine_that_nobody_named_is_left_alone_and_listed() {
    let mut net = Net::build().expect("namespaces");
    let mut server = net.serve("ignore").expect("a boot server");
    let capture = Capture::begin(&mut net, "capture.log").expect("tcpdump");
    dhclient(&mut net, BIOS, Some(0)).expect("a lease");
    capture.wait_from(&net.router_address()).expect("the router's offer");
    assert_eq!(capture.from(&net.server_address()).expect("read"), Vec::<String>::new());
    let mac = net.client_mac().expect("a MAC");
    let line = server.wait_for("ignored", PATIENCE).expect("an event");
    assert!(line.contains(&mac), "{line}");
}

#[test]
fn the_initramfs_finds_the_server_by_its_own_vendor_class() {
    let mut net = Net::build().expect("namespaces");
    let _server = net.serve("image").expect("a boot server");
    let capture = Capture::begin(&mut net, "capture.log").expect("tcpdump");
    dhclient(&mut net, "Meadow:1", None).expect("a lease");
    let offer = capture.wait_from(&net.server_address()).expect("an offer");
    assert!(offer.contains("\"Meadow:1\"") && offer.contains(&net.url("")), "{offer}");
}
