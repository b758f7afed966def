//! What goes wrong on a seed: taken ports and damaged files. The error says which and what to do.

use std::fs;

use meadow_tests_netns::{Net, PATIENCE};

/// Ports and what else usually has them.
const PORTS: [u16; 3] = [67, 69, 4011];

#[test]
fn a_taken_port_is_named_with_its_holder() {
    for port in PORTS {
        let mut net = Net::build().expect("namespaces");
        let seed = net.server().clone();
        let mut command = seed.command("socat");
        command.args(["-u", &format!("UDP4-RECV:{port}"), "OPEN:/dev/null"]);
        let _holder = net.start(&seed, command, "socat.log").expect("socat");
        meadow_rack::wait::until("socat", PATIENCE, || {
            let sockets = seed.command("ss").args(["-Hlun", &format!("sport = :{port}")]).output()?;
            Ok((!sockets.stdout.is_empty()).then_some(()))
        })
        .expect("the port is taken");
        let settings = net.settings("image").expect("settings");
        let mut server = net.start_server(&settings).expect("started");
        let line = server.wait_for(&format!("port {port}"), PATIENCE).expect("an error");
        assert!(line.contains("socat"), "{line}");
    }
}

#[test]
fn a_damaged_or_missing_artifact_is_said_and_not_served_and_the_rest_is() {
    let mut net = Net::build().expect("namespaces");
    net.address_client().expect("an address");
    let folder = net.artifacts().folder().to_owned();
    let mut damaged = net.artifacts().read("root.img").expect("an artifact");
    damaged[2_000_000] ^= 1;
    fs::write(folder.join("root.img"), damaged).expect("written");
    fs::remove_file(folder.join("ipxe/ipxe.efi")).expect("removed");
    let mut server = net.serve("image").expect("a boot server");
    for name in ["root.img", "ipxe/ipxe.efi"] {
        let line = server.wait_for(name, PATIENCE).expect("an error");
        assert!(line.contains("make image"), "the next step is missing: {line}");
        let code = net
            .on_client("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &net.url(&format!("artifacts/{name}"))])
            .expect("curl");
        assert_eq!(String::from_utf8_lossy(&code.stdout), "503", "{name}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_served_is_not_served_any_more() {
    let mut net = Net::build().expect("namespaces");
    net.address_client().expect("an address");
    let mut server = net.serve("image").expect("a boot server");
    let path = net.artifacts().folder().join("vmlinuz");
    let mut bytes = fs::read(&path).expect("read");
    bytes[0] ^= 1;
    fs::write(&path, bytes).expect("written");
    let url = net.url("artifacts/vmlinuz");
    meadow_rack::wait::until("an answer other than 200", PATIENCE, || {
        let code = net.on_client("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &url])?;
        Ok((code.stdout != b"200").then_some(()))
    })
    .expect("the damaged file is refused");
    server.wait_for("vmlinuz", PATIENCE).expect("an error");
}
