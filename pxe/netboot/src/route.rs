//! Paths of the boot server's HTTP interface.

use std::net::SocketAddr;

use meadow_model::MacAddress;

use crate::policy::BootImage;

/// The artifact that is the root: a machine gets that of the image whose initrd it runs.
pub const ROOT: &str = "root.img";
/// The artifact that holds the initrd.
pub const INITRD: &str = "initrd";
/// Hexadecimal digits of an image's digest.
const DIGEST: usize = 64;

/// What a request path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/artifacts/<name>`: a file of the installed image; the root may be that of another one, see [`ROOT`].
    Artifact(&'a str),
    /// `/images/<digest>/<name>`: a file of an adopted image.
    Image {
        /// SHA-256 of its manifest, in hexadecimal.
        digest: &'a str,
        /// Which file.
        name: &'a str,
    },
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
        if let Some(rest) = path.strip_prefix("images/") {
            let (digest, name) = rest.split_once('/')?;
            return (is_digest(digest) && is_artifact_name(name)).then_some(Self::Image { digest, name });
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

/// Whether a text is a SHA-256 digest as names of images have it: lower-case hexadecimal.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.len() == DIGEST && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// `http://<address>:<port>/` of the HTTP server: always an IP literal, firmware may have no DNS.
#[must_use]
pub fn base_url(server: SocketAddr) -> String {
    format!("http://{server}/")
}

/// URL of an artifact of the installed image. It has no query: UEFI tells the file's type from the end of the path.
#[must_use]
pub fn artifact_url(server: SocketAddr, name: &str) -> String {
    format!("http://{server}/artifacts/{name}")
}

/// URL of a file of an image.
#[must_use]
pub fn image_url(server: SocketAddr, image: &BootImage, name: &str) -> String {
    match image {
        BootImage::Installed => artifact_url(server, name),
        BootImage::Adopted(digest) => format!("http://{server}/images/{digest}/{name}"),
    }
}

/// URL of the folder of files that are served as they are, without a slash at its end.
#[must_use]
pub fn files_url(server: SocketAddr) -> String {
    format!("http://{server}/files")
}

/// URL of a machine's iPXE script.
#[must_use]
pub fn script_url(server: SocketAddr, mac: MacAddress) -> String {
    format!("http://{server}/ipxe/{}/boot.ipxe", mac.hyphenated())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_should() {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
        let digest = &"ab".repeat(32);
        for (path, wanted) in [
            ("/artifacts/vmlinuz", Some(Route::Artifact("vmlinuz"))),
            ("//artifacts/ipxe/ipxe.efi", Some(Route::Artifact("ipxe/ipxe.efi"))),
            ("/artifacts/../secret", None),
            ("/artifacts/ipxe/../../secret", None),
            ("/artifacts/ipxe//x", None),
            ("/artifacts/a%2e", None),
            ("/artifacts/", None),
            (&*format!("/images/{digest}/initrd"), Some(Route::Image { digest, name: "initrd" })),
            (&*format!("/images/{digest}/../initrd"), None),
            ("/images/abc/initrd", None),
            ("/images/../../../initrd", None),
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

    #[test]
    fn addresses_of_both_families_are_literals() {
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let image = BootImage::Adopted("ab".repeat(32));
        for (server, base) in
            [("192.0.2.2:7480", "http://192.0.2.2:7480/"), ("[2001:db8::2]:7480", "http://[2001:db8::2]:7480/")]
        {
            let server = server.parse().unwrap();
            assert_eq!(base_url(server), base);
            assert_eq!(artifact_url(server, "vmlinuz"), format!("{base}artifacts/vmlinuz"));
            assert_eq!(script_url(server, mac), format!("{base}ipxe/02-00-00-00-00-01/boot.ipxe"));
            assert_eq!(image_url(server, &image, "initrd"), format!("{base}images/{}/initrd", "ab".repeat(32)));
        }
    }
}
