//! The cpio archive of an initramfs, form `newc` (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

use std::fmt::Write;

/// An archive that grows.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    /// Adds a folder; `name` has no leading slash.
    pub fn folder(&mut self, name: &str) -> &mut Self {
        self.entry(name, 0o040_755, &[])
    }

    /// Adds a program.
    pub fn program(&mut self, name: &str, contents: &[u8]) -> &mut Self {
        self.entry(name, 0o100_755, contents)
    }

    /// Ends the archive and gives it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) -> &mut Self {
        self.inode += 1;
        // inode, mode, uid, gid, links, mtime, size, device numbers of the file and of itself, size of name, checksum.
        let fields = [self.inode, mode, 0, 0, 1, 0, length(contents), 0, 0, 0, 0, length(name.as_bytes()) + 1, 0];
        let mut header = "070701".to_owned();
        for field in fields {
            // Writing to a string cannot fail.
            let _ = write!(header, "{field:08x}");
        }
        for part in [header.as_bytes(), name.as_bytes(), &[0]] {
            self.bytes.extend_from_slice(part);
        }
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Archives of this form hold no file of 4 GiB or more; the rig puts one of 2 MiB in.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_the_kernel_wants_them() {
        let mut archive = Cpio::default();
        archive.folder("bin").program("init", b"12345");
        let zeros = "0".repeat(8);
        let header = |inode: &str, mode: &str, size: &str, name: &str| {
            let devices = zeros.repeat(4);
            format!(
                "0707010000000{inode}0000{mode}{zeros}{zeros}00000001{zeros}0000000{size}{devices}0000000{name}{zeros}"
            )
        };
        let expected = [
            header("1", "41ed", "0", "4"),
            "bin\0\0\0".to_owned(),
            header("2", "81ed", "5", "5"),
            "init\0\x0012345\0\0\0".to_owned(),
            header("3", "0000", "0", "b"),
            "TRAILER!!!\0\0\0\0".to_owned(),
        ];
        assert_eq!(String::from_utf8(archive.finish()).expect("ASCII"), expected.concat());
    }
}
