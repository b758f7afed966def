//! Boot policies from a TOML file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use meadow_model::MacAddress;
use meadow_model::boot::{BootOptions, BootPolicy, is_command_line};
use meadow_model::one_or_many::one_or_many;
use meadow_netboot::dhcp::LeaseConfig;
use meadow_netboot::policy::PolicyTable;
use meadow_netboot::{BootDecision, Sighting};
use meadow_pxe::{BootEvent, DEFAULT_COMMAND_LINE, DEFAULT_LEASE_FILE, Director, Ports, PxeConfig};
use serde::Deserialize;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConfig {
    #[serde(alias = "interface", deserialize_with = "one_or_many")]
    interfaces: Vec<String>,
    artifacts: PathBuf,
    command_line: Option<String>,
    /// Machines that are not listed boot the image for this long after the start.
    open_minutes: Option<u32>,
    /// Folder of files for other systems, under `/files/`.
    files: Option<PathBuf>,
    /// Send all of TFTP from port 69.
    #[serde(default)]
    tftp_single_port: bool,
    /// Subnets whose addresses are given out, if nobody else does.
    #[serde(default)]
    dhcp: Vec<LeaseConfig>,
    /// The file that keeps the leases.
    lease_file: Option<PathBuf>,
    /// The file that keeps which form of offer each machine took.
    forms_file: Option<PathBuf>,
    #[serde(default)]
    cluster: ClusterConfig,
    #[serde(default, rename = "machine")]
    machines: Vec<MachineConfig>,
}

/// What `boot.json` says of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterConfig {
    #[serde(default)]
    name: String,
    #[serde(default)]
    ca_fingerprint: String,
    #[serde(default)]
    api: Vec<String>,
    #[serde(default)]
    authorized_keys: Vec<String>,
}

/// One machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineConfig {
    mac: MacAddress,
    policy: BootPolicy,
    #[serde(default)]
    plain_pxe: bool,
    /// Added to the kernel's command line.
    #[serde(default)]
    kernel_arguments: String,
    /// File with the iPXE script of the policy `script`.
    script_file: Option<PathBuf>,
    /// File with the machine's one-shot ticket; readable by root only.
    ticket_file: Option<PathBuf>,
}

impl FileConfig {
    /// Reads and checks a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        let mut seen = BTreeMap::new();
        for machine in &config.machines {
            if !is_command_line(&machine.kernel_arguments) {
                bail!(
                    "the kernel arguments of {} would break its boot script: {:?}",
                    machine.mac,
                    machine.kernel_arguments
                );
            }
            if seen.insert(machine.mac, ()).is_some() {
                bail!("the machine {} is listed twice; keep one of the two", machine.mac);
            }
        }
        Ok(config)
    }

    /// The part that the server itself needs.
    pub(crate) fn server(&self) -> PxeConfig {
        PxeConfig {
            interfaces: self.interfaces.clone(),
            artifacts: self.artifacts.clone(),
            images: None,
            files: self.files.clone(),
            command_line: self.command_line.clone().unwrap_or_else(|| DEFAULT_COMMAND_LINE.to_owned()),
            ports: Ports::default(),
            tftp_single_port: self.tftp_single_port,
            dhcp: self.dhcp.clone(),
            lease_file: self.lease_file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_LEASE_FILE)),
            forms_file: self.forms_file.clone(),
        }
    }
}

/// Decides as the file says, and prints events as lines on stderr.
pub(crate) struct FileDirector {
    policies: PolicyTable,
    cluster: ClusterConfig,
    tickets: BTreeMap<MacAddress, PathBuf>,
    machines: BTreeMap<MacAddress, MachineConfig>,
}

impl FileDirector {
    pub(crate) fn new(config: &FileConfig) -> Self {
        let mut policies = PolicyTable::default();
        for machine in &config.machines {
            policies.set(machine.mac, BootDecision { policy: machine.policy, plain_pxe: machine.plain_pxe });
        }
        policies.open_until(config.open_minutes.map(|minutes| unix_time() + 60 * u64::from(minutes)));
        let ticket = |machine: &MachineConfig| Some((machine.mac, machine.ticket_file.clone()?));
        Self {
            policies,
            cluster: config.cluster.clone(),
            tickets: config.machines.iter().filter_map(ticket).collect(),
            machines: config.machines.iter().map(|machine| (machine.mac, machine.clone())).collect(),
        }
    }

