//! The servers that are compared, each in a namespace and a control group of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use meadow_rack::Rack;
use meadow_rack::cgroup::Cgroup;
use meadow_rack::namespace::Namespace;
use meadow_rack::paths;
use meadow_rack::process::Program;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Own,
    Dnsmasq,
    TftpdHpa,
    Atftpd,
    RustTftpd,
    Nginx,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Own, Self::Dnsmasq, Self::TftpdHpa, Self::Atftpd, Self::RustTftpd, Self::Nginx];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Own => "meadow-pxe",
            Self::Dnsmasq => "dnsmasq",
            Self::TftpdHpa => "tftpd-hpa",
            Self::Atftpd => "atftpd",
            Self::RustTftpd => "tftpd (Rust)",
            Self::Nginx => "nginx",
        }
    }

    /// Number of its address.
    fn number(self) -> u8 {
        match self {
            Self::Own => 2,
            Self::Dnsmasq => 3,
            Self::TftpdHpa => 4,
            Self::Atftpd => 5,
            Self::RustTftpd => 6,
            Self::Nginx => 7,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) address: Ipv4Addr,
    pub(super) namespace: Namespace,
    group: Cgroup,
    _program: Program,
}

impl Server {
    /// Starts it with the files in `folder`; `peers` is where `tests/bench/peers` has put the others.
    pub(super) fn start(rack: &mut Rack, kind: Kind, folder: &Path, peers: &Path) -> Result<Self> {
        let role = format!("s{}", kind.number());
        let namespace = rack.computer_at(&role, kind.number())?;
        let address = rack.lan().subnet().host(kind.number());
        let run = rack.run().path().to_owned();
        let command = command(kind, &run, folder, peers, address)?;
        let (run, _) = rack.parts();
        let group = Cgroup::create(run, &role)?;
        // The shell enters the group and becomes the program, so that no child of it is missed. First the group: in
        // the namespace its folder is hidden by another /sys.
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.path().join("cgroup.procs"));
        let in_namespace = namespace.command(command.get_program());
        inside.arg(in_namespace.get_program()).args(in_namespace.get_args()).args(command.get_args());
        inside.stdin(Stdio::null()).process_group(0);
        let log = run.file(format!("{role}.log"));
        let program = namespace.start(run, inside, &log)?;
        Ok(Self { kind, address, namespace, group, _program: program })
    }

    /// Processor time that it has used so far, with all its children, in seconds.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        let text = fs::read_to_string(self.group.path().join("cpu.stat")).context("the server's group is gone")?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).context("no usage_usec")?;
        Ok(micros.parse::<f64>()? / 1e6)
    }

    /// The number of its first process.
    pub(super) fn process(&self) -> Result<crate::process_usage::Process> {
        crate::process_usage::Process::find(&self.namespace, self.kind.label())
    }
}

fn command(kind: Kind, run: &Path, folder: &Path, peers: &Path, address: Ipv4Addr) -> Result<Command> {
    let unpacked = |package: &str, name: &str| peer(peers.join(package).join("usr/sbin").join(name));
    let folder_text = folder.to_str().context("the folder's name is no text")?;
    Ok(match kind {
        Kind::Own => {
            let file = run.join("speed.toml");
            fs::write(&file, format!("interface = \"eth0\"\nartifacts = \"{folder_text}\"\n"))?;
            let mut command = Command::new(paths::programs().join("meadow-pxe"));
            command.arg("--config").arg(file);
            command
        }
        Kind::Dnsmasq => {
            let mut command = Command::new("dnsmasq");
            command
                .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--port=0"])
                .args(["--user=root", "--enable-tftp", "--tftp-max=1000"])
                .arg(format!("--listen-address={address}"))
                .args(["--bind-interfaces".to_owned(), format!("--tftp-root={folder_text}")]);
            command
        }
        Kind::TftpdHpa => {
            let mut command = Command::new(unpacked("tftpd-hpa", "in.tftpd")?);
            command.args(["-L", "-4", "-u", "root", "-a", &format!("{address}:69"), "-s", folder_text]);
            command
        }
        Kind::Atftpd => {
            let mut command = Command::new(unpacked("atftpd", "atftpd")?);
            command
                .args(["--daemon", "--no-fork", "--port", "69", "--maxthread", "1000", "--user", "root.root"])
                .args(["--bind-address", &address.to_string(), folder_text]);
            command
        }
        Kind::RustTftpd => {
            let mut command = Command::new(peer(peers.join("tftpd/bin/tftpd"))?);
            command.args(["-i", &address.to_string(), "-p", "69", "-d", folder_text, "-r"]);
            command
        }
        Kind::Nginx => {
            let file = run.join("nginx.conf");
            fs::write(&file, nginx(run, folder_text, address))?;
            let mut command = Command::new(unpacked("nginx", "nginx")?);
            command.arg("-c").arg(file).args(["-e", "stderr"]);
            command
        }
    })
}

fn peer(program: PathBuf) -> Result<PathBuf> {
    ensure!(program.exists(), "there is no {}; tests/bench/peers fetches it", program.display());
    Ok(program)
}

/// As many workers as processors, sendfile, and nothing written.
fn nginx(run: &Path, folder: &str, address: Ipv4Addr) -> String {
    let run = run.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {run}/nginx-{name};\n"))
        .collect();
    format!(
        "daemon off;\nuser root;\nworker_processes auto;\npid {run}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temporary}  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000;\n\
         \u{20} server {{ listen {address}:7480; location /artifacts/ {{ alias {folder}/; }} }}\n}}\n"
    )
}
