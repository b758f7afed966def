//! Paths of the boot server's HTTP interface.

use std::net::Ipv4Addr;

use meadow_model::MacAddress;

/// What a request path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/artifacts/<name>`: a file of the image.
    Artifact(&'a str),
    /// `/files/<name>`: a file that is served as it is, for other systems.
    File(&'a str),
    /// `/ipxe/<mac>/boot.ipxe`: the machine's iPXE script.
    Script(MacAddress),
    /// `/machine/<mac>/boot.json`: what the initrd asks.
    BootConfig(MacAddress),
    /// `/machine/<mac>/progress`: what the initrd reports.
    Progress(MacAddress),
}

impl<'a> Route<'a> {
    /// Parses the path of a request, without its query. `None` for anything else.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.trim_start_matches('/');
        if let Some(name) = path.strip_prefix("artifacts/") {
            return is_artifact_name(name).then_some(Self::Artifact(name));
        }
        if let Some(name) = path.strip_prefix("files/") {
            return is_artifact_name(name).then_some(Self::File(name));
        }
        let mut parts = path.split('/');
        let (kind, mac, file) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let mac = mac.parse().ok()?;
        match (kind, file) {
            ("ipxe", "boot.ipxe") => Some(Self::Script(mac)),
            ("machine", "boot.json") => Some(Self::BootConfig(mac)),
            ("machine", "progress") => Some(Self::Progress(mac)),
            _ => None,
        }
    }
}

/// Whether a name can be an artifact's: relative, of plain characters, without `.` and `..` steps.
#[must_use]
pub fn is_artifact_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/+".contains(&b))
        && name.split('/').all(|step| !matches!(step, "" | "." | ".."))
}

/// `http://<address>:<port>/`: always an IP literal, firmware may have no DNS.
#[must_use]
pub fn base_url(server: Ipv4Addr, port: u16) -> String {
    format!("http://{server}:{port}/")
}

/// URL of an artifact. It has no query: UEFI tells the file's type from the end of the path.
#[must_use]
pub fn artifact_url(server: Ipv4Addr, port: u16, name: &str) -> String {
    format!("http://{server}:{port}/artifacts/{name}")
}

/// URL of the folder of files that are served as they are, without a slash at its end.
#[must_use]
pub fn files_url(server: Ipv4Addr, port: u16) -> String {
    format!("http://{server}:{port}/files")
}

/// URL of a machine's iPXE script.
#[must_use]
pub fn script_url(server: Ipv4Addr, port: u16, mac: MacAddress) -> String {
    format!("http://{server}:{port}/ipxe/{}/boot.ipxe", mac.hyphenated())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_should() {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
        for (path, wanted) in [
            ("/artifacts/vmlinuz", Some(Route::Artifact("vmlinuz"))),
            ("//artifacts/ipxe/ipxe.efi", Some(Route::Artifact("ipxe/ipxe.efi"))),
            ("/artifacts/../secret", None),
            ("/artifacts/ipxe/../../secret", None),
            ("/artifacts/ipxe//x", None),
            ("/artifacts/a%2e", None),
            ("/artifacts/", None),
            ("/files/debian/linux", Some(Route::File("debian/linux"))),
            ("/files/../etc/shadow", None),
            ("/ipxe/52-54-00-00-00-01/boot.ipxe", Some(Route::Script(mac))),
            ("/machine/52-54-00-00-00-01/boot.json", Some(Route::BootConfig(mac))),
            ("/machine/52-54-00-00-00-01/progress", Some(Route::Progress(mac))),
            ("/machine/52-54-00-00-00-01/progress/x", None),
            ("/machine/nobody/boot.json", None),
            ("/", None),
        ] {
            assert_eq!(Route::parse(path), wanted, "{path}");
        }
    }
}
