//! What the command line changes in a cluster.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use anyhow::Result;
use meadow_tests_it::{Lab, Ran};

/// One lab for all of this, since starting one takes longer than asking it.
#[test]
fn changing_commands() -> Result<()> {
    let mut lab = Lab::start()?;
    only_the_code_of_the_console_approves(&lab)?;
    a_person_compares_and_says_yes(&lab)?;
    a_rejected_machine_needs_its_name_typed(&lab)?;
    an_armed_machine_is_named_by_its_mac(&lab)?;
    the_boot_policy_is_set_and_kept(&lab)?;
    a_token_goes_into_a_private_file(&lab)?;
    the_window_opens_and_closes(&lab)?;
    nobody_makes_a_recovery_key_that_nobody_sees(&lab)?;
    an_installation_warns_where_there_is_no_ssh_key(&lab)?;
    ssh_keys_are_added_and_removed(&lab)?;
    an_approval_waits_for_an_agent_that_went_away(&mut lab)?;
    let ran = lab.meadow(["node", "ls"])?;
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    assert!(ran.stderr.contains("127.0.0.1:7443") && ran.stderr.contains("meadowd"), "{}", ran.stderr);
    Ok(())
}

fn only_the_code_of_the_console_approves(lab: &Lab) -> Result<()> {
    let machine = lab.machine(1)?;
    let name = machine.name.as_str();
    let wrong = if machine.code == "0000-0000" { "0000-0001" } else { "0000-0000" };
    let refused = lab.meadow(["machine", "approve", name, "--code", wrong])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains(&machine.code), "{}", refused.stderr);
    let nobody = lab.meadow(["--no-input", "machine", "approve", name])?;
    assert_eq!(nobody.code, Some(2), "{}", nobody.stderr);
    assert!(nobody.stderr.contains(&machine.fingerprint), "the question shows what to compare: {}", nobody.stderr);
    assert!(nobody.stderr.contains("--code"), "{}", nobody.stderr);

    let code = machine.code.to_lowercase();
    let late = lab.meadow(["machine", "approve", name, "--code", &code, "--node", "node-1", "--timeout", "1s"])?;
    assert_eq!(late.code, Some(6), "this machine never joins: {}", late.stderr);
    let operation = lab.meadow(["operation", "ls", "-o", "jsonpath={.items[*].metadata.name}"])?.ok()?.stdout;
    assert!(late.stderr.contains(operation.trim()), "{}", late.stderr);
    let node = lab.meadow(["node", "show", "node-1", "-o", "json"])?.ok()?.json()?;
    assert_eq!(node["status"]["state"], "NotReady");
    assert_eq!(lab.meadow(["status"])?.code, Some(8), "a node that is not ready is unhealthy");

    let again =
        lab.meadow(["machine", "approve", name, "--yes", "--node", "node-1", "--no-wait", "-o", "name"])?.ok()?;
    assert_eq!(again.stdout.trim(), format!("operation/{}", operation.trim()));
    let wrong_name = lab.meadow_typing("node-2\n", ["node", "remove", "node-1"])?;
    assert_eq!(wrong_name.code, Some(2), "{}", wrong_name.stderr);
    assert!(wrong_name.stderr.contains("nothing was done"), "{}", wrong_name.stderr);
    assert_eq!(lab.meadow(["node", "show", "node-1"])?.code, Some(0));
    lab.meadow_typing("node-1\n", ["node", "remove", "node-1"])?.ok()?;
    assert_eq!(lab.meadow(["node", "show", "node-1"])?.code, Some(3));
    Ok(())
}

fn a_person_compares_and_says_yes(lab: &Lab) -> Result<()> {
    let machine = lab.machine(3)?;
    let name = machine.name.as_str();
    let no = lab.meadow_typing("\n", ["machine", "approve", name])?;
    assert_eq!(no.code, Some(1), "Enter is no: {}", no.stderr);
    assert!(no.stderr.contains(&machine.code) && no.stderr.contains(&machine.fingerprint), "{}", no.stderr);
    let yes = lab.meadow_typing("y\n", ["machine", "approve", name, "--no-wait", "-o", "name"])?.ok()?;
    assert!(yes.stdout.starts_with("operation/"), "{}", yes.stdout);
    Ok(())
}

/// Leaves the agent killed.
fn an_approval_waits_for_an_agent_that_went_away(lab: &mut Lab) -> Result<()> {
    let machine = lab.machine(4)?;
    let mut command = lab.command()?;
    command.args(["machine", "approve", machine.name.as_str(), "--yes", "--node", "node-4", "--timeout", "10s"]);
    let mut waiting = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(waiting.stderr.take().expect("a pipe"));
    let mut told = String::new();
    while !told.contains("Waiting") {
        assert_ne!(stderr.read_line(&mut told)?, 0, "it ended: {told}");
    }
    lab.kill_agent()?;
    stderr.read_to_string(&mut told)?;
    assert_eq!(waiting.wait()?.code(), Some(6), "it goes on asking until its time is over: {told}");
    assert_eq!(told.matches("Trying again").count(), 1, "said once: {told}");
    Ok(())
}

