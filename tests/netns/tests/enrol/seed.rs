//! Making and serving a cluster: a taken port, a state in use, `init` again.

use std::fs;

use meadow_rack::paths;
use meadow_tests_netns::Site;

use crate::support::{text, token};

#[test]
fn a_taken_port_or_state_is_named_and_init_again_renews_the_admin() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.initialised().expect("a cluster");
    let socat = ["-u", "TCP6-LISTEN:7443,fork", "OPEN:/dev/null"];
    let (holder, _) = seed.start(&mut site, "socat", &socat).expect("socat");
    seed.until("socat", |seed| {
        let sockets = seed.run("ss", &["-Hltn", "sport = :7443"])?;
        Ok((!sockets.stdout.is_empty()).then_some(()))
    })
    .expect("the port is taken");
    seed.start_agent(&mut site).expect("started");
    let log = seed.wait_for_end().expect("it cannot serve");
    assert!(log.contains("7443") && log.contains("is another meadowd running"), "{log}");
    drop(holder);

    seed.start_agent(&mut site).expect("started");
    seed.wait_for_node("seed").expect("ready");
    // A second agent of the same state, and the first one goes on.
    let (program, root) = (paths::programs().join("meadowd"), seed.root());
    let arguments = ["--root", &root.to_string_lossy()];
    let (mut second, log) = seed.start(&mut site, &program.to_string_lossy(), &arguments).expect("started");
    seed.until("the end of the second agent", |_| Ok(second.exited()?.map(drop))).expect("it cannot serve");
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("in use by another process") && log.contains("stop the other meadowd"), "{log}");
    let (name, _) = token(&seed, "token", &[]);

    let context = seed.file("config/meadow/contexts/home.toml");
    let before = fs::read_to_string(&context).expect("a context");
    fs::remove_file(&context).expect("lost");
    seed.meadow(&["status"]).expect("run").success().expect_err("there is no context");
    let preseed = seed.file("preseed.toml").to_string_lossy().into_owned();
    let again = seed.meadow(&["--no-input", "init", "--file", &preseed]).expect("run").success().expect("renewed");
    assert!(again.stderr.contains("is there already") && again.stderr.contains("made anew"), "{again:?}");
    assert_ne!(fs::read_to_string(&context).expect("a context"), before, "the lost key is good again");
    assert_eq!(text(&seed.json(&["token", "show", &name]).expect("a token"), "/metadata/name"), name);

    let answers = fs::read_to_string(&preseed).expect("answers").replace("\"home\"", "\"office\"");
    fs::write(&preseed, answers).expect("written");
    let office = seed.meadow(&["--no-input", "init", "--file", &preseed]).expect("run");
    office.assert_refused(1, &["already holds the cluster \"home\"", "move the folder away"]);
}
