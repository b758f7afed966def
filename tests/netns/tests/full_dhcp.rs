//! Full DHCP, as stock clients see it, and who else is on the wire.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use meadow_rack::boot_server::BootServer;
use meadow_rack::process::Program;
use meadow_rack::wait;
use meadow_tests_netns::{Net, PATIENCE};

/// What udhcpc tells its script, and what a script does with it.
const SCRIPT: &str = "#!/bin/sh\n\
    case $1 in\n\
    bound|renew) ip addr replace \"$ip/$mask\" dev \"$interface\" ;;\n\
    deconfig) ip addr flush dev \"$interface\"; ip link set \"$interface\" up ;;\n\
    esac\n\
    echo \"$1 $ip by $serverid router $router boot ${boot_file:-none}\"\n";

/// Settings of a boot server that gives out addresses, if nobody else does.
fn settings(net: &Net, policy: &str) -> Result<String> {
    let (subnet, first, last) = (net.address(0), net.address(100), net.address(149));
    Ok(format!(
        "lease_file = \"{}\"\n{}[[dhcp]]\nsubnet = \"{subnet}/24\"\npool = \"{first}-{last}\"\nrouter = [\"{}\"]\n\
         dns = [\"{}\"]\n",
        net.file("leases").display(),
        net.settings(policy)?,
        net.router_address(),
        net.router_address(),
    ))
}

/// A boot server that has begun to give out addresses.
fn serve(net: &mut Net) -> Result<BootServer> {
    let settings = settings(net, "image")?;
    let mut server = net.start_server(&settings)?;
    server.wait_for("full DHCP begins", PATIENCE)?;
    Ok(server)
}

/// A running udhcpc and what it printed.
struct Client {
    program: Program,
    log: PathBuf,
}

impl Client {
    fn start(net: &mut Net, log: &str, options: &[&str]) -> Result<Self> {
        let script = net.file("udhcpc.sh");
        fs::write(&script, SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        let client = net.client().clone();
        let mut command = client.command("udhcpc");
        command.args(["-i", "eth0", "-f", "-T", "1", "-A", "1", "-s"]).arg(&script).args(options);
        let (program, log) = net.start(&client, command, log)?;
        Ok(Self { program, log })
    }

    /// Waits for the line with number `count` that begins with `what`.
    fn wait_for(&self, what: &str, count: usize) -> Result<String> {
        let found = wait::until(what, PATIENCE, || {
            let text = fs::read_to_string(&self.log)?;
            Ok(text.lines().filter(|line| line.starts_with(what)).nth(count - 1).map(str::to_owned))
        });
        found.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }

    fn signal(&self, net: &Net, signal: &str) -> Result<()> {
        let pid = self.program.id().context("udhcpc has ended")?.pid.to_string();
        let status = net.client().command("kill").args([signal, &pid]).status()?;
        anyhow::ensure!(status.success(), "cannot signal udhcpc");
        Ok(())
    }
}

fn address(line: &str) -> Ipv4Addr {
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("an address")
}

#[test]
fn a_lease_is_given_renewed_kept_through_a_crash_and_released() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    let mut server = serve(&mut net).expect("a server");
    let client = Client::start(&mut net, "udhcpc.log", &[]).expect("udhcpc");
    let bound = client.wait_for("bound", 1).expect("a lease");
    let (own, router) = (net.server_address(), net.router_address());
    assert!(bound.contains(&format!("by {own} router {router}")), "{bound}");
    assert!(bound.contains(&net.address(100)), "the first of the pool: {bound}");

    client.signal(&net, "-USR1").expect("asked to renew");
    let renewed = client.wait_for("renew", 1).expect("renewed");
    assert_eq!(address(&renewed), address(&bound));

    server.kill().expect("killed");
    let mode = fs::metadata(net.file("leases")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut server = serve(&mut net).expect("a server again");
    // Another client asks first, for the very address.
    let wanted = address(&bound).to_string();
    let before = server.log().expect("a log");
    assert!(before.contains("records of leases read"), "{before}");
    let router = net.router().namespace().clone();
    let taker = router
        .command("udhcpc")
        .args(["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-r", &wanted, "-T", "2", "-t", "6"])
        .output()
        .expect("udhcpc");
    let taken = String::from_utf8_lossy(&taker.stderr).into_owned() + &String::from_utf8_lossy(&taker.stdout);
    assert!(taken.contains(&format!("lease of {}", net.address(101))), "{taken}");
    client.signal(&net, "-USR1").expect("asked to renew");
    let again = client.wait_for("renew", 2).expect("renewed by the new server");
    assert_eq!(address(&again), address(&bound));

    client.signal(&net, "-USR2").expect("asked to release");
    client.wait_for("deconfig", 2).expect("released");
    drop(client);
    let client = Client::start(&mut net, "udhcpc-2.log", &["-q"]).expect("udhcpc");
    let last = client.wait_for("bound", 1).expect("a lease");
    assert_eq!(address(&last), address(&bound), "the same client, the same address");
    server.wait_for("has the address", PATIENCE).expect("an event");
}

#[test]
fn dhclient_gets_a_lease_with_the_boot_file_in_it() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    let _server = serve(&mut net).expect("a server");
    let (settings, leases) = (net.file("dhclient.conf"), net.file("dhclient.leases"));
    fs::write(
        &settings,
        "option arch code 93 = unsigned integer 16;\nsend vendor-class-identifier \"PXEClient:Arch:00007:UNDI:003016\";\n\
         send arch 7;\nrequest subnet-mask, routers, domain-name-servers, bootfile-name;\nrequire subnet-mask;\n",
    )
    .expect("written");
    fs::write(&leases, "").expect("written");
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let (settings, file, pid) = (text(&settings), text(&leases), text(&net.file("dhclient.pid")));
    let common = ["-4", "-v", "-sf", "/bin/true", "-cf", &settings, "-lf", &file, "-pf", &pid];
    let got = net.on_client("dhclient", &[&common[..], &["-1", "eth0"]].concat()).expect("dhclient");
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    let lease = fs::read_to_string(&leases).expect("a lease");
    for part in [
        format!("fixed-address {}", net.address(100)),
        format!("dhcp-server-identifier {}", net.server_address()),
        format!("option routers {}", net.router_address()),
        "filename \"ipxe/snponly.efi\"".to_owned(),
        "dhcp-lease-time 43200".to_owned(),
    ] {
        assert!(lease.contains(&part), "{part}: {lease}");
    }
    let released = net.on_client("dhclient", &[&common[..], &["-r", "eth0"]].concat()).expect("dhclient");
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
}

