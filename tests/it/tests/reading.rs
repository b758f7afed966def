//! What the command line shows of a cluster.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use anyhow::Result;
use meadow_tests_it::{Lab, compare, normalised};
use serde_json::Value;

/// Every reading command with an argument that exists in the lab.
fn reading(machine: &str) -> Vec<Vec<&str>> {
    let commands = [
        "status",
        "cluster ssh-keys ls",
        "machine ls",
        "node ls",
        "node show seed",
        "token ls",
        "pxe status",
        "pxe events",
        "operation ls",
        "event ls",
        "get cluster",
        "get machine",
        "get node",
        "get node seed",
        "get token",
        "get operation",
        "get event",
        "explain",
        "explain not-found",
    ];
    let mut all: Vec<Vec<&str>> = commands.iter().map(|command| command.split_whitespace().collect()).collect();
    all.extend([vec!["machine", "show", machine], vec!["get", "machine", machine]]);
    all
}

/// One lab for all of this, since starting one takes longer than asking it.
#[test]
fn reading_commands() -> Result<()> {
    let lab = Lab::start()?;
    let machine = lab.machine(1)?;
    let key = lab.folder().join("ann.pub");
    fs::write(&key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home\n")?;
    lab.meadow(["cluster", "ssh-keys", "add", &key.to_string_lossy()])?.ok()?;
    every_command_has_every_form(&lab, machine.name.as_str())?;
    tables_are_what_was_agreed(&lab)?;
    a_machine_is_shown_as_its_console_shows_it(&lab, &machine)?;
    errors_have_their_exit_codes(&lab)?;
    a_closed_pipe_is_success(&lab)?;
    the_socket_is_root(&lab)?;
    strangers_get_nothing(&lab)
}

fn every_command_has_every_form(lab: &Lab, machine: &str) -> Result<()> {
    for command in reading(machine) {
        let run = |form: &str| lab.meadow(command.iter().copied().chain(["-o", form]))?.ok();
        let json = run("json")?.json()?;
        assert_eq!(json["version"], 1, "{command:?} has no version");
        let yaml = run("yaml")?.stdout;
        assert!(yaml.contains("version: 1"), "{command:?}: {yaml}");
        for line in run("name")?.stdout.lines() {
            assert!(line.contains('/') || line == "pxe", "{command:?}: {line}");
        }
        let csv = run("csv")?.stdout;
        assert!(csv.ends_with("\r\n"), "{command:?}: {csv}");
        assert_eq!(run("jsonpath={.version}")?.stdout, "1\n", "{command:?}");
        for form in ["table", "wide"] {
            let text = run(form)?;
            assert!(!text.stdout.contains('\u{1b}'), "{command:?} -o {form} wrote an escape to a pipe");
        }
    }
    Ok(())
}

fn tables_are_what_was_agreed(lab: &Lab) -> Result<()> {
    let mut text = String::new();
    let commands = [
        "node ls",
        "machine ls",
        "token ls",
        "operation ls",
        "event ls",
        "pxe status",
        "status",
        "cluster ssh-keys ls",
    ];
    for command in commands {
        let ran = lab.meadow(command.split_whitespace())?.ok()?;
        text.push_str(&format!("$ meadow {command}\n{}\n", normalised(&ran.stdout)));
    }
    // The hardware is that of whoever runs the test.
    let text = text.lines().map(without_hardware).collect::<Vec<_>>().join("\n");
    compare("tables.txt", &text);
    Ok(())
}

fn without_hardware(line: &str) -> String {
    match (line.find("voter AGE "), line.rfind(" -")) {
        (Some(start), Some(end)) => format!("{}voter AGE HARDWARE{}", &line[..start], &line[end..]),
        _ => line.to_owned(),
    }
}

fn a_machine_is_shown_as_its_console_shows_it(lab: &Lab, machine: &meadow_tests_it::EnrollingMachine) -> Result<()> {
    for reference in [machine.name.to_string(), machine.mac.to_string()] {
        let shown = lab.meadow(["machine", "show", &reference])?.ok()?.stdout;
        assert!(shown.contains(&machine.code) && shown.contains(&machine.fingerprint), "{shown}");
        assert!(shown.contains("Board\u{fffd}[2J"), "{shown}");
    }
    Ok(())
}

fn errors_have_their_exit_codes(lab: &Lab) -> Result<()> {
    let cases: [(&[&str], i32, &str); 7] = [
        (&["node", "show", "sed"], 3, "did you mean seed?"),
        (&["machine", "show", "52:54:00:ff:ff:ff"], 3, "pxe events"),
        (&["node", "ls", "--filter", "colour=red"], 2, "colour"),
        (&["node", "ls", "--sort", "colour"], 2, "colour"),
        (&["get", "cluster", "lab"], 2, "one cluster"),
        (&["node", "remove", "seed", "--yes", "--accept-risk=remove-node"], 4, "voter"),
        (&["node", "remove", "seed", "--yes", "--accept-risk=wipe"], 2, "remove-node"),
    ];
    for (arguments, code, hint) in cases {
        let ran = lab.meadow(arguments.iter().copied())?;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(hint) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    Ok(())
}

fn a_closed_pipe_is_success(lab: &Lab) -> Result<()> {
    let mut command = lab.command()?;
    let mut child = command.args(["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Reads a little and goes away, as head(1) does.
    let mut little = [0; 16];
    child.stdout.take().expect("a pipe").read_exact(&mut little)?;
    let mut told = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut told)?;
    assert!(child.wait()?.success() && told.is_empty(), "{told}");
    Ok(())
}

fn the_socket_is_root(lab: &Lab) -> Result<()> {
    let socket = lab.socket().to_string_lossy().into_owned();
    let mut command = lab.command()?;
    command.env_remove("MEADOW_CONTEXT").args(["--socket", &socket, "node", "ls", "-o", "name"]);
    let output = command.output()?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "node/seed\n", "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A context whose certificate is of another cluster's CA, or whose CA is another one.
fn strangers_get_nothing(lab: &Lab) -> Result<()> {
    let text = std::fs::read_to_string(lab.context())?;
    let mut context: toml::Table = text.parse()?;
    let other = format!("SHA256:{}", "A".repeat(43));
    context.insert("ca_fingerprint".to_owned(), toml::Value::String(other));
    let path = lab.folder().join("stranger.toml");
    std::fs::copy(lab.context(), &path)?;
    std::fs::write(&path, context.to_string())?;
    let ran = lab.meadow(["--context", &path.to_string_lossy(), "status"])?;
    assert_eq!(ran.code, Some(7), "a server of another cluster must not be talked to: {}", ran.stderr);

    let identity = meadow_pki::Identity::generate()?;
    let mut context: toml::Table = text.parse()?;
    context.insert("certificate_pem".to_owned(), toml::Value::String(identity.chain_pem().to_owned()));
    context.insert("key_pem".to_owned(), toml::Value::String(identity.key_pem().expose().clone()));
    std::fs::write(&path, context.to_string())?;
    let ran = lab.meadow(["--context", &path.to_string_lossy(), "node", "ls", "-o", "json"])?;
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("[unauthenticated"), "{}", ran.stderr);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).ok(), None);
    Ok(())
}
