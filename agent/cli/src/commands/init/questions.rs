//! The questions of `meadow init`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use meadow_client::API_PORT;
use meadow_controllers::bootstrap::InitConfig;
use meadow_host::links::Link;
use meadow_model::Name;

use super::wire::{self, Found};
use super::{addresses, defaults};
use crate::duration;
use crate::output::say;
use crate::prompt::Prompt;

/// Asks for everything that is worth a question, with `config` as the proposal.
pub(super) async fn ask(prompt: Prompt, config: &mut InitConfig) -> anyhow::Result<()> {
    say("Enter takes what stands in brackets.");
    config.cluster = valid(prompt, "Name of the cluster", &config.cluster.to_string(), parsed)?;
    config.node = valid(prompt, "Name of this computer in it", &config.node.to_string(), parsed)?;
    config.admin = admin(prompt, &config.admin)?;
    let found = wire::look().await;
    wire::tell(&found);
    config.pxe_interfaces = interfaces(prompt, &found, &config.pxe_interfaces)?;
    let links: Vec<Link> = found.iter().map(|found| found.link.clone()).collect();
    let own = defaults::api_addresses(&links, &config.pxe_interfaces);
    let shown = join(own.iter().map(ToString::to_string));
    config.api_addresses = valid(prompt, "Addresses at which others reach the API", &shown, api_addresses)?;
    let listen = config.api_listen.to_string();
    config.api_listen = valid(prompt, "Address that the API listens on", &listen, parsed)?;
    let files = join(defaults::key_files().iter().map(|path| path.display().to_string()));
    let question = "Files with admins' public SSH keys, for machines in the initramfs";
    config.authorized_keys = valid(prompt, question, &files, keys)?;
    if !config.pxe_interfaces.is_empty() {
        config.pxe_dhcp.clear();
        for found in found.iter().filter(|found| config.pxe_interfaces.contains(&found.link.name)) {
            config.pxe_dhcp.extend(addresses::ask(prompt, found)?);
        }
        let question = "Boot every machine that asks, from now on for how long (such as 1h), or no";
        config.pxe_open_s = valid(prompt, question, "no", window)?;
        let image = config.image_dir.display().to_string();
        config.image_dir = valid(prompt, "Folder of the image that machines boot", &image, folder)?;
        let question = "Folder of files for other systems that machines boot, or none";
        let files = config.pxe_files.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        config.pxe_files = valid(prompt, question, &files, optional_folder)?;
    }
    Ok(())
}

/// The admin whose context is made.
pub(super) fn admin(prompt: Prompt, proposal: &Name) -> anyhow::Result<Name> {
    valid(prompt, "Name of the first admin", &proposal.to_string(), parsed)
}

fn interfaces(prompt: Prompt, found: &[Found], proposal: &[String]) -> anyhow::Result<Vec<String>> {
    let names: Vec<String> = found.iter().map(|found| found.link.name.clone()).collect();
    let proposal = if proposal.is_empty() { "none".to_owned() } else { proposal.join(", ") };
    let question = "Interfaces on which machines boot over the network, one or several, or none";
    valid(prompt, question, &proposal, |text| known(text, &names))
}

/// Names of interfaces that are there, separated by commas or blanks, each once.
fn known(text: &str, names: &[String]) -> Result<Vec<String>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut chosen: Vec<String> = Vec::new();
    for word in words(text) {
        if !names.iter().any(|name| name == word) {
            return Err(format!("there is no interface {word}; there are {}, and none", names.join(", ")));
        }
        if !chosen.iter().any(|name| name == word) {
            chosen.push(word.to_owned());
        }
    }
    Ok(chosen)
}

/// Asks until the answer is valid.
pub(super) fn valid<T>(
    prompt: Prompt,
    question: &str,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> anyhow::Result<T> {
    loop {
        match read(&prompt.ask_or(question, default)?) {
            Ok(value) => return Ok(value),
            Err(why) => say(&format!("  {why}")),
        }
    }
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Addresses with or without a port, separated by commas or blanks.
fn api_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = words(text).map(|word| {
        let bare = || word.parse::<IpAddr>().map(|address| SocketAddr::new(address, API_PORT));
        let both = word.parse().or_else(|_| bare());
        both.map_err(|_| format!("{word} is not an IP address, with or without a port"))
    });
    let addresses = addresses.collect::<Result<Vec<SocketAddr>, String>>()?;
    if addresses.is_empty() { Err("name at least one address".to_owned()) } else { Ok(addresses) }
}

fn keys(text: &str) -> Result<Vec<String>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let paths: Vec<PathBuf> = words(text).map(PathBuf::from).collect();
    if let Some(path) = paths.iter().find(|path| defaults::read_keys(&[(*path).clone()]).is_empty()) {
        return Err(format!("{} holds no public key in OpenSSH form", path.display()));
    }
    Ok(defaults::read_keys(&paths))
}

fn window(text: &str) -> Result<Option<u32>, String> {
    if matches!(text, "no" | "none" | "0") {
        return Ok(None);
    }
    duration::parse(text).map(Some)
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err("write the whole path, from / on".to_owned()) }
}

fn optional_folder(text: &str) -> Result<Option<PathBuf>, String> {
    if text == "none" { Ok(None) } else { folder(text).map(Some) }
}

/// What stands between commas or blanks.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_usual_port() {
        let read = |text: &str| api_addresses(text).map(|all| join(all.iter().map(ToString::to_string)));
        assert_eq!(read("192.0.2.2, fd00::1").as_deref(), Ok("192.0.2.2:7443, [fd00::1]:7443"));
        assert_eq!(read("192.0.2.2:8443").as_deref(), Ok("192.0.2.2:8443"));
        for bad in ["", "seed", "192.0.2.2:x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_or_several_interfaces_are_chosen_of_those_that_are_there() {
        let names = ["eth0", "lan0.20"].map(str::to_owned);
        assert_eq!(known("none", &names), Ok(Vec::new()));
        assert_eq!(known("lan0.20", &names).expect("one"), ["lan0.20"]);
        for text in ["eth0, lan0.20", "eth0 lan0.20", "eth0,lan0.20 eth0"] {
            assert_eq!(known(text, &names).expect("both"), names, "{text}");
        }
        assert!(known("eth0, eth1", &names).is_err_and(|why| why.contains("eth1; there are eth0, lan0.20")));
    }

    #[test]
    fn the_window_stays_shut_unless_a_time_is_named() {
        assert_eq!(window("no"), Ok(None));
        assert_eq!(window("1h"), Ok(Some(3600)));
        assert!(window("yes").is_err());
    }

    #[test]
    fn a_file_without_keys_is_told() {
        assert!(keys("/nonexistent.pub").is_err());
        assert_eq!(keys("none"), Ok(Vec::new()));
    }
}
