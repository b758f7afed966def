//! Settings of the agent: `/etc/meadow/meadowd.toml`.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use meadow_client::API_PORT;
use meadow_host::files::{self, FileError};
use meadow_model::one_or_many::one_or_many;
use meadow_netboot::dhcp::LeaseConfig;
use serde::{Deserialize, Serialize};

/// What the agent of a seed is told; the agent of a netbooted node needs none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where others reach the API, which machines are told.
    pub api_addresses: Vec<SocketAddr>,
    /// The interfaces on which PXE is served; none where absent. `pxe_interface` with one name is read too.
    #[serde(alias = "pxe_interface", deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub pxe_interfaces: Vec<String>,
    /// Folder of files for other systems, which the PXE server serves as they are; none where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pxe_files: Option<PathBuf>,
    /// Whether all of TFTP leaves from port 69, for containers and firewalls; else each transfer has a port of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pxe_tftp_single_port: bool,
    /// The image that machines boot.
    pub image_dir: PathBuf,
    /// The file that gets the names of the nodes.
    pub hosts_file: PathBuf,
    /// Subnets whose addresses the PXE server gives out, if nobody else does; with none it gives out none. The last field:
    /// tables come last in TOML.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pxe_dhcp: Vec<LeaseConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, API_PORT)),
            api_addresses: Vec::new(),
            pxe_interfaces: Vec::new(),
            pxe_files: None,
            pxe_tftp_single_port: false,
            image_dir: PathBuf::from("/usr/share/meadow/image"),
            hosts_file: PathBuf::from("/etc/hosts"),
            pxe_dhcp: Vec::new(),
        }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not TOML, or has an unknown field.
    #[error("{path} is not valid: {message}; correct it, or move it away and run `meadow init` again")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        message: String,
    },
}

impl Settings {
    /// Reads the file, or gives the defaults where there is none.
    ///
    /// # Errors
    /// [`SettingsError`] where it cannot be read or understood.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let Some(bytes) = files::read_optional(path, 64 << 10)? else {
            return Ok(Self::default());
        };
        let invalid = |message: String| SettingsError::Invalid { path: path.to_owned(), message };
        let text = String::from_utf8(bytes).map_err(|e| invalid(e.to_string()))?;
        toml::from_str(&text).map_err(|e| invalid(e.to_string()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`SettingsError`] where it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SettingsError> {
        let text = toml::to_string(self)
            .map_err(|e| SettingsError::Invalid { path: path.to_owned(), message: e.to_string() })?;
        files::replace(path, text.as_bytes(), files::Access::Public)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_named() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("meadowd.toml");
        std::fs::write(&path, "api_lissten = \"[::]:1\"\n").expect("written");
        let error = Settings::load(&path).expect_err("unknown field");
        assert!(error.to_string().contains("api_lissten"), "{error}");
    }

    #[test]
    fn saved_and_loaded_is_the_same_and_none_is_the_default() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("meadowd.toml");
        assert_eq!(Settings::load(&path).expect("default"), Settings::default());
        let interfaces = vec!["eth0".to_owned()];
        let settings = Settings { pxe_interfaces: interfaces, pxe_tftp_single_port: true, ..Settings::default() };
        settings.save(&path).expect("saved");
        assert_eq!(Settings::load(&path).expect("loaded"), settings);
    }

    #[test]
    fn one_interface_is_named_as_before_or_several_are() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("meadowd.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).expect("written");
            Settings::load(&path).map(|settings| settings.pxe_interfaces).map_err(|error| error.to_string())
        };
        assert_eq!(load("pxe_interface = \"eth0\"\n").expect("as before"), ["eth0"]);
        assert_eq!(load("pxe_interfaces = \"eth0\"\n").expect("one"), ["eth0"]);
        assert_eq!(load("pxe_interfaces = [\"eth0\", \"lan0.20\"]\n").expect("several"), ["eth0", "lan0.20"]);
        for bad in ["pxe_interfaces = 7\n", "pxe_interface = \"eth0\"\npxe_interfaces = [\"eth1\"]\n"] {
            let error = load(bad).expect_err("refused");
            assert!(error.contains("pxe_interfaces") && error.contains("meadowd.toml"), "{error}");
        }
    }

    #[test]
    fn addresses_are_given_out_only_where_somebody_wrote_a_subnet() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("meadowd.toml");
        let text = "pxe_interface = \"eth0\"\n[[pxe_dhcp]]\nsubnet = \"192.0.2.0/24\"\n\
                    pool = \"192.0.2.100-192.0.2.199\"\n[[pxe_dhcp.reservation]]\nmac = \"52:54:00:00:00:01\"\n\
                    address = \"192.0.2.9\"\n";
        std::fs::write(&path, text).expect("written");
        let settings = Settings::load(&path).expect("loaded");
        assert_eq!((settings.pxe_dhcp.len(), settings.pxe_dhcp[0].reservations.len()), (1, 1));
        settings.save(&path).expect("saved");
        assert_eq!(Settings::load(&path).expect("loaded"), settings);
    }
}
