//! What the command line does without a cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use meadow_rack::run_dir::RunDir;
use meadow_tests_it::{compare, meadow_alone, meadow_alone_typing};

/// Every command that has a help page of its own.
const COMMANDS: &[&str] = &[
    "",
    "init",
    "join",
    "status",
    "cluster",
    "cluster ssh-keys",
    "cluster ssh-keys ls",
    "cluster ssh-keys add",
    "cluster ssh-keys remove",
    "machine",
    "machine ls",
    "machine show",
    "machine approve",
    "machine reject",
    "machine arm",
    "machine boot",
    "node",
    "node ls",
    "node show",
    "node remove",
    "node reset",
    "node reinstall",
    "node update",
    "token",
    "token create",
    "token ls",
    "token show",
    "token revoke",
    "pxe",
    "pxe status",
    "pxe events",
    "pxe leases",
    "pxe open",
    "pxe close",
    "image",
    "image flash",
    "image seed",
    "support",
    "support bundle",
    "operation",
    "operation ls",
    "operation show",
    "event",
    "event ls",
    "get",
    "explain",
    "completion",
    "man",
];

fn home() -> Result<RunDir> {
    let mut run = RunDir::create()?;
    run.keep_logs(false);
    Ok(run)
}

#[test]
fn a_support_bundle_is_made_where_no_agent_runs() -> Result<()> {
    let home = home()?;
    let file = home.file("bundle.tar.gz");
    let path = file.display().to_string();
    let nowhere = meadow_alone(home.path(), ["support", "bundle"])?;
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.stderr);
    let socket = home.file("no-agent").display().to_string();
    let made = meadow_alone(home.path(), ["--socket", &socket, "support", "bundle", "--to", &path])?.ok()?;
    assert_eq!(made.stdout.trim(), path);
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let listed = std::process::Command::new("tar").arg("-tzf").arg(&file).output()?;
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in
        ["journal/meadowd.txt", "journal/kernel.txt", "disks/lsblk.json", "network/addresses.json", "state/files.txt"]
    {
        assert!(names.contains(name), "{name} is missing: {names}");
    }
    let again = meadow_alone(home.path(), ["--socket", &socket, "support", "bundle", "--to", &path])?;
    assert!(again.code == Some(1) && again.stderr.contains("not there yet"), "{}", again.stderr);
    Ok(())
}

