//! iPXE scripts.

use std::net::SocketAddr;

use meadow_model::MacAddress;
pub use meadow_model::boot::is_command_line;

use crate::policy::BootImage;
use crate::route;

/// The script that boots an image, from the HTTP server at `server`. A fetch that fails is said, and 5 s later the script itself is
/// fetched again, so that a changed policy takes effect.
///
/// The kernel gets `BOOTIF=01-<mac>` behind `command_line`, as PXELINUX's `IPAPPEND 2` writes it:
/// hardware type 1, Ethernet, and the address of the card that the machine boots from.
///
/// `command_line` must be one line; see [`is_command_line`].
#[must_use]
pub fn boot_image(server: SocketAddr, mac: MacAddress, image: &BootImage, command_line: &str) -> String {
    let kernel = route::image_url(server, image, "vmlinuz");
    let initrd = route::image_url(server, image, route::INITRD);
    let script = route::script_url(server, mac);
    let host = server.ip();
    let card = mac.hyphenated();
    // iPXE before 2021 hands the initrd to an EFI stub kernel only by its name on the command line.
    format!(
        "#!ipxe\n\
         echo Meadow: loading the image from {host}\n\
         kernel {kernel} initrd=initrd {command_line} BOOTIF=01-{card} || goto failed\n\
         initrd --name initrd {initrd} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         echo Meadow: loading failed, next try in 5 s (is the boot server {host} up?)\n\
         imgfree\n\
         sleep 5\n\
         chain --replace {script} || goto failed\n"
    )
}

/// The script that goes on to the machine's own disk: back to the firmware, to the next entry of
/// its boot order.
#[must_use]
pub fn boot_local_disk() -> String {
    "#!ipxe\necho Meadow: booting from this machine's own disk\nexit\n".to_owned()
}

/// A script that an admin gave, with `${files}` set to the URL of the server's own files. It begins with `#!ipxe`.
#[must_use]
pub fn own(server: SocketAddr, text: &str) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    format!("{}\nset files {}\n{rest}", first.trim_end(), route::files_url(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> SocketAddr {
        "192.0.2.2:7480".parse().unwrap()
    }

    #[test]
    fn script_names_kernel_initrd_and_itself() {
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let script = boot_image(server(), mac, &BootImage::Installed, "quiet loglevel=3");
        let lines: Vec<_> = script.lines().collect();
        assert_eq!(lines[0], "#!ipxe");
        assert_eq!(
            lines[2],
            "kernel http://192.0.2.2:7480/artifacts/vmlinuz initrd=initrd quiet loglevel=3 \
             BOOTIF=01-02-00-00-00-00-01 || goto failed"
        );
        assert_eq!(lines[3], "initrd --name initrd http://192.0.2.2:7480/artifacts/initrd || goto failed");
        assert!(script.contains("chain --replace http://192.0.2.2:7480/ipxe/02-00-00-00-00-01/boot.ipxe"));
    }

    #[test]
    fn another_image_has_kernel_and_initrd_of_its_own() {
        let digest = "ab".repeat(32);
        let image = BootImage::Adopted(digest.clone());
        let script = boot_image(server(), MacAddress([2, 0, 0, 0, 0, 1]), &image, "quiet");
        for file in ["vmlinuz", "initrd"] {
            assert!(script.contains(&format!(" http://192.0.2.2:7480/images/{digest}/{file} ")), "{script}");
        }
        assert!(!script.contains("/artifacts/"), "{script}");
    }

    #[test]
    fn an_own_script_knows_where_the_files_are() {
        let script = own(server(), "#!ipxe\r\nkernel ${files}/linux\nboot\n");
        assert_eq!(script, "#!ipxe\nset files http://192.0.2.2:7480/files\nkernel ${files}/linux\nboot\n");
    }
}
