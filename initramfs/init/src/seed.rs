//! What a stick brings along: the record of its partition `meadow-seed` (`docs/decisions/0006-installed-nodes.md`).
//!
//! The part that the initramfs uses; the rest is handed to the booted system as it came.

mod record;

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use crate::http::BaseUrl;
use crate::network::FixedNetwork;

const VERSION: u32 = 1;
/// Where boot servers listen (`meadow_pxe::Ports`).
const BOOT_PORT: u16 = 7480;
/// Each that does not answer costs seconds.
const MOST_SERVERS: usize = 4;

/// A seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// As it came, for the booted system.
    pub json: Vec<u8>,
    /// Who may look at the boot state over SSH.
    pub authorized_keys: Vec<String>,
    /// Cards that do not simply ask DHCP.
    pub network: Vec<FixedNetwork>,
    /// Whether the image is to come from a boot server where one has it.
    pub from_network: bool,
    /// Where a boot server may be: on the computers with the API.
    pub boot_servers: Vec<BaseUrl>,
    /// Serial number of the disk that this computer is to be installed onto.
    pub installs_onto: Option<String>,
    /// What of it cannot be used, with the reason.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Form {
    version: u32,
    #[serde(default)]
    authorized_keys: Vec<String>,
    #[serde(default)]
    network: Vec<Network>,
    #[serde(default)]
    api: Vec<String>,
    #[serde(default)]
    action: Action,
}

/// A network of a seed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Which card.
    #[serde(default)]
    pub card: Card,
    /// VLAN identifier.
    pub vlan: Option<u16>,
    /// Address and prefix length; `None`: DHCP.
    pub address: Option<String>,
    /// The router.
    pub gateway: Option<IpAddr>,
}

/// Which card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Card {
    /// Every wired one.
    #[default]
    Any,
    /// The one with this hardware address, with colons.
    Mac(String),
    /// The one with this name.
    Name(String),
}

#[derive(Default, Deserialize)]
struct Action {
    #[serde(default, rename = "do")]
    kind: String,
    serial: Option<String>,
}

impl Seed {
    /// Reads it from a partition; `None` where there is none.
    ///
    /// # Errors
    /// Why the partition cannot be read, or the seed cannot be used, in words.
    pub fn read(device: &str) -> Result<Option<Self>, String> {
        let mut area = Vec::new();
        let read = |area: &mut Vec<u8>| -> io::Result<usize> {
            File::open(device)?.take(record::AREA_BYTES as u64).read_to_end(area)
        };
        read(&mut area).map_err(|error| format!("the seed on {device} cannot be read ({error}): check the stick"))?;
        match record::newest(&area) {
            None | Some([]) => Ok(None),
            Some(payload) => Self::parse(payload).map(Some),
        }
    }

    fn parse(json: &[u8]) -> Result<Self, String> {
        let form: Form = serde_json::from_slice(json).map_err(|error| {
            format!("the stick's seed cannot be read ({error}): write it anew with `meadow image seed`")
        })?;
        if form.version != VERSION {
            return Err(format!(
                "the stick's seed is of version {} and this image knows {VERSION}: write image and seed with one `meadow`",
                form.version
            ));
        }
        let mut warnings = Vec::new();
        let mut network = Vec::new();
        for wanted in &form.network {
            match FixedNetwork::of_seed(wanted) {
                Ok(fixed) => network.push(fixed),
                Err(why) => warnings.push(format!("a network in the stick's seed is left out: {why}")),
            }
        }
        Ok(Self {
            json: json.to_vec(),
            authorized_keys: form.authorized_keys,
            network,
            boot_servers: form.api.iter().filter_map(|url| boot_server(url)).take(MOST_SERVERS).collect(),
            from_network: form.action.kind == "network",
            installs_onto: form.action.serial.filter(|_| form.action.kind == "install"),
            warnings,
        })
    }
}

/// Beside the API at `https://192.0.2.2:7443`. A name is not resolved here, and boot servers have IPv4 only.
fn boot_server(api: &str) -> Option<BaseUrl> {
    let authority = api.strip_prefix("https://")?.trim_end_matches('/');
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    host.parse::<Ipv4Addr>().ok()?;
    BaseUrl::parse(&format!("http://{host}:{BOOT_PORT}/")).ok()
}

#[cfg(test)]
mod tests {
    use meadow_model::seed::{Seed as Written, SeedAction};
    use proptest::prelude::*;

    use super::*;

    fn written() -> Written {
        Written {
            authorized_keys: vec!["ssh-ed25519 AAAAC3Nz ann@home".to_owned()],
            network: ["eth0.7=dhcp", "52:54:00:00:00:01=192.0.2.7/24,192.0.2.1", "192.0.2.8/24"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            api: ["https://192.0.2.2:7443", "https://seed.lan:7443", "https://[2001:db8::1]:7443", "https://192.0.2.3"]
                .map(str::to_owned)
                .to_vec(),
            action: SeedAction::Network,
            ..Written::new()
        }
    }

    fn file(area: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), area).unwrap();
        file
    }

    #[test]
    fn reads_what_the_model_writes() {
        let mut area = vec![0; meadow_model::record::AREA_BYTES];
        let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
        assert_eq!(Seed::read(&path(&file(&area))), Ok(None));
        let installs = Written { action: SeedAction::Install { serial: "S1".to_owned() }, ..Written::new() };
        for seed in [Written::new(), written(), installs] {
            let write = Written::replace(&area, Some(&seed)).unwrap();
            area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
            let found = Seed::read(&path(&file(&area))).unwrap().unwrap();
            assert_eq!(found.authorized_keys, seed.authorized_keys);
            assert_eq!(found.network.len(), seed.network.len());
            assert_eq!(found.from_network, seed.action == SeedAction::Network);
            let servers: Vec<String> = found.boot_servers.iter().map(ToString::to_string).collect();
            let expected: &[&str] =
                if seed.api.is_empty() { &[] } else { &["http://192.0.2.2:7480/", "http://192.0.2.3:7480/"] };
            assert_eq!(servers, expected);
            let installs = matches!(seed.action, SeedAction::Install { .. }).then(|| "S1".to_owned());
            assert_eq!(found.installs_onto, installs);
            assert_eq!(serde_json::from_slice::<Written>(&found.json).unwrap(), seed);
        }
        let write = Written::replace(&area, None).unwrap();
        area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
        assert_eq!(Seed::read(&path(&file(&area))), Ok(None));
        assert!(Seed::read("/no/such/device").is_err());
    }

    #[test]
    fn other_versions_are_told_and_odd_networks_left_out() {
        assert!(Seed::parse(br#"{"version":2}"#).unwrap_err().contains("version 2"));
        assert!(Seed::parse(b"{}").is_err());
        let odd = br#"{"version":1,"network":[{"card":"any","address":"home"},{"card":{"name":"eth0"},"vlan":9}]}"#;
        let seed = Seed::parse(odd).unwrap();
        assert_eq!((seed.network.len(), seed.warnings.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_seed_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Seed::parse(&bytes);
            let _ = record::newest(&bytes);
        }
    }
}
