//! Boot files over HTTP, asked for with curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::thread;

use anyhow::Result;
use meadow_rack::boot_server::BootServer;
use meadow_rack::namespace::Namespace;
use meadow_rack::wait;
use meadow_tests_netns::{Net, PATIENCE};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

fn serving(policy: &str) -> Result<(Net, BootServer)> {
    let mut net = Net::build()?;
    net.address_client()?;
    let server = net.serve(policy)?;
    Ok((net, server))
}

fn curl(net: &Net, arguments: &[&str]) -> Output {
    let output = net.on_client("curl", &[&["-s", "--path-as-is"], arguments].concat()).expect("curl");
    assert!(output.status.success(), "curl {arguments:?}: {}", output.status);
    output
}

fn status(net: &Net, arguments: &[&str]) -> String {
    let output = curl(net, &[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat());
    String::from_utf8(output.stdout).expect("a number")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[test]
fn head_get_and_ranges() {
    let (net, _server) = serving("image").expect("a boot server");
    let url = net.url("artifacts/vmlinuz");
    let wanted = net.artifacts().read("vmlinuz").expect("an artifact");

    let head = String::from_utf8(curl(&net, &["-I", &url]).stdout).expect("text");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-length"), Some(wanted.len().to_string().as_str()));
    assert_eq!(header(&head, "accept-ranges"), Some("bytes"));
    let manifest: Value =
        serde_json::from_slice(&net.artifacts().read("manifest.json").expect("a manifest")).expect("JSON");
    let digest = manifest.pointer("/artifacts/vmlinuz/sha256").and_then(Value::as_str).expect("a digest");
    assert_eq!(header(&head, "etag"), Some(format!("\"{digest}\"").as_str()));

    assert!(curl(&net, &[&url]).stdout == wanted);
    for (range, slice) in [
        ("0-0", &wanted[..1]),
        ("1000-1999", &wanted[1000..2000]),
        ("3000000-", &wanted[3_000_000..]),
        ("-5", &wanted[wanted.len() - 5..]),
        ("2999999-9999999", &wanted[2_999_999..]),
    ] {
        assert_eq!(status(&net, &["-r", range, &url]), "206", "{range}");
        assert!(curl(&net, &["-r", range, &url]).stdout == slice, "{range}");
    }
    assert_eq!(status(&net, &["-r", "3000001-", &url]), "416");
}

#[test]
fn other_clients_go_on_where_they_were_cut_off() {
    let (net, _server) = serving("image").expect("a boot server");
    let (url, target) = (net.url("artifacts/vmlinuz"), net.file("fetched"));
    let (to, wanted) = (target.to_string_lossy(), net.artifacts().read("vmlinuz").expect("an artifact"));
    for client in [&["wget", "-q"][..], &["busybox", "wget", "-q"]] {
        for begun in [0, 1_234_567] {
            std::fs::write(&target, &wanted[..begun]).expect("written");
            let arguments = [&client[1..], &["-c", "-O", &to, &url]].concat();
            let output = net.on_client(client[0], &arguments).expect("a client");
            let fetched = std::fs::read(&target).expect("read");
            assert!(output.status.success() && fetched == wanted, "{client:?} {begun}: {} bytes", fetched.len());
        }
    }
}

#[test]
fn uefi_is_told_that_it_gets_a_program() {
    let (net, _server) = serving("image").expect("a boot server");
    let head = String::from_utf8(curl(&net, &["-I", &net.url("artifacts/ipxe/ipxe.efi")]).stdout).expect("text");
    assert_eq!(header(&head, "content-type"), Some("application/efi"));
}

#[test]
fn a_named_machine_gets_its_script_and_configuration_and_a_stranger_does_not() {
    let (net, _server) = serving("hold").expect("a boot server");
    let mac = net.client_mac().expect("a MAC").replace(':', "-");
    let script = String::from_utf8(curl(&net, &[&net.url(&format!("ipxe/{mac}/boot.ipxe"))]).stdout).expect("text");
    assert!(script.starts_with("#!ipxe\n"), "{script}");
    assert!(
        script.contains(&net.url("artifacts/vmlinuz")) && script.contains(&net.url("artifacts/initrd")),
        "{script}"
    );
    let config: Value =
        serde_json::from_slice(&curl(&net, &[&net.url(&format!("machine/{mac}/boot.json"))]).stdout).expect("JSON");
    assert_eq!(config.get("action").and_then(Value::as_str), Some("hold"), "{config}");
    assert_eq!(status(&net, &[&net.url("machine/02-00-00-00-00-99/boot.json")]), "404");
}

#[test]
fn bad_requests_get_an_answer_and_the_server_lives() {
    let (net, _server) = serving("image").expect("a boot server");
    for (wanted, arguments) in [
        ("404", vec!["/artifacts/../meadow-pxe.toml"]),
        ("404", vec!["/artifacts/none"]),
        ("404", vec!["/"]),
        ("405", vec!["/artifacts/vmlinuz", "-X", "DELETE"]),
    ] {
        let url = net.url("").trim_end_matches('/').to_owned() + arguments[0];
        assert_eq!(status(&net, &[&[url.as_str()], &arguments[1..]].concat()), wanted, "{arguments:?}");
    }
    let long = "x".repeat(20_000);
    let code = status(&net, &["-H", &format!("X-Long: {long}"), &net.url("artifacts/vmlinuz")]);
    assert!(code.starts_with('4'), "{code}");
    assert_eq!(status(&net, &[&net.url("artifacts/vmlinuz")]), "200");
}

/// A connection from this address of the client that has asked for something; to be called in its namespace.
fn ask(own: &str, server: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(own.parse()?, 0).into())?;
    socket.connect(&SocketAddr::new(server.parse()?, 7480).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"HEAD /artifacts/vmlinuz HTTP/1.1\r\nHost: meadow\r\n\r\n")?;
    Ok(stream)
}

fn answer(stream: &mut TcpStream) -> Result<String> {
    let mut part = [0; 1024];
    let length = stream.read(&mut part)?;
    Ok(String::from_utf8_lossy(&part[..length]).into_owned())
}

/// A rack that is switched on at once: a machine whose connection is refused does not boot.
#[test]
fn who_comes_when_all_places_are_taken_waits_for_one() {
    const PLACES: usize = 512;
    const OF_ONE: usize = 32;
    let (net, _server) = serving("image").expect("a boot server");
    let addresses: Vec<String> =
        (0..=PLACES / OF_ONE).map(|at| net.address(100 + u8::try_from(at).expect("few"))).collect();
    for address in &addresses {
        net.client().ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]).expect("an address");
    }
    let (client, server) = (net.client().clone(), net.server_address());
    let machines = thread::spawn(move || {
        client.enter()?;
        let own = |at: usize| addresses[at / OF_ONE].as_str();
        let mut kept: Vec<TcpStream> = (0..PLACES).map(|at| ask(own(at), &server)).collect::<Result<_>>()?;
        let answers: Result<Vec<String>> = kept.iter_mut().map(answer).collect();
        let mut last = ask(own(PLACES), &server)?;
        kept.pop();
        Ok::<_, anyhow::Error>((answers?, answer(&mut last)?))
    });
    let (answers, last) = machines.join().expect("no panic").expect("connections");
    assert!(answers.iter().chain([&last]).all(|answer| answer.starts_with("HTTP/1.1 200")), "{last}");
}

