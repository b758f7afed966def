//! The servers that are compared.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use meadow_rack::{Rack, paths};

use crate::server::{Server, peer};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Own,
    Dnsmasq,
    TftpdHpa,
    Atftpd,
    RustTftpd,
    Nginx,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Own, Self::Dnsmasq, Self::TftpdHpa, Self::Atftpd, Self::RustTftpd, Self::Nginx];

    pub(crate) fn label(self) -> &'static str {
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

/// Starts it with the files in `folder`; `peers` is where `tests/bench/peers` has put the others.
pub(crate) fn start(rack: &mut Rack, kind: Kind, folder: &Path, peers: &Path) -> Result<Server> {
    let address = rack.lan().subnet().host(kind.number());
    let command = command(kind, rack.run().path(), folder, peers, address)?;
    Server::start(rack, kind.number(), &command)
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
