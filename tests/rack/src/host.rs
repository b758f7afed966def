//! The state of the host that a rack must leave as it was.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What is looked at, and how. Counters and lifetimes are left out, they change by themselves; so are other racks.
const LOOKS: [(&str, &str); 8] = [
    ("links", "ip -o link | sed 's/ state .*//'"),
    ("addresses", "ip -o addr | sed 's/ valid_lft.*//'"),
    ("routes", "ip route show table all; ip -6 route show table all | sed 's/ expires [^ ]*//'"),
    ("rules", "ip rule; ip -6 rule"),
    ("forwarding", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"),
    (
        "firewall",
        "if command -v nft; then nft list ruleset; fi; cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>&1",
    ),
    (
        "units",
        "if [ -d /run/systemd/system ]; then systemctl list-unit-files --state=enabled --no-legend; fi; \
         find /etc/systemd/system -type l | sort",
    ),
    ("namespaces", "ls /run/netns /etc/netns 2>&1 | grep -vE '^mdw|^/|^$|^ls:'"),
];

/// One text for each thing that is looked at.
pub type Snapshot = Vec<(&'static str, String)>;

/// Looks at links, addresses, routes, rules, forwarding, firewall, enabled units and namespaces.
///
/// # Errors
/// When no shell can be run.
pub fn snapshot() -> Result<Snapshot> {
    let look = |(what, script): (&'static str, &str)| {
        let output = Command::new("sh").args(["-c", script]).output().context("cannot run sh")?;
        Ok((what, String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    LOOKS.into_iter().map(look).collect()
}

/// Everything that listens here and what it belongs to: TCP, UDP, raw and packet sockets.
///
/// On a host that others use this changes by itself; see [`crate::played_host`] for one that nobody else uses.
///
/// # Errors
/// When ss(8) cannot be run.
pub fn listeners() -> Result<Vec<String>> {
    let output = Command::new("ss").args(["-Hlntuw0p"]).output().context("cannot run ss(8)")?;
    ensure!(output.status.success(), "ss(8) failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    Ok(lines)
}