/// A LAN with an IPv6 router has global addresses too; the test gives them itself.
#[test]
fn files_and_scripts_are_served_over_ipv6_to_this_link_alone() {
    let (net, _server) = serving("image").expect("a boot server");
    let add = |namespace: &Namespace, address: &str| {
        namespace.ip(&["-6", "addr", "add", address, "dev", "eth0", "nodad"]).expect("an address");
    };
    add(net.server(), "2001:db8::2/64");
    add(net.client(), "2001:db8::3/64");
    let wanted = net.artifacts().read("vmlinuz").expect("an artifact");
    // New addresses are looked for every few seconds.
    let kernel = ["-sf", "-g", "http://[2001:db8::2]:7480/artifacts/vmlinuz"];
    let got = wait::until("the new address", PATIENCE, || {
        let got = net.on_client("curl", &kernel)?;
        Ok(got.status.success().then_some(got.stdout))
    });
    let got = got.expect("served");
    assert!(got == wanted, "{} bytes", got.len());
    let path = format!("ipxe/{}/boot.ipxe", net.client_mac().expect("a MAC"));
    let text = |url: &str| String::from_utf8(curl(&net, &["-g", url]).stdout).expect("text");
    let script = text(&format!("http://[2001:db8::2]:7480/{path}"));
    assert!(script.contains("kernel http://[2001:db8::2]:7480/artifacts/vmlinuz "), "{script}");
    // An address of the link alone says nothing to iPXE without its interface.
    let shown = net.server().command("ip").args(["-6", "-o", "addr", "show", "dev", "eth0", "scope", "link"]).output();
    let shown = String::from_utf8(shown.expect("ip").stdout).expect("text");
    let own = shown.split_whitespace().find(|word| word.starts_with("fe80")).expect("a link-local address");
    let own = own.split('/').next().expect("an address");
    let script = text(&format!("http://[{own}%eth0]:7480/{path}"));
    assert!(script.contains(&format!("kernel http://{}:7480/artifacts/vmlinuz ", net.server_address())), "{script}");

    // From behind a router it is as if nobody served.
    add(net.server(), "2001:db8:1::2/64");
    net.client().ip(&["-6", "route", "add", "2001:db8:1::/64", "dev", "eth0"]).expect("a route");
    let far = ["-s", "-g", "--max-time", "20", "http://[2001:db8:1::2]:7480/artifacts/vmlinuz"];
    // Refused before it is served there, and turned away after that.
    let served = || net.server().command("ss").args(["-Hltn", "src", "[2001:db8:1::2]:7480"]).output();
    wait::until("the new address", PATIENCE, || Ok((!served()?.stdout.is_empty()).then_some(()))).expect("served");
    let refused = net.on_client("curl", &far).expect("curl");
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
}
