//! A network namespace that plays the host of a rack. Nobody else uses it, so what a rack leaves there, down to the
//! last listener, shows without mistaking for it what other programs of the real host do meanwhile.

use std::net::{TcpListener, UdpSocket};
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::host;
use crate::namespace::Namespace;
use crate::run_dir::RunDir;

/// Runs `body` in a thread that lives on the played host, and compares what is there before and after.
///
/// # Errors
/// When the played host cannot be made, or is not as it was.
pub fn unchanged_by<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T> {
    let mut run = RunDir::create()?;
    let namespace = furnished(&mut run)?;
    let result = thread::scope(|scope| {
        scope.spawn(|| stay(&namespace, body)).join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    run.keep_logs(false);
    Ok(result)
}

/// A namespace with something of everything that a rack must leave alone. Its addresses are those of documentation.
fn furnished(run: &mut RunDir) -> Result<Namespace> {
    let namespace = Namespace::create(run, "host")?;
    for arguments in [
        &["link", "add", "lan0", "type", "bridge"][..],
        // No address that the kernel would take up by itself a second later.
        &["link", "set", "lan0", "addrgenmode", "none"],
        &["addr", "add", "192.0.2.1/24", "dev", "lan0"],
        &["addr", "add", "2001:db8::1/64", "dev", "lan0", "nodad"],
        &["link", "set", "lan0", "up"],
        &["route", "add", "198.51.100.0/24", "dev", "lan0"],
        &["rule", "add", "from", "198.51.100.0/24", "table", "main"],
    ] {
        namespace.ip(arguments)?;
    }
    Ok(namespace)
}

fn stay<T>(namespace: &Namespace, body: impl FnOnce() -> T) -> Result<T> {
    namespace.enter()?;
    let _services = (TcpListener::bind("[::]:0")?, UdpSocket::bind("[::]:0")?);
    lay_firewall()?;
    let before = (host::snapshot()?, host::listeners()?);
    ensure!(before.1.len() == 2, "the played host hears more than it should: {:?}", before.1);
    let result = body();
    let after = (host::snapshot()?, host::listeners()?);
    if before != after {
        bail!("the played host is not as it was; before: {before:#?}, after: {after:#?}");
    }
    Ok(result)
}

/// A firewall of the host's own, where nft(8) is there and its kernel knows it.
fn lay_firewall() -> Result<()> {
    if Command::new("nft").arg("--version").output().is_err() {
        return Ok(());
    }
    let rules = "table inet home { chain input { type filter hook input priority 0; udp dport 9 drop; } }";
    let laid = Command::new("nft").arg(rules).output().context("cannot run nft(8)")?;
    if !laid.status.success() {
        eprintln!("no firewall on the played host: {}", String::from_utf8_lossy(&laid.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(body: impl FnOnce() + Send) -> String {
        unchanged_by(body).expect_err("it is noticed").to_string()
    }

    #[test]
    fn what_is_left_on_the_played_host_shows() {
        unchanged_by(|| ()).expect("nothing is left");
        let mut left = None;
        let told = complaint(|| left = Some(TcpListener::bind("127.0.0.1:0").expect("a port")));
        assert!(told.contains("127.0.0.1:"), "{told}");
        let add = |arguments: &[&str]| {
            let arguments = arguments.to_owned();
            complaint(|| drop(Command::new("ip").args(arguments).status()))
        };
        assert!(add(&["link", "add", "forgotten", "type", "bridge"]).contains("forgotten"));
        assert!(add(&["route", "add", "203.0.113.0/24", "dev", "lan0"]).contains("203.0.113.0"));
    }
}
