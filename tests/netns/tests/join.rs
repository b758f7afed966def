//! `meadow join` on an ordinary host, by token, and the mesh between two hosts.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use anyhow::{Context, Result};
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::progress::Progress;
use meadow_rack::seed::{self, SeedConfig};
use meadow_rack::{RackConfig, Site, paths, wait};
use meadow_tests_netns::{Artifacts, PATIENCE};
use tempfile::TempDir;

/// A computer that wants to be a node.
struct Computer {
    namespace: Namespace,
    root: PathBuf,
    _agent: Program,
}

impl Computer {
    /// An ordinary host on the LAN with a running agent that belongs to no cluster.
    fn install(site: &mut Site, role: &str, number: u8) -> Result<Self> {
        let (root, hosts) = (site.rack().run().file(role), site.rack().run().file(format!("{role}.hosts")));
        fs::create_dir(&root)?;
        fs::write(&hosts, "127.0.0.1 localhost\n")?;
        let namespace = site.rack_mut().computer_at(role, number)?;
        let (run, _) = site.rack_mut().parts();
        namespace.set_hosts_file(run, &hosts)?;
        let mut command = namespace.command(paths::programs().join("meadowd"));
        command.arg("--root").arg(&root);
        let log = run.file(format!("{role}.log"));
        let agent = namespace.start(run, command, &log)?;
        Ok(Self { namespace, root, _agent: agent })
    }

    fn join(&self, host: &str, token_file: &std::path::Path) -> Result<Output> {
        let mut command = self.namespace.command(paths::programs().join("meadow"));
        command.args(["join", host, "--token-file"]).arg(token_file).arg("--root").arg(&self.root);
        command.output().context("cannot run meadow")
    }

    fn pings(&self, name: &str) -> bool {
        let mut command = self.namespace.command("ping");
        command.args(["-6", "-n", "-c", "1", "-W", "2", name]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("ping runs").success()
    }
}

/// A site without machines, and the folder of its image.
fn site() -> Result<(Site, TempDir)> {
    let image = tempfile::tempdir()?;
    let artifacts = Artifacts::write(image.path())?;
    let config = SeedConfig { image: artifacts.folder().to_owned(), authorized_keys: Vec::new() };
    Ok((Site::build(&RackConfig::cycled(0, &[]), &config, &mut Progress::default())?, image))
}

fn token(site: &Site, name: &str, arguments: &[&str]) -> PathBuf {
    let file = site.rack().run().file(name);
    let path = file.to_string_lossy().into_owned();
    site.cluster().run(&[&["token", "create", "--out", &path], arguments].concat()).expect("a token");
    file
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_host_joins_by_token_and_both_reach_each_other_by_name() {
    let (mut site, _image) = site().expect("a site");
    let seed_address = site.rack().lan().subnet().host(2).to_string();
    let computer = Computer::install(&mut site, "joiner", 3).expect("a computer");
    let file = token(&site, "token", &[]);
    let joined = computer.join(&seed_address, &file).expect("meadow runs");
    assert!(joined.status.success(), "{}", said(&joined));

    let other = wait::until("a second ready node", PATIENCE, || {
        Ok(site.cluster().nodes()?.into_iter().find(|node| node.name != seed::NAME && node.is_ready()))
    })
    .expect("the joined host is ready");
    wait::until("the names", PATIENCE, || {
        Ok((site.seed().pings(&other.name)? && computer.pings(seed::NAME)).then_some(()))
    })
    .expect("pings by name");

    let second = Computer::install(&mut site, "second", 4).expect("a computer");
    let refused = second.join(&seed_address, &file).expect("meadow runs");
    assert_eq!(refused.status.code(), Some(5), "a used token is refused: {}", said(&refused));
    assert!(said(&refused).contains("token"), "{}", said(&refused));

    // Removing the node takes it out of the mesh.
    site.cluster().run(&["node", "remove", &other.name, "--yes", "--accept-risk=remove-node"]).expect("removed");
    wait::until("the end of the mesh", PATIENCE, || Ok((!computer.pings(seed::NAME)).then_some(()))).expect("no ping");
}

#[test]
fn a_wrong_token_is_refused_and_the_host_can_try_again() {
    let (mut site, _image) = site().expect("a site");
    let seed_address = site.rack().lan().subnet().host(2).to_string();
    let computer = Computer::install(&mut site, "joiner", 3).expect("a computer");
    let (right, wrong) = (token(&site, "right", &[]), token(&site, "wrong", &[]));
    let listed = site.cluster().run(&["token", "ls", "-o", "name"]).expect("a list");
    let text = fs::read_to_string(&wrong).expect("a token");
    let id = listed
        .lines()
        .map(|line| line.rsplit('/').next().unwrap_or(line))
        .find(|id| text.contains(id))
        .expect("its id is in its text");
    site.cluster().run(&["token", "revoke", id, "--yes", "--accept-risk=revoke-token"]).expect("revoked");

    let refused = computer.join(&seed_address, &wrong).expect("meadow runs");
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    let joined = computer.join(&seed_address, &right).expect("meadow runs");
    assert!(joined.status.success(), "{}", said(&joined));
}
