//! A real `meadowd` in a network namespace of its own, the `meadow` command line, and machines that ask to enrol.

mod machine;
mod ran;
mod snapshot;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::{paths, wait};

pub use machine::EnrollingMachine;
pub use ran::Ran;
pub use snapshot::{compare, normalised};

/// How long a program may take for what usually takes a moment; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// User and group of [`meadow_as_nobody`].
pub const NOBODY: u32 = 65534;
/// Where the API of the lab listens, inside its namespace.
const API: &str = "127.0.0.1:7443";

/// A cluster named `lab` of one node named `seed`, whose admin is `ann`.
#[derive(Debug)]
pub struct Lab {
    // Dropped from top to bottom: the agent first, the folder's lock last.
    agent: Program,
    namespace: Namespace,
    run: RunDir,
}

impl Lab {
    /// Runs `meadow init` and `meadowd`, and waits until the node is ready.
    ///
    /// # Errors
    /// With what the programs say.
    pub fn start() -> Result<Self> {
        let mut run = RunDir::create()?;
        let namespace = Namespace::create(&mut run, "lab")?;
        let hosts = run.file("hosts");
        fs::write(&hosts, "127.0.0.1 localhost\n")?;
        namespace.set_hosts_file(&mut run, &hosts)?;
        let answers = run.file("answers.toml");
        fs::write(&answers, answers_in(run.path()))?;
        let init =
            namespace.command(program("meadow")?).args(["--no-input", "init", "--file"]).arg(&answers).output()?;
        ensure!(init.status.success(), "meadow init: {}", String::from_utf8_lossy(&init.stderr));
        let mut command = namespace.command(program("meadowd")?);
        command.arg("--root").arg(run.file("root"));
        let log = run.file("meadowd.log");
        let agent = namespace.start(&mut run, command, &log)?;
        let mut lab = Self { agent, namespace, run };
        wait::until("a ready node", PATIENCE, || {
            if let Some(status) = lab.agent.exited()? {
                anyhow::bail!("meadowd ended ({status}):\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            Ok((lab.meadow(["status"])?.code == Some(0)).then_some(()))
        })?;
        lab.run.keep_logs(false);
        Ok(lab)
    }

    /// The folder of everything that this lab writes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.run.path()
    }

    /// The folder of the image that its machines boot, which is not there at first.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.run.file("image")
    }

    /// The admin's context.
    #[must_use]
    pub fn context(&self) -> PathBuf {
        self.run.file("contexts/lab.toml")
    }

    /// The agent's Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.file("root/run/meadow/api.sock")
    }

    /// Runs `meadow` as the admin, with nobody to ask.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn meadow<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ran> {
        Ran::finish(self.command()?.args(arguments).stdin(Stdio::null()))
    }

    /// Runs `meadow` as the admin, with a person at a terminal who types `lines`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn meadow_typing<'a>(&self, lines: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ran> {
        terminal::run(self.command()?.args(arguments), lines)
    }

    /// A machine that asks to enrol, told apart by `number`.
    ///
    /// # Errors
    /// When the cluster refuses to talk to it.
    pub fn machine(&self, number: u8) -> Result<EnrollingMachine> {
        EnrollingMachine::ask(&self.namespace, &self.context(), &format!("https://{API}"), number)
    }

    /// Kills the agent with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&mut self) -> Result<()> {
        Ok(self.agent.kill()?)
    }

    /// `meadow` as the admin, to be run in the lab's namespace.
    ///
    /// # Errors
    /// When the program was not built.
    pub fn command(&self) -> Result<Command> {
        let mut command = self.namespace.command(program("meadow")?);
        command.env("MEADOW_CONTEXT", self.context()).env_remove("NO_COLOR");
        Ok(command)
    }
}

/// Runs `meadow` without any cluster, with its home in `home`.
///
/// # Errors
/// When it cannot be run.
pub fn meadow_alone<'a>(home: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ran> {
    Ran::finish(alone(home)?.args(arguments).stdin(Stdio::null()))
}

/// Like [`meadow_alone`], with a person at a terminal who types `lines`, and without a network: what looks at the wire finds none.
///
/// # Errors
/// When it cannot be run.
pub fn meadow_alone_typing<'a>(home: &Path, lines: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ran> {
    let alone = alone(home)?;
    let mut cut_off = Command::new("unshare");
    cut_off.args(["--net", "--"]).arg(alone.get_program()).args(arguments);
    for (name, value) in alone.get_envs() {
        match value {
            Some(value) => cut_off.env(name, value),
            None => cut_off.env_remove(name),
        };
    }
    terminal::run(&mut cut_off, lines)
}

/// Like [`meadow_alone`], as the user `nobody` without any rights of root. `home` is that user's, somewhere below folders that
/// everybody may enter; the program is copied there.
///
/// # Errors
/// When it cannot be run.
pub fn meadow_as_nobody<'a>(home: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ran> {
    let copy = home.join("meadow");
    if !copy.exists() {
        fs::copy(program("meadow")?, &copy)?;
    }
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"]);
    command.arg(copy).args(arguments).env("HOME", home).current_dir(home);
    command.env_remove("XDG_CONFIG_HOME").env_remove("MEADOW_CONTEXT").env_remove("SUDO_USER");
    Ran::finish(command.stdin(Stdio::null()))
}

fn alone(home: &Path) -> Result<Command> {
    let mut command = Command::new(program("meadow")?);
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").env_remove("MEADOW_CONTEXT").env_remove("SUDO_USER");
    Ok(command)
}

/// A program under test.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = paths::programs().join(name);
    ensure!(
        path.exists(),
        "there is no {}; build it with: cargo build --release -p meadow-cli -p meadowd",
        path.display()
    );
    Ok(path)
}

/// Answers for `meadow init`, everything below `folder`.
fn answers_in(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "cluster = \"lab\"\nnode = \"seed\"\nadmin = \"ann\"\napi_listen = \"[::]:7443\"\n\
         api_addresses = [\"{API}\"]\nroot = \"{folder}/root\"\nimage_dir = \"{folder}/image\"\n\
         context_dir = \"{folder}/contexts\"\n"
    )
}
