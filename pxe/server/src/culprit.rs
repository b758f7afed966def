//! Finds the program that holds a port, for the message that says so.

use std::fs;
use std::path::Path;

/// Transport whose port is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Udp,
    Tcp,
}

/// State of a listening TCP socket in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// The program that holds a port in this network namespace, where `/proc` tells.
pub(crate) fn holder(protocol: Protocol, port: u16) -> Option<Holder> {
    let names: [&str; 2] = match protocol {
        Protocol::Udp => ["udp", "udp6"],
        Protocol::Tcp => ["tcp", "tcp6"],
    };
    let inodes: Vec<u64> = names
        .iter()
        .filter_map(|name| fs::read_to_string(format!("/proc/net/{name}")).ok())
        .flat_map(|table| inodes_of_port(&table, protocol, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        if !holds_socket(&entry.path(), &inodes) {
            return None;
        }
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(Holder { name: name.trim_end().to_owned(), pid })
    })
}

fn holds_socket(process: &Path, inodes: &[u64]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).any(|target| {
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

/// Inodes of the sockets bound to a port, from a table of `/proc/net`.
fn inodes_of_port(table: &str, protocol: Protocol, port: u16) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (_, hex) = fields.get(1)?.rsplit_once(':')?;
            let listens = protocol == Protocol::Udp || fields.get(3) == Some(&TCP_LISTEN);
            let matches = listens && u16::from_str_radix(hex, 16) == Ok(port);
            matches.then(|| fields.get(9)?.parse().ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n\
            1: 00000000:0045 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0 0\n";
        assert_eq!(inodes_of_port(table, Protocol::Udp, 67), [4711]);
        assert_eq!(inodes_of_port(table, Protocol::Tcp, 67), [0; 0], "not listening");
    }

    #[test]
    fn finds_this_very_program() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = holder(Protocol::Udp, port).unwrap();
        assert_eq!(found.pid, std::process::id());
    }
}