#[test]
fn help_is_what_was_agreed() -> Result<()> {
    let home = home()?;
    let mut text = String::new();
    for command in COMMANDS {
        let words = command.split_whitespace().chain(["-h"]);
        let ran = meadow_alone(home.path(), words)?.ok()?;
        text.push_str(&format!("$ meadow {command} -h\n{}\n", ran.stdout));
    }
    compare("help.txt", &text);
    Ok(())
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_was_meant() -> Result<()> {
    let home = home()?;
    let cases: [(&[&str], &str); 7] = [
        (&["machin", "ls"], "machine"),
        (&["machine", "aprove", "x"], "approve"),
        (&["node", "ls", "--output", "xml"], "jsonpath"),
        (&["node", "ls", "-o", "jsonpath=items"], "[*]"),
        (&["pxe", "open", "--for", "soon"], "10m"),
        (&["node", "remove", "a", "--yes"], "--accept-risk"),
        (&["join", "host"], "--token-file"),
    ];
    for (arguments, hint) in cases {
        let ran = meadow_alone(home.path(), arguments.iter().copied())?;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(hint) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    Ok(())
}

#[test]
fn without_a_context_it_says_how_to_get_one() -> Result<()> {
    let home = home()?;
    let none = meadow_alone(home.path(), ["status"])?;
    assert_eq!(none.code, Some(1), "{}", none.stderr);
    assert!(none.stderr.contains("meadow init"), "{}", none.stderr);
    let contexts = home.file(".config/meadow/contexts");
    fs::create_dir_all(&contexts)?;
    for name in ["home", "office"] {
        fs::write(contexts.join(format!("{name}.toml")), "")?;
    }
    let several = meadow_alone(home.path(), ["status"])?;
    assert!(several.stderr.contains("home, office") && several.stderr.contains("--context"), "{}", several.stderr);
    let slip = meadow_alone(home.path(), ["--context", "ofice", "status"])?;
    assert!(slip.stderr.contains("did you mean office?"), "{}", slip.stderr);
    fs::set_permissions(contexts.join("home.toml"), fs::Permissions::from_mode(0o644))?;
    let exposed = meadow_alone(home.path(), ["--context", "home", "status"])?;
    assert!(exposed.stderr.contains("chmod 600"), "{}", exposed.stderr);
    Ok(())
}

#[test]
fn an_agent_that_does_not_run_is_unreachable() -> Result<()> {
    let home = home()?;
    let socket = home.file("api.sock");
    let ran = meadow_alone(home.path(), ["--socket", &socket.to_string_lossy(), "status"])?;
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    assert!(ran.stderr.contains("meadowd"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn every_code_is_explained_and_a_slip_is_told() -> Result<()> {
    let home = home()?;
    let all = meadow_alone(home.path(), ["explain", "-o", "json"])?.ok()?.json()?;
    for item in all["items"].as_array().expect("items") {
        let code = item["code"].as_str().expect("a code");
        let one = meadow_alone(home.path(), ["explain", code])?.ok()?;
        assert!(one.stdout.contains(item["hint"].as_str().expect("a hint")), "{}", one.stdout);
    }
    let slip = meadow_alone(home.path(), ["explain", "token-expird"])?;
    assert_eq!(slip.code, Some(3));
    assert!(slip.stderr.contains("did you mean token-expired?"), "{}", slip.stderr);
    Ok(())
}

#[test]
fn completions_and_manual_pages_are_made() -> Result<()> {
    let home = home()?;
    for shell in ["bash", "zsh", "fish"] {
        let ran = meadow_alone(home.path(), ["completion", shell])?.ok()?;
        assert!(ran.stdout.contains("approve"), "{shell}");
    }
    let folder = home.file("man");
    meadow_alone(home.path(), ["man", "--dir", &folder.to_string_lossy()])?.ok()?;
    for page in ["meadow.1", "meadow-machine-approve.1"] {
        let text = fs::read_to_string(folder.join(page))?;
        assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}: {text}");
    }
    Ok(())
}

#[test]
fn init_from_a_file_makes_a_private_context_and_again_the_same_cluster() -> Result<()> {
    let home = home()?;
    let folder = home.path().display().to_string();
    let answers = home.file("answers.toml");
    fs::write(
        &answers,
        format!(
            "cluster = \"lab\"\nnode = \"seed\"\nadmin = \"ann\"\napi_addresses = [\"192.0.2.2:7443\"]\nroot = \"{folder}/root\"\ncontext_dir = \"{folder}/contexts\"\n"
        ),
    )?;
    let init = || meadow_alone(home.path(), ["init", "--file", &answers.to_string_lossy()]);
    let first = init()?.ok()?;
    assert!(first.stdout.is_empty() && first.stderr.contains("systemctl enable --now meadowd"), "{}", first.stderr);
    let context = home.file("contexts/lab.toml");
    assert_eq!(fs::metadata(&context)?.permissions().mode() & 0o777, 0o600);
    let fingerprint = |text: &str| text.split_whitespace().find(|w| w.starts_with("SHA256:")).map(ToOwned::to_owned);
    let again = init()?.ok()?;
    assert_eq!(fingerprint(&first.stderr), fingerprint(&again.stderr));
    for bad in ["cluser = \"x\"\n", "cluster = \"Not A Name\"\n", "cluster = \n"] {
        fs::write(&answers, bad)?;
        let ran = init()?;
        assert_eq!(ran.code, Some(2), "{bad}: {}", ran.stderr);
        assert!(ran.stderr.contains("answers.toml") && ran.stderr.contains("--dump"), "{}", ran.stderr);
    }
    let nobody = meadow_alone(home.path(), ["init", "--no-input"])?;
    assert_eq!(nobody.code, Some(2), "{}", nobody.stderr);
    Ok(())
}

#[test]
fn init_without_an_ssh_key_warns_and_a_private_key_makes_no_cluster() -> Result<()> {
    let home = home()?;
    let folder = home.path().display().to_string();
    let answers = home.file("answers.toml");
    let init = |root: &str, more: &str| {
        let text = format!(
            "cluster = \"lab\"\nnode = \"seed\"\nadmin = \"ann\"\napi_addresses = [\"192.0.2.2:7443\"]\nroot = \"{folder}/{root}\"\ncontext_dir = \"{folder}/{root}-contexts\"\n{more}"
        );
        fs::write(&answers, text)?;
        meadow_alone(home.path(), ["init", "--file", &answers.to_string_lossy()])
    };
    let warning = "WARNING: no admin's SSH key was given";
    let without = init("without", "")?.ok()?.stderr;
    assert!(without.contains(warning) && without.contains("meadow cluster ssh-keys add FILE"), "{without}");
    let again = init("without", "")?.ok()?.stderr;
    assert!(!again.contains(warning), "the cluster that is there may have keys by now: {again}");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home";
    let with = init("with", &format!("authorized_keys = [\"{key}\"]\n"))?.ok()?.stderr;
    assert!(!with.contains(warning), "{with}");
    let private = "authorized_keys = [\"-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjE\"]\n";
    let refused = init("refused", private)?;
    assert!(refused.code == Some(1) && refused.stderr.contains("this is a private key"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("b3Blbn") && !home.file("refused").exists(), "{}", refused.stderr);
    Ok(())
}

#[test]
fn answers_that_are_typed_are_the_file_that_is_dumped() -> Result<()> {
    let home = home()?;
    let ssh = home.file(".ssh");
    fs::create_dir(&ssh)?;
    fs::write(
        ssh.join("id_ed25519.pub"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home\n",
    )?;
    // Cluster (wrong first), node, admin, interface, addresses, listen, keys as proposed.
    let lines = "Not A Name\nlab\nseed\nann\nnone\n192.0.2.2\n\n\n";
    let typed = meadow_alone_typing(home.path(), lines, ["init", "--dump"])?.ok()?;
    assert!(typed.stderr.contains("is not a name"), "{}", typed.stderr);
    for line in ["cluster = \"lab\"", "api_addresses = [\"192.0.2.2:7443\"]", "ann@home"] {
        assert!(typed.stdout.contains(line), "{line} is not in:\n{}", typed.stdout);
    }
    assert!(!typed.stdout.contains("pxe_interface"), "{}", typed.stdout);
    let file = home.file("answers.toml");
    fs::write(&file, &typed.stdout)?;
    let dumped = meadow_alone(home.path(), ["init", "--dump", "--file", &file.to_string_lossy()])?.ok()?;
    assert_eq!(dumped.stdout, typed.stdout);
    let both = ["--pxe-interface", "eth0", "--pxe-interface", "lan0.20"];
    let named =
        meadow_alone(home.path(), [&["init", "--dump", "--file", &file.to_string_lossy()][..], &both].concat())?;
    let named = named.ok()?.stdout;
    assert!(named.contains("pxe_interfaces = [\"eth0\", \"lan0.20\"]"), "{named}");
    assert!(!home.file("root").exists(), "a dump makes nothing");
    Ok(())
}

#[test]
fn a_token_is_refused_before_anything_is_asked_where_it_is_none() -> Result<()> {
    let home = home()?;
    let (token, root) = (home.file("token"), home.file("root"));
    fs::write(&token, "meadow-join-nonsense\n")?;
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
    let (token, root) = (token.to_string_lossy().into_owned(), root.to_string_lossy().into_owned());
    let ran = meadow_alone(home.path(), ["join", "192.0.2.2", "--token-file", &token, "--root", &root, "--no-wait"])?;
    assert_ne!(ran.code, Some(0));
    assert!(!ran.stderr.contains("nonsense"), "a token must not be repeated: {}", ran.stderr);
    Ok(())
}