fn a_rejected_machine_needs_its_name_typed(lab: &Lab) -> Result<()> {
    let machine = lab.machine(2)?;
    let name = machine.name.as_str();
    let bare = lab.meadow(["machine", "reject", name])?;
    assert_eq!(bare.code, Some(2), "{}", bare.stderr);
    assert!(bare.stderr.contains("--accept-risk=reject-machine"), "{}", bare.stderr);
    lab.meadow(["machine", "reject", name, "--yes", "--accept-risk=reject-machine"])?.ok()?;
    let shown = lab.meadow(["machine", "show", name, "-o", "json"])?.ok()?.json()?;
    assert_eq!(shown["spec"]["decision"]["state"], "rejected");
    assert_eq!(shown["spec"]["decision"]["by"], "user ann");
    Ok(())
}

fn an_armed_machine_is_named_by_its_mac(lab: &Lab) -> Result<()> {
    let armed =
        lab.meadow(["machine", "arm", "52:54:00:00:01:01", "--node", "node-7", "--for", "10m", "-o", "json"])?;
    let armed = armed.ok()?.json()?;
    assert_eq!(
        (armed["spec"]["boot"].as_str(), armed["spec"]["armed"]["node"].as_str()),
        (Some("image"), Some("node-7"))
    );
    let slip = lab.meadow(["machine", "arm", "m-525400000102"])?;
    assert_eq!(slip.code, Some(3), "{}", slip.stderr);
    assert!(slip.stderr.contains("did you mean m-525400000101?"), "{}", slip.stderr);
    Ok(())
}

fn the_boot_policy_is_set_and_kept(lab: &Lab) -> Result<()> {
    let mac = "52:54:00:00:01:02";
    let policy = || lab.meadow(["machine", "show", mac, "-o", "jsonpath={.spec.boot}"])?.ok().map(|ran| ran.stdout);
    lab.meadow(["machine", "boot", mac, "hold"])?.ok()?;
    assert_eq!(policy()?, "hold\n");
    lab.meadow(["machine", "boot", mac, "--plain-pxe", "true"])?.ok()?;
    assert_eq!(policy()?, "hold\n", "what was not named stays");
    lab.meadow(["machine", "boot", mac, "local-disk"])?.ok()?;
    let plain = lab.meadow(["machine", "show", mac, "-o", "jsonpath={.spec.plain_pxe}"])?.ok()?.stdout;
    assert_eq!((policy()?.as_str(), plain.as_str()), ("local-disk\n", "true\n"));
    Ok(())
}

fn a_token_goes_into_a_private_file(lab: &Lab) -> Result<()> {
    let path = lab.folder().join("token");
    let file = path.to_string_lossy();
    let made = lab.meadow(["token", "create", "--uses", "2", "--out", &file, "-o", "name"])?.ok()?;
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path)?;
    assert!(!made.stdout.contains(text.trim()) && !made.stderr.contains(text.trim()), "the text is in the file alone");
    let id = made.stdout.trim().strip_prefix("token/").expect("a token").to_owned();
    let shown = lab.meadow(["token", "show", &id, "-o", "json"])?.ok()?;
    assert!(!shown.stdout.contains(text.trim()), "the text is shown only once");
    assert_eq!(shown.json()?["spec"]["uses"], 2);
    assert_eq!(lab.meadow(["token", "revoke", &id])?.code, Some(2));
    lab.meadow(["token", "revoke", &id, "--yes", "--accept-risk=revoke-token"])?.ok()?;
    assert!(lab.meadow(["token", "ls"])?.ok()?.stdout.contains("Revoked"));
    let too_long = lab.meadow(["token", "create", "--for", "365d"])?;
    assert_eq!(too_long.code, Some(2), "{}", too_long.stderr);
    let log = fs::read_to_string(lab.folder().join("meadowd.log"))?;
    assert!(!log.contains(text.trim()), "a token must not be in a log");
    Ok(())
}

fn the_window_opens_and_closes(lab: &Lab) -> Result<()> {
    let open = lab.meadow(["pxe", "open", "--for", "30m", "-o", "json"])?.ok()?.json()?;
    assert!(open["open_until"].is_string(), "{open}");
    let shown = lab.meadow(["pxe", "status"])?.ok()?.stdout;
    assert!(shown.contains("open, 30m left"), "{shown}");
    let closed = lab.meadow(["pxe", "close", "-o", "json"])?.ok()?.json()?;
    assert!(closed["open_until"].is_null(), "{closed}");
    Ok(())
}

