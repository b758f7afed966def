//! Somebody in the middle: an SSH server with a key of its own that answers at a node's address.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::wait;

/// A server starts at once where nothing is wrong.
const SOON: Duration = Duration::from_secs(30);

/// A running impostor: who asks for the address in its namespace gets to it, until it is dropped.
#[derive(Debug)]
pub struct Impostor {
    program: Program,
    namespace: Namespace,
    address: String,
    log: PathBuf,
}

impl Impostor {
    /// Takes the address for itself in `namespace`.
    ///
    /// # Errors
    /// When dropbear(8) does not run.
    pub fn start(run: &mut RunDir, namespace: &Namespace, address: IpAddr, port: u16) -> Result<Self> {
        let (key, log) = (run.file("impostor.key"), run.file("impostor.log"));
        let made = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&key).stdout(Stdio::null()).status();
        ensure!(made.context("cannot run dropbearkey; see tests/packages/test.list")?.success(), "no key was made");
        let host = format!("{address}/32");
        namespace.ip(&["address", "add", &host, "dev", "lo"])?;
        let mut command = namespace.command("dropbear");
        command.args(["-F", "-E", "-s", "-p", &format!("{address}:{port}"), "-P"]).arg(run.file("impostor.pid"));
        command.arg("-r").arg(&key);
        let program = namespace.start(run, command, &log)?;
        let mut impostor = Self { program, namespace: namespace.clone(), address: host, log };
        wait::until("the impostor", SOON, || {
            let ended = impostor.program.exited()?;
            ensure!(ended.is_none(), "dropbear ended ({ended:?}): {}", impostor.log()?);
            let tcp = namespace.command("ss").args(["-Hltn"]).output()?.stdout;
            Ok(String::from_utf8_lossy(&tcp).contains(&format!("{address}:{port}")).then_some(()))
        })?;
        Ok(impostor)
    }

    /// What it saw.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.program.kill();
        // A namespace that is gone has no address either.
        let _ = self.namespace.ip(&["address", "del", &self.address, "dev", "lo"]);
    }
}