    fn ticket(&self, mac: MacAddress) -> Option<String> {
        let path = self.tickets.get(&mac)?;
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim_end().to_owned()),
            Err(error) => {
                eprintln!("meadow-pxe: {mac} gets no ticket: {}: {error}", path.display());
                None
            }
        }
    }
}

impl Director for FileDirector {
    fn decide(&self, sighting: &Sighting) -> BootDecision {
        self.policies.decide(sighting.mac, unix_time())
    }

    fn options(&self, mac: MacAddress) -> BootOptions {
        let Some(machine) = self.machines.get(&mac) else { return BootOptions::default() };
        let script = machine.script_file.as_ref().and_then(|path| {
            let read = std::fs::read_to_string(path);
            read.map_err(|error| eprintln!("meadow-pxe: {mac} gets no script: {}: {error}", path.display())).ok()
        });
        BootOptions { kernel_arguments: machine.kernel_arguments.clone(), script, ..BootOptions::default() }
    }

    fn boot_config(&self, mac: MacAddress) -> Option<serde_json::Value> {
        let action = match self.policies.decide(mac, unix_time()).policy {
            BootPolicy::Ignore => return None,
            BootPolicy::Image => "boot",
            BootPolicy::Hold => "hold",
            // A machine that boots a script of its own does not run our initrd.
            BootPolicy::LocalDisk | BootPolicy::Script => "local",
        };
        Some(serde_json::json!({
            "version": 1,
            "action": action,
            "cluster": {
                "name": self.cluster.name,
                "ca_fingerprint": self.cluster.ca_fingerprint,
                "api": self.cluster.api,
            },
            "ticket": self.ticket(mac),
            "authorized_keys": self.cluster.authorized_keys,
        }))
    }

    fn event(&self, event: &BootEvent) {
        // One write a line: standard error has no buffer of its own, and each part of a line would be a write.
        let line = format!("meadow-pxe: {event}\n");
        // A log that nobody reads any more ends no boot.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn unix_time() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        interface = "eth0"
        artifacts = "/usr/share/meadow/image"
        open_minutes = 60
        lease_file = "/var/lib/leases"
        [cluster]
        name = "home"
        [[dhcp]]
        subnet = "192.0.2.0/24"
        pool = "192.0.2.100-192.0.2.199"
        router = ["192.0.2.1"]
        options = { "252" = "6162" }
        [[dhcp.reservation]]
        mac = "52:54:00:00:00:01"
        address = "192.0.2.9"
        [[machine]]
        mac = "52:54:00:00:00:01"
        policy = "hold"
        plain_pxe = true
        [[machine]]
        mac = "52-54-00-00-00-02"
        policy = "local-disk"
    "#;

    #[test]
    fn file_decides() {
        let director = FileDirector::new(&FileConfig::parse(FILE).unwrap());
        let mac = |last| MacAddress([0x52, 0x54, 0, 0, 0, last]);
        let action = |last| director.boot_config(mac(last)).unwrap()["action"].clone();
        assert_eq!([action(1), action(2), action(3)], ["hold", "local", "boot"]);
    }

    #[test]
    fn the_server_is_told_of_the_leases() {
        let server = FileConfig::parse(FILE).unwrap().server();
        assert_eq!(server.check(), Ok(()));
        assert_eq!(server.lease_file, PathBuf::from("/var/lib/leases"));
        assert_eq!(server.dhcp[0].reservations.len(), 1);
    }

    #[test]
    fn one_interface_or_several_are_served() {
        let of = |text: &str| FileConfig::parse(text).unwrap().server().interfaces;
        assert_eq!(of(FILE), ["eth0"]);
        let several = FILE.replace("interface = \"eth0\"", "interfaces = [\"eth0\", \"lan0.20\"]");
        assert_eq!(of(&several), ["eth0", "lan0.20"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, part) in [
            ("00:01", "00", "not a MAC address"),
            ("\"hold\"", "\"wipe\"", "wipe"),
            ("00-02", "00-01", "listed twice"),
            ("open_minutes", "open_hours", "open_hours"),
        ] {
            let error = FileConfig::parse(&FILE.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