#[test]
fn an_address_that_somebody_has_taken_is_found_and_given_to_nobody() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    // A printer with a fixed address in the middle of what will be the pool.
    let printer = net.address(100);
    net.router().namespace().ip(&["addr", "add", &format!("{printer}/24"), "dev", "eth0"]).expect("an address");
    let mut server = serve(&mut net).expect("a server");
    let line = server.wait_for("which is in the pool and was not given to it", PATIENCE).expect("it is found");
    assert!(line.contains(&printer), "{line}");
    let client = Client::start(&mut net, "udhcpc.log", &["-q"]).expect("udhcpc");
    let bound = client.wait_for("bound", 1).expect("a lease");
    assert_eq!(address(&bound).to_string(), net.address(101), "the next one");
}

#[test]
fn while_another_server_gives_out_addresses_we_do_not_and_name_it() {
    let mut net = Net::build().expect("namespaces");
    let settings = settings(&net, "image").expect("settings");
    let mut server = net.start_server(&settings).expect("started");
    let line = server.wait_for("another DHCP server", PATIENCE).expect("the router is named");
    assert!(line.contains(&net.router_address()) && line.contains("switch off"), "{line}");
    let mac = net.router().namespace().command("cat").arg("/sys/class/net/eth0/address").output().expect("cat");
    let mac = String::from_utf8_lossy(&mac.stdout).trim().to_owned();
    assert!(line.contains(&mac), "{mac}: {line}");
    let client = Client::start(&mut net, "udhcpc.log", &["-q"]).expect("udhcpc");
    let bound = client.wait_for("bound", 1).expect("a lease");
    assert!(bound.contains(&format!("by {}", net.router_address())), "{bound}");
    assert!(!server.log().expect("a log").contains("full DHCP begins"));
    net.switch_router_off().expect("switched off");
    server.wait_for("full DHCP begins", PATIENCE).expect("it takes over");
    server.wait_for("nothing is wrong", PATIENCE).expect("the problem is gone");
}

#[test]
fn full_dhcp_ends_as_soon_as_another_server_is_heard() {
    let mut net = Net::build().expect("namespaces");
    net.switch_router_off().expect("switched off");
    let mut server = serve(&mut net).expect("a server");
    let router = net.router().namespace().clone();
    let mut command = router.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--no-ping"])
        .args(["--port=0", "--interface=eth0", "--bind-interfaces"])
        .arg(format!("--dhcp-range={},{},1h", net.address(50), net.address(60)))
        .arg(format!("--dhcp-leasefile={}", net.file("second.leases").display()));
    let (_dnsmasq, log) = net.start(&router, command, "second.log").expect("dnsmasq");
    wait::until("the second server", PATIENCE, || {
        Ok(fs::read_to_string(&log)?.contains("DHCP, IP range").then_some(()))
    })
    .expect("it serves");
    // With the broadcast flag, so that all hear the answers.
    let _client = Client::start(&mut net, "udhcpc.log", &["-B", "-q"]).expect("udhcpc");
    server.wait_for("full DHCP ends", PATIENCE).expect("it stops");
    let line = server.wait_for("another DHCP server,", PATIENCE).expect("the other one is named");
    assert!(line.contains(&net.router_address()), "{line}");
}

#[test]
fn a_second_pxe_server_is_named_beside_the_router() {
    let mut net = Net::build().expect("namespaces");
    net.address_client().expect("an address");
    let other = net.client().clone();
    let mut command = other.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--log-dhcp"])
        .args(["--port=0", "--interface=eth0", "--bind-interfaces", "--pxe-service=x86PC,other,undionly"])
        .arg(format!("--dhcp-range={},proxy", net.address(0)));
    let (_dnsmasq, log) = net.start(&other, command, "other.log").expect("dnsmasq");
    wait::until("the other server", PATIENCE, || {
        Ok(fs::read_to_string(&log)?.contains("DHCP, proxy on subnet").then_some(()))
    })
    .expect("it serves");
    let settings = net.settings("image").expect("settings");
    let mut server = net.start_server(&settings).expect("started");
    let line = server.wait_for("another PXE server", PATIENCE).expect("it is named");
    let mac = net.client_mac().expect("a MAC");
    assert!(line.contains(&net.address(3)) && line.contains(&mac) && line.contains("dhcp-boot"), "{line}");
    let log = server.log().expect("a log");
    assert!(!log.contains("another DHCP server"), "a router is what a proxy is beside: {log}");
}
