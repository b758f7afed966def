//! TFTP as stock clients speak it.

use std::fs;
use std::process::Output;

use anyhow::Result;
use meadow_rack::wait;
use meadow_tests_netns::{Net, PATIENCE};

fn text(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn serving() -> Result<(Net, meadow_rack::boot_server::BootServer)> {
    let mut net = Net::build()?;
    net.address_client()?;
    let server = net.serve("image")?;
    Ok((net, server))
}

#[test]
fn tftp_hpa_fetches_whole_files() {
    let (net, _server) = serving().expect("a boot server");
    let target = net.file("fetched");
    for (asked, name) in [
        ("ipxe/undionly.kpxe", "ipxe/undionly.kpxe"),
        ("/ipxe/snponly.efi", "ipxe/snponly.efi"),
        ("//ipxe//ipxe.efi", "ipxe/ipxe.efi"),
        ("ipxe\\snponly.efi", "ipxe/snponly.efi"),
    ] {
        let output = net
            .on_client("tftp", &["-m", "binary", &net.server_address(), "-c", "get", asked, &target.to_string_lossy()])
            .expect("tftp-hpa");
        let fetched = fs::read(&target).unwrap_or_default();
        assert!(
            fetched == net.artifacts().read(name).expect("an artifact"),
            "{asked}: {} bytes; {}",
            fetched.len(),
            text(&output)
        );
        fs::remove_file(&target).expect("removed");
    }
}

#[test]
fn atftp_negotiates_every_option() {
    let (net, _server) = serving().expect("a boot server");
    let target = net.file("fetched");
    let wanted = net.artifacts().read("ipxe/undionly.kpxe").expect("an artifact");
    for options in [
        &[][..],
        &["blksize 512"],
        &["blksize 1468", "tsize 0"],
        &["blksize 1024", "windowsize 8"],
        &["timeout 2", "windowsize 64", "blksize 1400"],
    ] {
        let mut arguments = vec!["--trace", "--verbose"];
        for option in options {
            arguments.extend(["--option", option]);
        }
        let (path, address) = (target.to_string_lossy().into_owned(), net.server_address());
        arguments.extend(["--get", "--remote-file", "ipxe/undionly.kpxe", "--local-file", &path, &address]);
        let output = net.on_client("atftp", &arguments).expect("atftp");
        let fetched = fs::read(&target).unwrap_or_default();
        assert!(fetched == wanted, "{options:?}: {} bytes; {}", fetched.len(), text(&output));
        let trace = text(&output);
        for option in options {
            let name = option.split(' ').next().expect("a name");
            assert!(trace.contains("OACK") && trace.contains(name), "{option} was not acknowledged: {trace}");
        }
        fs::remove_file(&target).expect("removed");
    }
}

/// Clients with habits of their own: busybox asks for a block size and curl for a size too, or for nothing.
#[test]
fn busybox_and_curl_fetch_whole_files() {
    let (net, _server) = serving().expect("a boot server");
    let (target, server) = (net.file("fetched"), net.server_address());
    let (to, name) = (target.to_string_lossy(), "ipxe/undionly.kpxe");
    let url = format!("tftp://{server}/{name}");
    let wanted = net.artifacts().read(name).expect("an artifact");
    for arguments in [
        &["busybox", "tftp", "-g", "-r", name, "-l", &to, &server][..],
        &["busybox", "tftp", "-g", "-b", "1468", "-r", name, "-l", &to, &server],
        &["curl", "-sS", "-o", &to, &url],
        &["curl", "-sS", "--tftp-blksize", "1468", "-o", &to, &url],
        &["curl", "-sS", "--tftp-no-options", "-o", &to, &url],
    ] {
        let output = net.on_client(arguments[0], &arguments[1..]).expect("a client");
        let fetched = fs::read(&target).unwrap_or_default();
        assert!(fetched == wanted, "{arguments:?}: {} bytes; {}", fetched.len(), text(&output));
        fs::remove_file(&target).expect("removed");
    }
}

#[test]
fn what_is_no_artifact_is_refused() {
    let (net, server) = serving().expect("a boot server");
    let target = net.file("fetched");
    let ask = |name: &str| {
        let address = net.server_address();
        let output = net.on_client("tftp", &["-m", "binary", &address, "-c", "get", name, &target.to_string_lossy()]);
        text(&output.expect("tftp-hpa"))
    };
    for name in ["../meadow-pxe.toml", "ipxe/../../meadow-pxe.toml", "/etc/passwd", "none.efi", "ipxe"] {
        let said = ask(name);
        assert!(said.contains("Error code"), "{name}: {said}");
        assert_eq!(fs::read(&target).unwrap_or_default(), Vec::<u8>::new(), "{name}");
    }
    // Of strangers one failure a second is told, so that nobody fills the log.
    let told = wait::until("an event", PATIENCE, || {
        ask("none.efi");
        let log = server.log()?;
        Ok(log.lines().find(|line| line.contains("none.efi")).map(str::to_owned))
    });
    let line = told.expect("an event");
    assert!(line.contains("failed"), "{line}");
}

#[test]
fn nothing_can_be_written() {
    let (net, _server) = serving().expect("a boot server");
    let source = net.file("mine");
    fs::write(&source, "mine").expect("written");
    let before = net.artifacts().read("vmlinuz").expect("an artifact");
    let output = net
        .on_client("tftp", &["-m", "binary", &net.server_address(), "-c", "put", &source.to_string_lossy(), "vmlinuz"])
        .expect("tftp-hpa");
    assert!(text(&output).contains("Error code"), "{}", text(&output));
    assert!(net.artifacts().read("vmlinuz").expect("an artifact") == before);
}