const ANN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ ann@home";
const ANN_FINGERPRINT: &str = "SHA256:t0eSc54W1y2T/Wizgu9if4zQ19g1NVSvGb3wGk2bAlQ";
const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA bob@home";

/// Runs `meadow cluster ssh-keys` with nobody to ask.
fn ssh_keys(lab: &Lab, arguments: &[&str]) -> Result<Ran> {
    lab.meadow([&["--no-input", "cluster", "ssh-keys"], arguments].concat())
}

fn an_installation_warns_where_there_is_no_ssh_key(lab: &Lab) -> Result<()> {
    let machine = lab.machine(5)?;
    let install = || lab.meadow(["--no-input", "machine", "approve", machine.name.as_str(), "--install", "disk-5"]);
    let warning = "WARNING: the cluster has no admin's SSH key";
    let warned = install()?;
    assert_eq!(warned.code, Some(2), "nobody consents: {}", warned.stderr);
    assert!(warned.stderr.contains(warning) && warned.stderr.contains("ssh-keys add FILE"), "{}", warned.stderr);
    let file = lab.folder().join("ann.pub");
    fs::write(&file, ANN)?;
    ssh_keys(lab, &["add", &file.to_string_lossy()])?.ok()?;
    let silent = install()?;
    assert!(silent.code == Some(2) && !silent.stderr.contains(warning), "{}", silent.stderr);
    Ok(())
}

/// One is there already.
fn ssh_keys_are_added_and_removed(lab: &Lab) -> Result<()> {
    let file = lab.folder().join("keys");
    let add = |text: &str| {
        fs::write(&file, text)?;
        ssh_keys(lab, &["add", &file.to_string_lossy()])
    };
    let twice = add(&format!("{BOB}\n{}\n", ANN.replace("ann@home", "somebody")))?;
    assert!(twice.code == Some(4) && twice.stderr.contains(ANN_FINGERPRINT), "{}", twice.stderr);
    let secret = "b3BlbnNzaC1rZXktdjE";
    let private = add(&format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n-----END OPENSSH PRIVATE KEY-----\n"))?;
    assert!(private.code == Some(2) && private.stderr.contains("this is a private key"), "{}", private.stderr);
    assert!(!private.stderr.contains(secret), "{}", private.stderr);
    for (text, said) in
        [("\n# nothing\n", "no public key in it"), ("\nssh-dss AAAA x\n", "line 2: this is no public key")]
    {
        let refused = add(text)?;
        assert!(refused.code == Some(2) && refused.stderr.contains(said), "{}", refused.stderr);
    }
    let added = add(&format!("# bob's\n{BOB}\n"))?.ok()?;
    assert!(added.stdout.is_empty() && added.stderr.starts_with("+ SHA256:"), "{added:?}");
    let listed = ssh_keys(lab, &["ls", "-o", "json"])?.ok()?.json()?;
    assert_eq!(
        (&listed["items"][0]["fingerprint"], &listed["items"][1]["comment"]),
        (&ANN_FINGERPRINT.into(), &"bob@home".into())
    );

    let nobody = ssh_keys(lab, &["remove", "bob@hom"])?;
    assert!(nobody.code == Some(3) && nobody.stderr.contains("did you mean bob@home?"), "{}", nobody.stderr);
    let removed = ssh_keys(lab, &["remove", ANN_FINGERPRINT])?.ok()?;
    assert!(removed.stderr.starts_with(&format!("- {ANN_FINGERPRINT} ann@home")), "{}", removed.stderr);
    let last = ssh_keys(lab, &["remove", "bob@home"])?;
    assert!(last.code == Some(2) && last.stderr.contains("--accept-risk=last-ssh-key"), "{}", last.stderr);
    let consent = ["remove", "bob@home", "--yes", "--accept-risk=last-ssh-key", "-o", "name"];
    assert_eq!(ssh_keys(lab, &consent)?.ok()?.stdout, "");
    let none = ssh_keys(lab, &["ls"])?.ok()?;
    assert!(none.stderr.contains("There is none"), "{}", none.stderr);
    let log = fs::read_to_string(lab.folder().join("meadowd.log"))?;
    assert!(!log.contains(secret), "a private key must not be in a log");
    Ok(())
}

fn nobody_makes_a_recovery_key_that_nobody_sees(lab: &Lab) -> Result<()> {
    let command =
        |option: &str| lab.meadow(["node", "keys", "recovery", "seed", "--passphrase-file", "/dev/null", option]);
    for (option, said) in [("--no-wait", "leave --no-wait out"), ("--timeout=1m", "--yes removes the older ones")] {
        let ran = command(option)?;
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(said) && ran.stderr.contains("nothing was done"), "{}", ran.stderr);
    }
    let ran = command("--yes")?;
    assert!(ran.code == Some(2) && ran.stderr.contains("an empty passphrase"), "{}", ran.stderr);
    Ok(())
}
