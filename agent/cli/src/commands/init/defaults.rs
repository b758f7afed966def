//! What `meadow init` proposes, from what this computer tells of itself.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use meadow_client::API_PORT;
use meadow_controllers::bootstrap::InitConfig;
use meadow_host::files;
use meadow_host::links::{Link, Links};
use meadow_model::Name;
use meadow_model::ssh_key::SshKey;

/// Where `make install` puts the image.
const IMAGE_DIR: &str = "/usr/share/meadow/image";
/// Most public keys that are looked at.
const MAX_KEY_FILES: usize = 100;

/// The answers where nobody says otherwise.
pub(super) async fn config() -> InitConfig {
    let links = links().await;
    // One only: whether machines are to boot behind another one too, a person knows.
    let first = links.iter().find(|link| serves_pxe(link));
    let pxe_interfaces: Vec<_> = first.map(|link| link.name.clone()).into_iter().collect();
    InitConfig {
        cluster: name("home"),
        node: host_name(),
        admin: admin_name(),
        api_addresses: api_addresses(&links, &pxe_interfaces),
        pxe_interfaces,
        pxe_files: None,
        api_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, API_PORT)),
        authorized_keys: read_keys(&key_files()),
        // Nothing is captured that nobody named.
        pxe_open_s: None,
        image_dir: PathBuf::from(IMAGE_DIR),
        root: PathBuf::from("/"),
        context_dir: crate::session::contexts(),
        // Two servers on one wire do harm: nobody gets this by default.
        pxe_dhcp: Vec::new(),
    }
}

/// The interfaces of this computer; none where the kernel does not tell.
pub(super) async fn links() -> Vec<Link> {
    let Ok(links) = Links::open() else { return Vec::new() };
    let all = links.list().await.unwrap_or_default();
    all.into_iter().filter(|link| !link.loopback).collect()
}

/// Whether machines on this interface could boot from here: it has an IPv4 address that they can reach.
pub(super) fn serves_pxe(link: &Link) -> bool {
    let reachable = link.routable_addresses().any(|cidr| cidr.address().is_ipv4());
    link.up && reachable && is_wired(link)
}

/// Real cards, and bridges over them; the rest (VPNs, containers) has no machines behind it.
pub(super) fn is_wired(link: &Link) -> bool {
    let wired = link.kind.as_deref().is_none_or(|kind| matches!(kind, "bridge" | "bond" | "vlan" | "veth"));
    wired && !link.name.starts_with("docker") && !link.name.starts_with("virbr")
}

/// Where others reach the API: the addresses of the interfaces that serve PXE, else all of them.
pub(super) fn api_addresses(links: &[Link], pxe_interfaces: &[String]) -> Vec<SocketAddr> {
    let of_interest = links
        .iter()
        .filter(|link| if pxe_interfaces.is_empty() { link.up } else { pxe_interfaces.contains(&link.name) });
    let addresses =
        of_interest.flat_map(|link| link.routable_addresses().map(|cidr| cidr.address()).collect::<Vec<_>>());
    let mut addresses: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, API_PORT)).collect();
    // IPv4 first: it is what the boot server speaks, and temporary IPv6 addresses change.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.iter().any(SocketAddr::is_ipv4) {
        addresses.retain(SocketAddr::is_ipv4);
    }
    addresses
}

/// The user's public keys, also those of the user behind sudo.
pub(super) fn key_files() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let sudo_user = std::env::var("SUDO_USER").ok().filter(|user| user.parse::<Name>().is_ok());
    let homes = home.into_iter().chain(sudo_user.map(|user| Path::new("/home").join(user)));
    let mut found = Vec::new();
    for folder in homes.map(|home| home.join(".ssh")) {
        let names = files::list(&folder, MAX_KEY_FILES).unwrap_or_default();
        found.extend(names.iter().filter(|name| name.ends_with(".pub")).map(|name| folder.join(name)));
    }
    found
}

/// The keys in these files in OpenSSH form; what cannot be read is left out.
pub(super) fn read_keys(paths: &[PathBuf]) -> Vec<String> {
    let texts = paths.iter().filter_map(|path| String::from_utf8(files::read(path, 64 * 1024).ok()?).ok());
    let keys = texts.flat_map(|text| text.lines().filter_map(|line| line.parse::<SshKey>().ok()).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    keys.filter(|key| seen.insert(key.fingerprint())).map(|key| key.to_string()).collect()
}

fn host_name() -> Name {
    let text = files::read(Path::new("/proc/sys/kernel/hostname"), 256).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).to_lowercase();
    let label = text.trim().split('.').next().unwrap_or_default();
    label.parse().unwrap_or_else(|_| name("seed"))
}

fn admin_name() -> Name {
    let users = ["SUDO_USER", "USER"].into_iter().filter_map(|variable| std::env::var(variable).ok());
    users.filter_map(|user| user.to_lowercase().parse().ok()).next().unwrap_or_else(|| name("admin"))
}

/// A name that is known to be one.
fn name(text: &'static str) -> Name {
    Name::new(text).unwrap_or_else(|_| unreachable!("{text} is a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_other_lines_and_taken_once() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBYTy4m6lVoEaHTVW1v5Dfkswf+IWym1addrOapRvSNQ";
        let text =
            format!("# mine\n{key} ann@home\n\nssh-dss AAAA x\n-----BEGIN OPENSSH PRIVATE KEY-----\n{key} again\n");
        let place = std::env::temp_dir();
        let file = place.join(format!("meadow-keys-{}-{:?}", std::process::id(), std::thread::current().id()));
        files::replace(&file, text.as_bytes(), files::Access::Private).expect("written");
        let keys = read_keys(&[file.clone(), file.clone(), place.join("nonexistent")]);
        files::remove(&file).expect("removed");
        assert_eq!(keys, [format!("{key} ann@home")]);
    }

    #[tokio::test]
    async fn every_computer_has_defaults() {
        let config = config().await;
        assert_eq!(config.cluster.as_str(), "home");
        assert_eq!(config.pxe_open_s, None);
    }
}
