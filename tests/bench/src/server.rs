//! A server that is measured, in a namespace and a control group of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use meadow_rack::Rack;
use meadow_rack::cgroup::Cgroup;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Ipv4Addr,
    pub(crate) namespace: Namespace,
    group: Cgroup,
    _program: Program,
}

impl Server {
    /// Starts `command` on the computer with the address `number` of the rack's subnet.
    pub(crate) fn start(rack: &mut Rack, number: u8, command: &Command) -> Result<Self> {
        let role = format!("s{number}");
        let namespace = rack.computer_at(&role, number)?;
        let address = rack.lan().subnet().host(number);
        let (run, _) = rack.parts();
        let group = Cgroup::create(run, &role)?;
        // The shell enters the group and becomes the program, so that no child of it is missed. First the group: in
        // the namespace its folder is hidden by another /sys.
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.path().join("cgroup.procs"));
        let in_namespace = namespace.command(command.get_program());
        inside.arg(in_namespace.get_program()).args(in_namespace.get_args()).args(command.get_args());
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside.stdin(Stdio::null()).process_group(0);
        let log = run.file(format!("{role}.log"));
        let program = namespace.start(run, inside, &log)?;
        Ok(Self { address, namespace, group, _program: program })
    }

    /// Processor time that it has used so far, with all its children, in seconds.
    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        let text = fs::read_to_string(self.group.path().join("cpu.stat")).context("the server's group is gone")?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).context("no usage_usec")?;
        Ok(micros.parse::<f64>()? / 1e6)
    }
}

/// Where the peers' programs are; fetches what is missing.
pub(crate) fn fetch_peers() -> Result<PathBuf> {
    let script = meadow_rack::paths::checkout().join("tests/bench/peers");
    let output = Command::new(&script).output().with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "tests/bench/peers: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// A program of a peer, if it is there.
pub(crate) fn peer(program: PathBuf) -> Result<PathBuf> {
    ensure!(program.exists(), "there is no {}; tests/bench/peers fetches it", program.display());
    Ok(program)
}
