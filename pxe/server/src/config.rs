//! Settings of the boot server.

use std::path::PathBuf;

use meadow_netboot::dhcp::{LeaseConfig, LeaseConfigError};
use meadow_netboot::script::is_command_line;

/// Kernel command line of the image. No `console=`: a console on a UART that is not there costs
/// minutes, so the init looks for UARTs itself.
pub const DEFAULT_COMMAND_LINE: &str = "quiet loglevel=3 lsm=landlock";

/// Where the leases are kept if nothing else is said.
pub const DEFAULT_LEASE_FILE: &str = "/var/lib/meadow-pxe/leases";

/// Interfaces that are served at most.
const MAX_INTERFACES: usize = 64;

/// Ports to listen on. Clients know the first three by heart: others are for tests only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// DHCP, 67.
    pub dhcp: u16,
    /// PXE boot server, 4011.
    pub boot_server: u16,
    /// TFTP, 69.
    pub tftp: u16,
    /// Boot files over HTTP, 7480. Not 0: the port is written into URLs.
    pub http: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { dhcp: 67, boot_server: 4011, tftp: 69, http: 7480 }
    }
}

/// What the boot server needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PxeConfig {
    /// Names of the network interfaces to serve.
    pub interfaces: Vec<String>,
    /// Folder with `manifest.json` and the artifacts that it lists.
    pub artifacts: PathBuf,
    /// Folder of further images, each in a folder named by the SHA-256 digest of its manifest; none where absent.
    pub images: Option<PathBuf>,
    /// Folder of files for other systems, served as they are under `/files/`; none where absent.
    pub files: Option<PathBuf>,
    /// Kernel command line.
    pub command_line: String,
    /// Ports.
    pub ports: Ports,
    /// Send all of TFTP from its port, for firewalls and containers that let only that one through. Else each transfer
    /// has a port of its own, which nobody can guess.
    pub tftp_single_port: bool,
    /// Subnets whose addresses are given out, if nobody else does; with none it is a proxyDHCP server only.
    pub dhcp: Vec<LeaseConfig>,
    /// The file that keeps the leases.
    pub lease_file: PathBuf,
    /// The file that keeps which form of offer each machine's firmware took; a restart forgets it where absent.
    pub forms_file: Option<PathBuf>,
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to serve.
    #[error("no interface is named; name at least one, see `ip link`")]
    NoInterface,
    /// Each needs sockets of its own.
    #[error("{0} interfaces are named; at most {MAX_INTERFACES} are served")]
    TooManyInterfaces(usize),
    /// An interface that is named twice.
    #[error("the interface {0} is named twice; leave one of the two out")]
    Twice(String),
    /// Not a possible name of a network interface.
    #[error("{0:?} is not a network interface's name; see `ip link`")]
    Interface(String),
    /// The command line would break the iPXE script.
    #[error("the kernel command line must be one line of ASCII without ${{, ||, && and ;: {0:?}")]
    CommandLine(String),
    /// A port of 0.
    #[error("the HTTP port must not be 0: it is written into URLs")]
    HttpPort,
    /// A subnet that cannot be served.
    #[error("dhcp: {0}")]
    Dhcp(#[from] LeaseConfigError),
}

impl PxeConfig {
    /// Serves interfaces with the usual ports and command line.
    #[must_use]
    pub fn new(interfaces: &[impl AsRef<str>], artifacts: impl Into<PathBuf>) -> Self {
        Self {
            interfaces: interfaces.iter().map(|name| name.as_ref().to_owned()).collect(),
            artifacts: artifacts.into(),
            images: None,
            files: None,
            command_line: DEFAULT_COMMAND_LINE.to_owned(),
            ports: Ports::default(),
            tftp_single_port: false,
            dhcp: Vec::new(),
            lease_file: PathBuf::from(DEFAULT_LEASE_FILE),
            forms_file: None,
        }
    }

    /// Checks what can be checked without looking at the machine.
    ///
    /// # Errors
    /// When the settings can never work.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self.interfaces.len() {
            0 => return Err(ConfigError::NoInterface),
            1..=MAX_INTERFACES => {}
            many => return Err(ConfigError::TooManyInterfaces(many)),
        }
        for (at, name) in self.interfaces.iter().enumerate() {
            // The kernel's own rule: 1 to 15 bytes, no slash, no white space (dev_valid_name).
            if name.is_empty() || name.len() > 15 || name.bytes().any(|b| b == b'/' || !b.is_ascii_graphic()) {
                return Err(ConfigError::Interface(name.clone()));
            }
            if self.interfaces[..at].contains(name) {
                return Err(ConfigError::Twice(name.clone()));
            }
        }
        if !is_command_line(&self.command_line) {
            return Err(ConfigError::CommandLine(self.command_line.clone()));
        }
        if self.ports.http == 0 {
            return Err(ConfigError::HttpPort);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused() {
        let good = PxeConfig::new(&["eth0", "lan0.20"], "/usr/share/meadow/image");
        assert_eq!(good.check(), Ok(()));
        for name in ["", "a/b", "averyverylongname", "a b"] {
            assert!(PxeConfig::new(&["eth0", name], "/x").check().is_err(), "{name:?}");
        }
        let none: [&str; 0] = [];
        assert_eq!(PxeConfig::new(&none, "/x").check(), Err(ConfigError::NoInterface));
        let many: Vec<_> = (0..=MAX_INTERFACES).map(|number| format!("eth{number}")).collect();
        assert_eq!(PxeConfig::new(&many, "/x").check(), Err(ConfigError::TooManyInterfaces(many.len())));
        let twice = PxeConfig::new(&["eth0", "eth1", "eth0"], "/x").check();
        assert_eq!(twice, Err(ConfigError::Twice("eth0".to_owned())));
        let injected = PxeConfig { command_line: "quiet\nshell".into(), ..good };
        assert!(matches!(injected.check(), Err(ConfigError::CommandLine(_))));
    }
}
